# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The programs of a token policy's step, to be compiled for devices elsewhere.

Supervised: the update. Reinforcement: the rollout, scoring and the updates, as
`grpo_build.Iteration` jits them. Q prompts, G completions of each, B = Q * G rows, P
prompt and C completion tokens.
"""

import dataclasses
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from lrm_jax import sharding
from lrm_jax.cost import formulas
from lrm_jax.cost.aot import Work
from lrm_jax.models.policy import token_policy
from lrm_jax.models.policy_config import PolicyConfig
from lrm_jax.reasoning.decoding import generate_jit
from lrm_jax.reasoning.sampling import sampling_params
from lrm_jax.recipes.grpo_build import GrpoRun
from lrm_jax.recipes.grpo_config import GrpoRunConfig, derived
from lrm_jax.recipes.grpo_rollout import prompt_room
from lrm_jax.recipes.grpo_state import Groups, score_dtype
from lrm_jax.recipes.grpo_step import Drawn, GrpoStep, Scores
from lrm_jax.recipes.policy_state import Updater, full_weights
from lrm_jax.recipes.sft import SftRun
from lrm_jax.recipes.sft_config import SftRunConfig
from lrm_jax.recipes.sft_step import SftStep

_NONE = cast(Any, None)
"""In place of text and tokenizer: shapes need none."""


def sft_work(config: SftRunConfig, mesh: Mesh) -> tuple[Any, list[Work]]:
    """Return the abstract state, and the step on one batch."""
    train = dataclasses.replace(config.train, steps_per_dispatch=1)
    config = dataclasses.replace(config, train=train)
    policy = token_policy(config.model)
    updater = Updater(policy, config.optim, config.train, config.lora)
    step = SftStep(policy, config.sft, updater, config.train.grad_accum)
    run = SftRun(config, _NONE, policy, updater, mesh, step, _NONE)
    state = run.abstract_state()
    rows, length = config.train.batch_size, config.sft.seq_len
    where = NamedSharding(mesh, sharding.partition_spec((None, "batch"), mesh))
    array = lambda kind: jax.ShapeDtypeStruct((1, rows, length), kind, sharding=where)
    kinds = dict.fromkeys(("ids", "targets", "positions", "segment_ids"), jnp.int32)
    batch = {name: array(kind) for name, kind in kinds.items()}
    batch["loss_mask"] = array(jnp.bool_)
    model = config.model
    forward = layers_flops(model, rows, length) + head_flops(model, rows * length)
    flops = formulas.trained(forward)
    function = cast(Any, run.dispatch())
    share = own_rows_share(mesh)
    args = (state, batch)
    return state, [Work("update", function, args, flops, ragged_share=share)]


def own_rows_share(mesh: Mesh) -> float:
    """Return what a device's experts have of the choices that its group brings them.

    Outside of token loops, whose batch axes are manual, the devices of an expert
    group gather their rows; each choice is of one of them.
    """
    return 1 / mesh.shape.get("expert", 1)


def scores_first(config: GrpoRunConfig) -> bool:
    """Return whether a step has a program that scores; see `GrpoStep`."""
    return _grpo_step(config).scores_first


def _grpo_step(config: GrpoRunConfig) -> GrpoStep:
    policy = token_policy(config.model)
    updater = Updater(policy, config.optim, config.train, config.lora)
    return GrpoStep(policy, config.rl, config.grpo, updater, config.train.grad_accum)


def grpo_work(config: GrpoRunConfig, mesh: Mesh) -> tuple[Any, list[Work]]:
    """Return the abstract state; rollout, scoring (if there is any) and updates."""
    config = derived(config)
    step = _grpo_step(config)
    parts = (config, _NONE, step.policy, step.updater, mesh, step)
    run = GrpoRun(*parts, _NONE, _NONE, _NONE)
    state = run.abstract_state()
    groups = abstract_groups(config, mesh)
    works = [_rollout(config, mesh, state)]
    scores, share = Scores(), own_rows_share(mesh)
    if step.scores_first:
        args = (state.params, state.carry.reference, groups)
        score = jax.jit(step.score)
        flops = _reads(config) * read_flops(config)
        beside = (state.opt_state, state.ema)
        works.append(
            Work("score", score, args, flops, beside=beside, ragged_share=share)
        )
        scores = _scores(config, mesh, step)
    where = jax.tree.map(lambda x: x.sharding, state)
    learn = jax.jit(step.learn, donate_argnums=0, out_shardings=(where, None))
    count = config.rl.rollout.n_prompts
    whole = NamedSharding(mesh, P())
    valid = jax.ShapeDtypeStruct((count,), jnp.bool_, sharding=whole)
    cursor = jax.ShapeDtypeStruct((), jnp.int32, sharding=whole)
    drawn = Drawn(cast(Any, cursor), state.carry.waiting)
    args = (state, groups, valid, scores, drawn)
    flops = config.rl.epochs * formulas.trained(read_flops(config))
    works.append(Work("update", learn, args, flops, ragged_share=share))
    return state, works


def abstract_groups(config: GrpoRunConfig, mesh: Mesh) -> Groups:
    """Return the shapes of a rollout's groups, as `Iteration` places them."""
    rollout = config.rl.rollout
    q, lanes, tokens = rollout.n_prompts, rollout.group_size, rollout.max_new_tokens
    prompt, score = prompt_room(config), score_dtype(config)

    def array(shape: tuple[int, ...], dtype: Any) -> Any:
        names = ("batch", *[None] * (len(shape) - 1))
        spec = sharding.partition_spec(names, mesh, shape)
        where = NamedSharding(mesh, spec)
        return jax.ShapeDtypeStruct(shape, dtype, sharding=where)

    return Groups(
        prompt_ids=array((q, prompt), jnp.int32),
        prompt_mask=array((q, prompt), jnp.bool_),
        ids=array((q, lanes, tokens), jnp.int32),
        mask=array((q, lanes, tokens), jnp.bool_),
        forced=array((q, lanes, tokens), jnp.bool_),
        logps=array((q, lanes, tokens), score),
        rewards=array((q, lanes), score),
        accuracy=array((q, lanes), score),
        truncated=array((q, lanes), jnp.bool_),
        version=array((q,), jnp.int32),
        number=array((q,), jnp.int32),
    )


def _scores(config: GrpoRunConfig, mesh: Mesh, step: GrpoStep) -> Scores:
    rollout, rl = config.rl.rollout, config.rl
    rows = rollout.n_prompts * rollout.group_size

    def array(*shape: int) -> Any:
        names = ("batch", *[None] * (len(shape) - 1))
        where = NamedSharding(mesh, sharding.partition_spec(names, mesh, shape))
        return jax.ShapeDtypeStruct(shape, score_dtype(config), sharding=where)

    tokens = array(rows, rollout.max_new_tokens)
    old = rl.needs_old_logps and rl.updates_per_rollout > 1
    return Scores(
        old_logps=tokens if old or rl.needs_values else None,
        ref_logps=tokens if rl.needs_reference else None,
        values=tokens if rl.needs_values else None,
        last_values=array(rows) if rl.needs_values else None,
    )


def _rollout(config: GrpoRunConfig, mesh: Mesh, state: Any) -> Work:
    """All completions written at once, each to its longest, with no stop but that."""
    rollout, policy = config.rl.rollout, token_policy(config.model)
    rows, room = rollout.n_prompts * rollout.group_size, prompt_room(config)
    count, tokens = rollout.n_prompts, rollout.max_new_tokens
    spec = sharding.partition_spec(("batch", None), mesh, (count, room))
    prompts, whole = NamedSharding(mesh, spec), NamedSharding(mesh, P())
    sampling = jax.eval_shape(
        lambda: sampling_params(
            rows,
            max_new=tokens,
            temperature=rollout.temperature,
            top_k=rollout.top_k,
            top_p=rollout.top_p,
            min_p=rollout.min_p,
        )
    )
    key = jax.eval_shape(lambda: jax.random.key(0))
    sequences = jax.ShapeDtypeStruct((rows,), np.int32)
    place = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=whole)
    sampling, key, sequences = jax.tree.map(place, (sampling, key, sequences))

    def write(params: Any, ids: Any, mask: Any, sampling: Any, key: Any, numbers: Any):  # noqa: ANN202
        return generate_jit(
            policy,
            full_weights(params),
            ids,
            mask,
            group_size=rollout.group_size,
            max_new_tokens=tokens,
            sampling=sampling,
            key=key,
            sequence_ids=numbers,
        )

    ids = jax.ShapeDtypeStruct((count, room), jnp.int32, sharding=prompts)
    mask = jax.ShapeDtypeStruct((count, room), jnp.bool_, sharding=prompts)
    args = (state.params, ids, mask, sampling, key, sequences)
    beside = (state.opt_state, state.ema, state.carry)
    flops = rollout_flops(config)
    return Work(
        "rollout", jax.jit(write), args, flops, while_bound=tokens, beside=beside
    )


def _reads(config: GrpoRunConfig) -> int:
    """Forward passes of scoring."""
    rl = config.rl
    old = rl.needs_values or (rl.needs_old_logps and rl.updates_per_rollout > 1)
    return int(old) + int(rl.needs_reference)


def layer_params(model: PolicyConfig) -> int:
    """Return the parameters a token is multiplied with in all blocks."""
    d, total = model.d_model, 0
    if model.mla is not None:
        mla, heads = model.mla, model.n_heads
        q_width = heads * (mla.d_nope + mla.d_rope)
        q = d * mla.q_rank + mla.q_rank * q_width if mla.q_rank else d * q_width
        kv = d * (mla.kv_rank + mla.d_rope)
        kv += mla.kv_rank * heads * (mla.d_nope + mla.d_value)
        mixed = q + kv + heads * mla.d_value * d
    else:
        mixed = 2 * d * model.head_dim * (model.n_heads + model.kv_heads)
    for layer in range(model.n_layers):
        total += mixed
        if model.is_moe(layer) and model.moe is not None:
            moe = model.moe
            active = moe.top_k + moe.n_shared
            total += 3 * d * moe.d_expert * active + d * moe.n_experts
        else:
            total += 3 * d * model.d_ff
    return total


def layers_flops(model: PolicyConfig, rows: int, length: int) -> int:
    """Return the forward FLOPs of all blocks on rows of so many tokens."""
    width = model.head_dim
    if model.mla is not None:
        width = (model.mla.d_nope + model.mla.d_rope + model.mla.d_value) // 2
    pairs = formulas.attention(
        heads=model.n_heads, width=width, queries=length, keys=length
    )
    products = formulas.dense(layer_params(model), rows * length)
    return products + rows * model.n_layers * pairs


def head_flops(model: PolicyConfig, tokens: int) -> int:
    """Return the forward FLOPs of the head."""
    return formulas.dense(model.d_model * model.rows, tokens)


def read_flops(config: GrpoRunConfig) -> int:
    """Return the forward FLOPs of reading all rows: the head on completions only."""
    rollout = config.rl.rollout
    rows = rollout.n_prompts * rollout.group_size
    length = prompt_room(config) + rollout.max_new_tokens
    head = head_flops(config.model, rows * rollout.max_new_tokens)
    return layers_flops(config.model, rows, length) + head


def rollout_flops(config: GrpoRunConfig) -> int:
    """Return the FLOPs of reading the prompts and writing every token."""
    rollout, model = config.rl.rollout, config.model
    rows = rollout.n_prompts * rollout.group_size
    prompt, tokens = prompt_room(config), rollout.max_new_tokens
    read = layers_flops(model, rollout.n_prompts, prompt)
    read += head_flops(model, rollout.n_prompts)
    pairs = formulas.attention(
        heads=model.n_heads,
        width=model.head_dim,
        queries=tokens,
        keys=prompt + tokens,
    )
    products = formulas.dense(layer_params(model), rows * tokens)
    return (
        read
        + products
        + rows * model.n_layers * pairs
        + head_flops(model, rows * tokens)
    )
