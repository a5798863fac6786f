# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The mesh of a run, chosen by what training keeps where the config gives none."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.sharding import Mesh

from lrm_jax import meshes, processes, sharding
from lrm_jax.cost.aot import device_bytes
from lrm_jax.models.policy import token_policy
from lrm_jax.recipes.latent_step import LatentStep
from lrm_jax.recipes.policy_config import PolicyRunBase
from lrm_jax.recipes.policy_state import Updater, full_weights, trained_part
from lrm_jax.recipes.run_config import RunConfig
from lrm_jax.sharding import MeshConfig


def policy_mesh(config: PolicyRunBase, devices: Sequence[Any] | None = None) -> Mesh:
    """Return the mesh of a policy's run.

    Args:
      config: resolved.
      devices: to use; all by default.
    """

    def kept() -> Any:
        policy = token_policy(config.model)
        updater = Updater(policy, config.optim, config.train, config.lora)
        state = jax.eval_shape(updater.init, jax.random.key(0))
        copies = [jax.eval_shape(full_weights, state.params)] * config.weight_copies
        grads = state.params[trained_part(state.params)]
        return state.params, grads, state.ema, state.opt_state, copies

    return _mesh_for(config.mesh, kept, devices)


def latent_mesh(config: RunConfig, step: LatentStep) -> Mesh:
    """Return the mesh of a latent run.

    Args:
      config: resolved.
      step: of the config.
    """

    def kept() -> Any:
        params = jax.eval_shape(step.core.init, jax.random.key(0))
        weights = params["weights"]
        moments = jax.eval_shape(step.tx().init, weights)
        return params, weights, weights if step.ema else None, moments

    return _mesh_for(config.mesh, kept, None)


def _mesh_for(
    cfg: MeshConfig, kept: Callable[[], Any], devices: Sequence[Any] | None
) -> Mesh:
    """The mesh, and a line on standard error where it was chosen and splits weights."""
    devices = jax.devices() if devices is None else devices
    memory = meshes.device_memory() if cfg == MeshConfig() else None
    if memory is None:
        return sharding.make_mesh(cfg, devices)
    count = device_bytes(kept())
    chosen = meshes.choose_mesh(cfg, count, n_devices=len(devices), memory_bytes=memory)
    mesh = sharding.make_mesh(chosen, devices)
    if chosen != cfg and processes.is_first():
        print(
            f"mesh: {sharding.show_axes(mesh.shape)}, as parameters, gradients and "
            f"optimizer take {count / 2**30:.3g} GiB and a device has "
            f"{memory / 2**30:.3g}",
            file=sys.stderr,
        )
    return mesh
