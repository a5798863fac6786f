# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The program of a reward model's step, to be compiled for devices elsewhere."""

import dataclasses
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding

from lrm_jax import sharding
from lrm_jax.cost import formulas
from lrm_jax.cost.aot import Work
from lrm_jax.recipes.aot_policy import head_flops, layers_flops
from lrm_jax.recipes.prm import parts_of
from lrm_jax.recipes.prm_config import PrmRunConfig, with_head


def prm_work(config: PrmRunConfig, mesh: Mesh) -> tuple[Any, list[Work]]:
    """Return the abstract state, and the step on one batch."""
    train = dataclasses.replace(config.train, steps_per_dispatch=1)
    config = with_head(dataclasses.replace(config, train=train))
    run = parts_of(config, cast(Any, None), mesh)  # shapes need no data
    state = run.abstract_state()
    function = cast(Any, run.dispatch())
    args = (state, abstract_batch(config, mesh))
    return state, [Work("update", function, args, step_flops(config))]


def abstract_batch(config: PrmRunConfig, mesh: Mesh) -> dict[str, Any]:
    """Return the shapes of a dispatch of one step, as `PrmRun.batches` places them."""
    rows, prm = config.train.batch_size, config.prm

    def array(kind: Any, *shape: int) -> Any:
        names = (None, "batch", *[None] * len(shape))
        where = NamedSharding(mesh, sharding.partition_spec(names, mesh))
        return jax.ShapeDtypeStruct((1, rows, *shape), kind, sharding=where)

    return {
        "ids": array(jnp.int32, prm.seq_len),
        "positions": array(jnp.int32, prm.seq_len),
        "mask": array(jnp.bool_, prm.seq_len),
        "ends": array(jnp.int32, prm.max_steps),
        "labels": array(jnp.float32, prm.max_steps),
        "label_mask": array(jnp.bool_, prm.max_steps),
        "starts": array(jnp.int32),
    }


def step_flops(config: PrmRunConfig) -> int:
    """Return the FLOPs of a step: blocks at every token, and what reads them.

    A head reads one number a token; an implicit model scores its own tokens, and reads
    its reference once more, which is not trained.
    """
    model, rows, length = config.model, config.train.batch_size, config.prm.seq_len
    blocks = layers_flops(model, rows, length)
    if config.implicit:
        read = blocks + head_flops(model, rows * length)
        return formulas.trained(read) + read
    return formulas.trained(blocks + formulas.dense(model.d_model, rows * length))
