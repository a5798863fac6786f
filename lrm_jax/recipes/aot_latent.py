# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The training step of a latent reasoner, to be compiled for devices elsewhere."""

import dataclasses
from typing import Any, cast

import jax
from jax.sharding import Mesh, NamedSharding

from lrm_jax import sharding
from lrm_jax.cost import formulas
from lrm_jax.cost.aot import Work
from lrm_jax.models.latent import LatentConfig, latent_core
from lrm_jax.models.layers import swiglu_width
from lrm_jax.reasoning.cycles import grad_calls
from lrm_jax.reasoning.halting import needs_target
from lrm_jax.reasoning.latent import LatentReasoner
from lrm_jax.recipes.latent_build import LatentRun, latent_step
from lrm_jax.recipes.run_config import RunConfig


def latent_run(config: RunConfig, mesh: Mesh) -> LatentRun:
    """Return the parts of a run on a mesh, without its data: shapes need none."""
    core = latent_core(config.model)
    step = latent_step(config, core)
    train = dataclasses.replace(config.train, steps_per_dispatch=1)
    data = dataclasses.replace(config.data, resident=False)
    config = dataclasses.replace(config, train=train, data=data)
    reasoner = LatentReasoner(core, config.halting)
    return LatentRun(config, cast(Any, None), core, step, mesh, reasoner)


def latent_work(config: RunConfig, mesh: Mesh) -> tuple[Any, list[Work]]:
    """Return the abstract state, and the step: one batch from the host."""
    run = latent_run(config, mesh)
    spec = sharding.partition_spec((None, "batch"), mesh)
    where = NamedSharding(mesh, spec)
    batch = {
        name: jax.ShapeDtypeStruct((1, *x.shape), x.dtype, sharding=where)
        for name, x in run.batch_shapes().items()
    }
    state = run.abstract_state()
    flops = latent_flops(config)
    return state, [Work("update", run.dispatch(), (state, batch), flops)]


def latent_flops(config: RunConfig) -> int:
    """Return the FLOPs of one step by formula.

    One segment of every lane: calls of the modules before the tail forward only, the
    tail and the heads trained, and the look-ahead of Q-learning once more forward.
    """
    model, lanes = config.model, config.train.batch_size
    total = model.h_cycles * (model.l_cycles + 1)
    tail = grad_calls(
        model.grad_depth, h_cycles=model.h_cycles, l_cycles=model.l_cycles
    )
    low = block_flops(model) * model.l_layers
    high = block_flops(model) * (model.h_layers or model.l_layers)
    whole = model.h_cycles * (model.l_cycles * low + high)
    # The last calls of a segment: a high one, then the low ones before it.
    per_turn = model.l_cycles + 1
    highs = -(-tail // per_turn)
    in_tail = highs * high + (tail - highs) * low
    forward = whole - in_tail if tail < total else 0
    if needs_target(config.halting):
        forward += whole
    heads = formulas.dense(model.d_model * model.vocab_size, model.seq_len)
    return lanes * (forward + formulas.trained(in_tail + heads))


def block_flops(model: LatentConfig) -> int:
    """Return the forward FLOPs of one block on one lane."""
    d, length = model.d_model, model.total_len
    total = formulas.dense(3 * d * model.d_ff, length)
    if model.mixer == "mlp_t":
        width = swiglu_width(length, model.expansion, model.ff_multiple)
        return total + formulas.dense(3 * length * width, d)
    total += formulas.dense(4 * d * d, length)
    return total + formulas.attention(
        heads=model.n_heads, width=d // model.n_heads, queries=length, keys=length
    )
