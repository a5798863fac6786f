# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Recipes at scale: what compiles and fits, as `lrm aot` says; nobody has run them.

docs/scale.md has each one's figures. The mesh is no part of a preset: `SLICES` says
which slice and which mesh each is meant for.
"""

from dataclasses import replace
from typing import NamedTuple

from lrm_jax.data.tasks.registry import TaskConfig
from lrm_jax.data.text_source import TextDataConfig
from lrm_jax.models.policy_config import MoeConfig, PolicyConfig, RopeConfig
from lrm_jax.presets.published import hrm_arc, trm_arc
from lrm_jax.recipes.grpo_config import GrpoConfig, GrpoRunConfig
from lrm_jax.recipes.policy_config import GREEDY, PolicyEvalConfig
from lrm_jax.recipes.run_config import RunConfig
from lrm_jax.rl.config import RolloutConfig
from lrm_jax.rl.variants import grpo
from lrm_jax.sharding import MeshConfig
from lrm_jax.training.checkpoint import CheckpointConfig
from lrm_jax.training.optim import OptimConfig
from lrm_jax.training.train_config import TrainConfig

QWEN3_VOCABULARY = 151_936
"""Rows of the embedding."""


class Place(NamedTuple):
    """Where a preset is meant to run.

    Attributes:
      topology: the slice.
      mesh: over its devices.
    """

    topology: str
    mesh: MeshConfig


SLICES: dict[str, Place] = {
    "grpo_8b": Place("v5p-64", MeshConfig(data=1, fsdp=8, model=4)),
    "grpo_8b_v5p_512": Place("v5p-512", MeshConfig(data=1, fsdp=64, model=4)),
    "grpo_30b_a3b": Place("v5p-512", MeshConfig(data=1, fsdp=64, model=4)),
    "prm_math_7b": Place("v5p-64", MeshConfig(data=1, fsdp=32, model=1)),
    "trm_arc_1m": Place("v5litepod-16", MeshConfig(data=1, fsdp=16, model=1)),
    "hrm_1b": Place("v5litepod-64", MeshConfig(data=1, fsdp=64, model=1)),
}
"""Preset -> slice and mesh; `lrm aot` takes them where none are given."""


def qwen3_8b() -> PolicyConfig:
    """Qwen3-8B (arXiv 2505.09388, table 1): 8.19e9 parameters."""
    return PolicyConfig(
        vocab_size=QWEN3_VOCABULARY,
        d_model=4096,
        n_layers=36,
        n_heads=32,
        n_kv_heads=8,
        d_head=128,
        d_ff=12_288,
        max_seq_len=8192,
        tied_embeddings=False,
        qk_norm=True,
        rope=RopeConfig(theta=1e6),
        scan_layers=True,
        remat="block",
        dtype="bfloat16",
    )


def grpo_8b() -> GrpoRunConfig:
    """GRPO of an 8B dense policy at 8,192 tokens, for v5p-64: 256 sequences a step.

    --init-from an import of Qwen3-8B, whose shape this is. 32 prompts, 8 completions
    of at most 7,168 tokens each; one sequence a device group at a time (32
    micro-batches over fsdp=8). Weights, moments and reference in float32.
    """
    return _grpo(qwen3_8b(), "grpo_8b", n_prompts=32, shards=8)


def grpo_8b_v5p_512() -> GrpoRunConfig:
    """GRPO of an 8B dense policy at 8,192 tokens, for v5p-512: 2,048 sequences a step.

    `grpo_8b` with as many tokens a chip on eight times the chips.
    """
    return _grpo(qwen3_8b(), "grpo_8b_v5p_512", n_prompts=256, shards=64)


def grpo_30b_a3b() -> GrpoRunConfig:
    """GRPO of a 30B mixture of 128 experts, 3B active, for v5p-512: 512 sequences.

    The shape of Qwen3-30B-A3B (arXiv 2505.09388, table 2). 8 micro-batches of a
    sequence a device group; with so many tokens a device an expert axis of 1 is the
    fastest (docs/scale.md).
    """
    model = replace(
        qwen3_8b(),
        d_model=2048,
        n_layers=48,
        n_heads=32,
        n_kv_heads=4,
        d_ff=6144,
        moe=MoeConfig(n_experts=128, top_k=8, d_expert=768),
    )
    return _grpo(model, "grpo_30b_a3b", n_prompts=64, shards=64)


def _grpo(
    model: PolicyConfig, name: str, *, n_prompts: int, shards: int
) -> GrpoRunConfig:
    rollout = RolloutConfig(n_prompts=n_prompts, group_size=8, max_new_tokens=7168)
    return GrpoRunConfig(
        name=name,
        inherit=True,
        task=TaskConfig(name="gsm8k", form="boxed"),
        data=TextDataConfig(test_size=0),
        model=model,
        optim=OptimConfig(
            kind="adamw",
            lr=1e-6,
            lr_warmup_steps=10,
            weight_decay=0.0,
            beta2=0.95,
            clip_norm=1.0,
        ),
        train=TrainConfig(
            total_steps=500,
            grad_accum=n_prompts * 8 // shards,
            log_every=1,
            stop_metric=GREEDY,
        ),
        eval=PolicyEvalConfig(
            every_steps=50, size=512, batch_size=512, max_new_tokens=7168
        ),
        checkpoint=CheckpointConfig(every_steps=25, keep=2, best_metric=GREEDY),
        rl=grpo(rollout),
        grpo=GrpoConfig(prompt_len=1024, chunk=16_384, eval_samples=0),
    )


def trm_arc_1m() -> RunConfig:
    """TRM on ARC with 1.2 million puzzle ids, for v5litepod-16: 768 lanes a step.

    `trm_arc` with a table of 2.5 GB, whose rows are split over the chips; weights
    and moments in float32; 4 micro-batches.
    """
    base = trm_arc()
    return replace(
        base,
        name="trm_arc_1m",
        model=replace(base.model, num_puzzle_ids=1_200_000),
        train=replace(base.train, grad_accum=4),
    )


def hrm_1b() -> RunConfig:
    """HRM with 1.0e9 parameters on ARC, for v5litepod-64: 768 lanes a step.

    Twice ten blocks of width 2,048, scanned and recomputed; float32 weights and
    moments, split over the chips.
    """
    base = hrm_arc()
    return replace(
        base,
        name="hrm_1b",
        model=replace(
            base.model,
            d_model=2048,
            n_heads=16,
            h_layers=10,
            l_layers=10,
            num_puzzle_ids=876_544,  # ARC-AGI-1's, rounded up to divide over chips
            puzzle_emb_dim=2048,
            scan_layers=True,
            remat=True,
        ),
    )
