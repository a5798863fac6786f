# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Five steps of every recipe's own program on a mesh, from one start, on one record.

Completions are written once, by one device in float32; lanes halt as they did there.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import numpy as np

from lrm_jax import sharding
from lrm_jax.data.packing import Tokens, collate
from lrm_jax.losses import LossConfig
from lrm_jax.models.latent_config import LatentConfig
from lrm_jax.models.policy import token_policy
from lrm_jax.models.policy_config import MlaConfig, MoeConfig, PolicyConfig, RopeConfig
from lrm_jax.prm.losses import StepLossConfig
from lrm_jax.reasoning.decoding import generate_jit
from lrm_jax.reasoning.halting import HaltingConfig
from lrm_jax.reasoning.prompts import pad_prompts
from lrm_jax.reasoning.sampling import sampling_params
from lrm_jax.recipes.aot import plan
from lrm_jax.recipes.aot_latent import latent_run
from lrm_jax.recipes.grpo_config import GrpoConfig, GrpoRunConfig, derived
from lrm_jax.recipes.grpo_state import Groups, init_carry, score_dtype
from lrm_jax.recipes.grpo_step import Drawn, Scores
from lrm_jax.recipes.latent_step import LatentStep
from lrm_jax.recipes.policy_state import Updater, full_weights
from lrm_jax.recipes.prm_config import PrmConfig, PrmRunConfig, with_head
from lrm_jax.recipes.prm_step import make_updater
from lrm_jax.recipes.run_config import RunConfig
from lrm_jax.recipes.sft_config import SftConfig, SftRunConfig
from lrm_jax.rl.config import RolloutConfig
from lrm_jax.rl.variants import variant
from lrm_jax.sharding import MeshConfig
from lrm_jax.training.optim import OptimConfig
from lrm_jax.training.train_config import TrainConfig
from lrm_jax.training.trees import named_leaves

STEPS = 5
ONE = MeshConfig(data=1)
MESHES = {
    "data 8": MeshConfig(data=8),
    "fsdp 8": MeshConfig(data=1, fsdp=8),
    "model 8": MeshConfig(data=1, model=8),
    "2 x 2 x 2": MeshConfig(data=2, fsdp=2, model=2),
}
LANES, CELLS, TABLE = 16, 16, 8
ROWS, LENGTH, SYMBOLS = 16, 20, 13
STEPS_OF_A_TEXT = 4
PROMPTS, GROUP, PROMPT, TOKENS = 8, 4, 6, 6


class Outcome(NamedTuple):
    """What five steps came to, on the host.

    Attributes:
      params: leaves by path, after.
      losses: of each step.
      halted: `[B]` of each step, which lanes halted by themselves.
      touched: `[B]` ids and `[B, P]` gradients of each step; of one device only.
    """

    params: dict[tuple[str, ...], np.ndarray]
    losses: list[float]
    halted: list[np.ndarray]
    touched: list[tuple[np.ndarray, np.ndarray]]


# --- configs -----------------------------------------------------------------


def latent_config(dtype: str, **kind: Any) -> RunConfig:
    model = LatentConfig(
        vocab_size=6, seq_len=CELLS, num_puzzle_ids=TABLE, puzzle_emb_dim=32,
        d_model=32, n_heads=8, ff_multiple=16, l_layers=1, h_cycles=2, l_cycles=2,
        dtype=dtype,
    )  # fmt: skip
    hrm = kind.pop("rule") == "q_learning"
    return RunConfig(
        model=replace(model, **kind),
        halting=HaltingConfig("q_learning" if hrm else "halt_only", 4, 0.5),
        loss=LossConfig("stablemax" if hrm else "softmax"),
        optim=OptimConfig(lr=1e-3, puzzle_emb_lr=1e-2),
        train=TrainConfig(total_steps=STEPS, batch_size=LANES, grad_accum=2),
    )


def policy_model(dtype: str, **kind: Any) -> PolicyConfig:
    base = PolicyConfig(
        vocab_size=SYMBOLS, vocab_rows=16, d_model=32, n_layers=1, n_heads=8,
        d_ff=32, max_seq_len=LENGTH, dtype=dtype, param_dtype=dtype,
    )  # fmt: skip
    return replace(base, **kind)


ADAMW = OptimConfig("adamw", lr=1e-3)


def sft_config(dtype: str, **kind: Any) -> SftRunConfig:
    return SftRunConfig(
        model=policy_model(dtype, **kind),
        optim=ADAMW,
        train=TrainConfig(total_steps=STEPS, batch_size=ROWS, grad_accum=2),
        sft=SftConfig(seq_len=LENGTH, chunk=5),
    )


def rl_config(dtype: str, *, name: str) -> GrpoRunConfig:
    rollout = RolloutConfig(PROMPTS, GROUP, TOKENS, temperature=0.7)
    rl = variant(name, rollout)
    if name == "ppo":
        rl = replace(rl, epochs=2, minibatches=2)
    config = GrpoRunConfig(
        model=policy_model(dtype, value_head=name == "ppo"),
        optim=ADAMW,
        train=TrainConfig(total_steps=STEPS * rl.updates_per_rollout, grad_accum=2),
        rl=rl,
        grpo=GrpoConfig(prompt_len=PROMPT, chunk=5),
    )
    return derived(config)


def prm_config(dtype: str, **kind: Any) -> PrmRunConfig:
    prm = PrmConfig(seq_len=LENGTH, max_steps=STEPS_OF_A_TEXT, **kind)
    return with_head(
        PrmRunConfig(
            model=policy_model(dtype),
            optim=ADAMW,
            train=TrainConfig(total_steps=STEPS, batch_size=ROWS, grad_accum=2),
            prm=prm,
        )
    )


MOE = MoeConfig(n_experts=8, top_k=2, d_expert=16)
MLA = MlaConfig(q_rank=8, kv_rank=8, d_nope=4, d_rope=4, d_value=4)
HRM = {"rule": "q_learning", "h_layers": 1, "grad_depth": "one_step"}
TRM = {"rule": "halt_only", "h_layers": 0, "grad_depth": "last_recursion"}
RECIPES: dict[str, Callable[[str], Any]] = {
    "latent, HRM": functools.partial(latent_config, **HRM),
    "latent, TRM": functools.partial(latent_config, mixer="mlp_t", **TRM),
    "sft, dense": functools.partial(sft_config, n_kv_heads=4, tied_embeddings=False),
    "sft, experts": functools.partial(sft_config, moe=MOE),
    "sft, latent attention": functools.partial(
        sft_config,
        mla=MLA,
        rope=RopeConfig(interleaved=True),
        n_layers=2,
        scan_layers=True,
        remat="block",
    ),
    "grpo": functools.partial(rl_config, name="grpo"),
    "ppo": functools.partial(rl_config, name="ppo"),
    "prm": prm_config,
    "prm, implicit": functools.partial(
        prm_config, semantics="implicit", loss=StepLossConfig("implicit"), chunk=5
    ),
}


# --- records -----------------------------------------------------------------


def puzzles(step: int) -> dict[str, np.ndarray]:
    """Made up; rows of the table that several devices share, and one nobody has."""
    rng = np.random.default_rng(step)
    labels = rng.integers(2, 6, (LANES, CELLS), dtype=np.int32)
    given = rng.random((LANES, CELLS)) < 0.5
    return {
        "inputs": np.where(given, labels, 1).astype(np.int32),
        "labels": np.where(given, -100, labels).astype(np.int32),
        "puzzle_ids": rng.integers(0, TABLE - 1, LANES, dtype=np.int32),
    }


def solutions(step: int) -> dict[str, np.ndarray]:
    """Packed rows, some of one example, some of two, one empty."""
    rng = np.random.default_rng(step)

    def example(size: int) -> Tokens:
        return Tokens(
            [*rng.integers(2, SYMBOLS, size).tolist(), 1], int(rng.integers(1, size))
        )

    sizes = rng.integers(3, LENGTH // 2 - 1, (ROWS - 1, 2))
    rows = [[example(n) for n in row[: 1 + row[1] % 2]] for row in sizes.tolist()]
    return collate([*rows, []], LENGTH, pad_id=0)


def labelled(step: int) -> dict[str, np.ndarray]:
    """Texts of up to four steps, one without a label and one empty."""
    rng = np.random.default_rng(step)
    count = rng.integers(1, STEPS_OF_A_TEXT + 1, ROWS)
    count[-1] = 0
    length = np.where(count, 3 + 4 * count, 0)
    places = np.broadcast_to(np.arange(LENGTH), (ROWS, LENGTH))
    mask = places < length[:, None]
    at = np.arange(STEPS_OF_A_TEXT)[None]
    there = at < count[:, None]
    known = there & (np.arange(ROWS) > 0)[:, None]
    return {
        "ids": np.where(mask, rng.integers(2, SYMBOLS, mask.shape), 0).astype(np.int32),
        "positions": np.where(mask, places, 0).astype(np.int32),
        "mask": mask,
        "ends": np.where(there, 6 + 4 * at, -1).astype(np.int32),
        "labels": (rng.integers(0, 5, there.shape) / 4 * known).astype(np.float32),
        "label_mask": known,
        "starts": np.full(ROWS, 3, np.int32),
    }


@functools.cache
def completions() -> list[Groups]:
    """Groups for every step, all written by the first weights of one device."""
    rng = np.random.default_rng(0)
    count = STEPS * PROMPTS
    prompts = [rng.integers(2, SYMBOLS, n) for n in rng.integers(2, PROMPT + 1, count)]
    ids, mask = pad_prompts(
        [p.tolist() for p in prompts], (PROMPT,), vocab_size=SYMBOLS
    )
    with jax.enable_x64(False):
        policy = token_policy(policy_model("float32"))
        found = generate_jit(
            policy,
            jax.jit(policy.init)(jax.random.key(0)),
            ids,
            mask,
            group_size=GROUP,
            max_new_tokens=TOKENS,
            sampling=sampling_params(
                count * GROUP,
                max_new=(1 + np.arange(count * GROUP) % TOKENS).tolist(),
                temperature=0.7,
            ),
            key=jax.random.key(1),
        )
    split = lambda x: np.asarray(x).reshape(STEPS, PROMPTS, GROUP, *np.shape(x)[1:])
    ids, mask = (x.reshape(STEPS, PROMPTS, PROMPT) for x in (ids, mask))
    written, kept = split(found.ids), split(found.mask)
    forced, logps = split(found.forced), split(found.logps)
    rewards = rng.integers(0, 2, (STEPS, PROMPTS, GROUP)).astype(np.float32)
    return [
        Groups(
            prompt_ids=ids[i],
            prompt_mask=mask[i],
            ids=written[i],
            mask=kept[i],
            forced=forced[i],
            logps=logps[i],
            rewards=rewards[i],
            accuracy=rewards[i],
            truncated=np.zeros((PROMPTS, GROUP), bool),
            version=np.zeros(PROMPTS, np.int32),
            number=np.arange(PROMPTS, dtype=np.int32) + i * PROMPTS,
        )
        for i in range(STEPS)
    ]


# --- runs --------------------------------------------------------------------


@functools.cache
def alone(name: str, dtype: str) -> Outcome:
    """Five steps on one device."""
    return run(name, ONE, dtype, None)


def run(name: str, mesh: MeshConfig, dtype: str, recorded: Outcome | None) -> Outcome:
    """Five steps; a recording of one device is replayed where there is one."""
    with jax.enable_x64(dtype == "float64"):
        config = RECIPES[name](dtype)
        place = sharding.make_mesh(mesh)
        takes = {"latent": _latent, "sft": _rows, "prm": _rows, "grpo": _rl}
        take = takes[config.recipe]
        return take(name, config, place, recorded)


@functools.cache
def first_state(name: str, dtype: str) -> Any:
    """The state before the first step, on the host, without its key."""
    config = RECIPES[name](dtype)

    def latent(key: jax.Array) -> Any:
        parts = latent_run(config, sharding.make_mesh(ONE))
        fresh = parts.core.init(key)
        wide = jax.tree.map(lambda x: x.astype(dtype), fresh)
        return parts.step.init(key, parts.batch_shapes(), wide)

    def policy(key: jax.Array) -> Any:
        if config.recipe == "prm":
            return make_updater(config).init(key)
        made = Updater(token_policy(config.model), config.optim, config.train)
        state = made.init(key)
        if config.recipe == "sft":
            return state
        return state.replace(carry=init_carry(config, full_weights(state.params)))

    fresh = latent if config.recipe == "latent" else policy
    state = jax.jit(fresh)(jax.random.key(0))
    return jax.tree.map(np.array, state.replace(key=None))


def _placed(name: str, dtype: str, abstract: Any) -> Any:
    """The first state on a mesh: arrays of its own, as steps donate them."""
    host = jax.tree.map(np.array, first_state(name, dtype))
    state = host.replace(key=jax.random.key(0))
    return jax.tree.map(lambda x, s: jax.device_put(x, s.sharding), state, abstract)


def _put(tree: Any, like: Any) -> Any:
    where = jax.tree.map(lambda x: x.sharding, like)
    return sharding.put(tree, where)


def _outcome(state: Any, losses: list[float], *more: Any) -> Outcome:
    params = jax.tree.map(np.asarray, state.params)
    return Outcome(named_leaves(params), losses, *(more or ([], [])))


def _mean(metrics: Any, label: str) -> float:
    total, weight = metrics[label]
    return float(total) / float(weight)


@dataclass(frozen=True)
class Recording(LatentStep):
    """A step that gives away the gradients of the rows that were touched."""

    keep: Callable[..., None] = print

    def gradients(self, *args: Any) -> Any:
        found = super().gradients(*args)
        jax.debug.callback(self.keep, found[2].data["puzzle_ids"], found[1])
        return found


def _latent(name: str, config: Any, mesh: Any, recorded: Outcome | None) -> Outcome:
    parts = latent_run(config, mesh)
    touched: list[tuple[np.ndarray, np.ndarray]] = []
    if recorded is None:
        keep = lambda ids, grads: touched.append((np.array(ids), np.array(grads)))
        parts = replace(parts, step=Recording(**vars(parts.step), keep=keep))
    state, (work,) = plan(config, mesh)
    step, batch = parts.dispatch(), work.args[1]
    losses, halted = [], []
    with sharding.use_mesh(mesh):
        now = _placed(name, config.model.dtype, state)
        for i in range(STEPS):
            offer = {key: x[None] for key, x in puzzles(i).items()}
            now, metrics = step(now, _put(offer, batch))
            losses.append(_mean(metrics, "loss/total"))
            halted.append(np.asarray(now.carry.halted))
            if recorded is not None:
                again = _put(recorded.halted[i], state.carry.halted)
                now = now.replace(carry=now.carry.replace(halted=again))
    jax.effects_barrier()
    return _outcome(now, losses, halted, touched)


def _rows(name: str, config: Any, mesh: Any, recorded: Outcome | None) -> Outcome:
    del recorded
    given, loss = {
        "sft": (solutions, "loss/lm"),
        "prm": (labelled, "loss/prm"),
    }[config.recipe]
    state, (work,) = plan(config, mesh)
    losses = []
    with sharding.use_mesh(mesh):
        now = _placed(name, config.model.dtype, state)
        for i in range(STEPS):
            batch = {key: x[None] for key, x in given(i).items()}
            now, metrics = work.function(now, _put(batch, work.args[1]))
            losses.append(_mean(metrics, loss))
    return _outcome(now, losses)


def _rl(name: str, config: Any, mesh: Any, recorded: Outcome | None) -> Outcome:
    del recorded
    groups = completions()
    state, works = plan(config, mesh)
    by_name = {work.name: work for work in works}
    learn, kind = by_name["update"], score_dtype(config)
    losses = []
    with sharding.use_mesh(mesh):
        now = _placed(name, config.model.dtype, state)
        for i in range(STEPS):
            wide = {key: getattr(groups[i], key) for key in groups[i]._fields}
            for key in ("logps", "rewards", "accuracy"):
                wide[key] = wide[key].astype(kind)
            placed = _put(Groups(**wide), learn.args[1])
            valid = _put(np.ones(PROMPTS, bool), learn.args[2])
            drawn = Drawn(np.int32((i + 1) * PROMPTS), None)
            score = by_name["score"].function
            scores: Scores = score(now.params, now.carry.reference, placed)
            now, metrics = learn.function(now, placed, valid, scores, drawn)
            losses.append(_mean(metrics, "loss/total"))
    return _outcome(now, losses)


# --- comparison --------------------------------------------------------------


def distances(found: Outcome, alone: Outcome) -> dict[str, float]:
    """How far every leaf is from its own, relative to it; the table apart."""
    apart = {}
    for path, leaf in alone.params.items():
        if path[-1] != "puzzle_table":
            other = found.params[path]
            norm = np.linalg.norm(leaf)
            gap = np.linalg.norm(np.asarray(other, leaf.dtype) - leaf)
            apart["/".join(path)] = float(gap / norm if norm else gap)
    return apart


def clear(alone: Outcome) -> np.ndarray:
    """Elements of the table whose summed gradients rounding cannot turn, `[N, P]`."""
    width = alone.touched[0][1].shape[1]
    found = np.ones((TABLE, width), bool)
    for ids, grads in alone.touched:
        for row in np.unique(ids):
            size = np.abs(grads[ids == row].sum(0, dtype=np.float64))
            found[row] &= size > 1e-5 * size.max()
    return found


def still(name: str, alone: Outcome) -> set[str]:
    """Leaves that have not moved at all."""
    dtype = str(next(iter(alone.params.values())).dtype)
    first = named_leaves(first_state(name, dtype).params)
    return {
        "/".join(path)
        for path, leaf in alone.params.items()
        if (leaf == first[path]).all()
    }
