# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
r"""GRPO on GSM8K from a Hugging Face folder: the real thing, for a GPU or a TPU.

Claim: an instruct or base model of 0.5 to 2 billion parameters gains on the 1,319
test problems of GSM8K (arXiv 2110.14168) within 200 rollouts of 256 completions.
Published: Tunix's launch post (2025-09-30) tells of a relative gain in pass@1 of
about 12 % there. Here: not yet measured.

    lrm import hf Qwen3-0.6B runs/qwen3 --dtype bfloat16     # done here where missing
    python -m experiments.gsm8k_grpo Qwen3-0.6B --data gsm8k --run-dir runs/gsm8k
    python -m experiments.gsm8k_grpo Qwen3-0.6B --data gsm8k --dry-run   # config only

`gsm8k` is a folder of train.jsonl and test.jsonl (`.gz` too) as OpenAI publishes them.
Words of the form key.path=value change the config, as with `lrm train`:

    8 GPUs or TPU chips     mesh.data=1 mesh.fsdp=8
    less memory             train.grad_accum=32 rl.rollout.max_new_tokens=512
    another objective       rl.aggregation=constant rl.advantage.kind=group_centred
    an empty thought        grpo.budget=0 data.enable_thinking=false

Device: one GPU of 80 GB or a v5e-8; hours: not yet measured. The same command goes on
where it stopped; with another folder than the import's it is refused. Prompts get the
folder's chat template and all its stop ids. Reward: 1 for a right answer in exactly one
\boxed{} after the thought (strict), .1 more for the form alone; the lenient score is
logged beside it. Objective: DAPO (clip-higher, token mean, refilled batches, overlong
shaping), sampler correction on, no KL.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from lrm_jax.cli.common import WRONG_INPUT, UsageError, say_inherited
from lrm_jax.cli.main import main as lrm
from lrm_jax.cli.main import parse
from lrm_jax.config import apply_overrides, to_dict
from lrm_jax.data.tasks.registry import TaskConfig
from lrm_jax.data.text_source import TextDataConfig
from lrm_jax.data.verify.reward_config import RewardConfig
from lrm_jax.models.policy_config import PolicyConfig
from lrm_jax.recipes.convert_hf import config_of_hf, refuse_other_source
from lrm_jax.recipes.grpo_config import GrpoConfig, GrpoRunConfig
from lrm_jax.recipes.policy_build import inherit_from
from lrm_jax.recipes.policy_config import GREEDY, PolicyEvalConfig
from lrm_jax.rl.config import CorrectionConfig, RolloutConfig
from lrm_jax.rl.variants import dapo
from lrm_jax.training.checkpoint import CheckpointConfig
from lrm_jax.training.optim import OptimConfig
from lrm_jax.training.train_config import TrainConfig
from lrm_jax.types import UserError

TOKENS = 1024
ROLLOUT = RolloutConfig(n_prompts=32, group_size=8, max_new_tokens=TOKENS)


def config() -> GrpoRunConfig:
    """An imported policy on GSM8K: --init-from RUN task.path=FOLDER."""
    adam = {"lr": 1e-6, "lr_warmup_steps": 10, "weight_decay": 0.0, "clip_norm": 1.0}
    return GrpoRunConfig(
        name="gsm8k_grpo",
        inherit=True,
        task=TaskConfig(name="gsm8k", form="boxed"),
        data=TextDataConfig(test_size=0),
        model=PolicyConfig(vocab_size=0, remat="block", dtype="bfloat16"),
        optim=OptimConfig(kind="adamw", **adam),
        train=TrainConfig(
            total_steps=200, grad_accum=16, log_every=1, stop_metric=GREEDY
        ),
        eval=PolicyEvalConfig(
            every_steps=25, size=0, batch_size=64, max_new_tokens=TOKENS
        ),
        checkpoint=CheckpointConfig(every_steps=25, keep=2, best_metric=GREEDY),
        rl=replace(
            dapo(ROLLOUT), correction=CorrectionConfig(kind="token_truncate", high=2.0)
        ),
        reward=RewardConfig(accuracy=1.0, reading="strict", format=0.1),
        grpo=GrpoConfig(prompt_len=512, eval_samples=0, samples_every=5, samples=2),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("hf_folder", help="config.json, safetensors, tokenizer.json")
    parser.add_argument("--data", required=True, help="folder of GSM8K")
    parser.add_argument("--run-dir", default="runs/gsm8k", help="run folder")
    parser.add_argument("--imported", help="run folder of the import (default: beside)")
    parser.add_argument("--dry-run", action="store_true", help="print the config")
    args, overrides = parser.parse_known_args()
    imported = args.imported or f"{args.run_dir.rstrip('/')}-import"
    words = ["train", "experiments.gsm8k_grpo:config", f"task.path={args.data}"]
    words += ["--run-dir", args.run_dir, *overrides]
    try:
        if (Path(imported) / "config.json").exists():
            refuse_other_source(args.hf_folder, imported)
        elif args.dry_run:
            return show_config(args.hf_folder, words)
    except (UserError, UsageError) as error:
        print(f"gsm8k_grpo: error: {error}", file=sys.stderr)
        return WRONG_INPUT
    if not (Path(imported) / "config.json").exists():
        code = lrm(["import", "hf", args.hf_folder, imported, "--dtype", "bfloat16"])
        if code:
            return code
    words += ["--init-from", imported]
    return lrm([*words, "--dry-run"] if args.dry_run else words)


def show_config(hf_folder: str, words: list[str]) -> int:
    """Print what a run would be, of the folder's config and headers alone."""
    _, asked = parse(words)
    source = config_of_hf(hf_folder, dtype="bfloat16")
    wanted = apply_overrides(config(), asked.overrides)
    full = inherit_from(wanted, source)
    say_inherited(wanted, replace(full, init_from=hf_folder), asked.overrides)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        path.write_text(json.dumps(to_dict(replace(full, inherit=False))))
        json_too = ["--json"] if asked.json else []
        return lrm(["train", str(path), "--dry-run", *json_too])


if __name__ == "__main__":
    sys.exit(main())
