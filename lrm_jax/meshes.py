# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which mesh a run can have: what is refused, and the choice where none is given."""

import dataclasses
from collections.abc import Mapping

import jax
from jax.sharding import Mesh

from lrm_jax.sharding import BATCH_AXES, MeshConfig, batch_shards, mesh_sizes
from lrm_jax.types import UserError

ROOM = 0.5
"""Share of a device's memory that what training keeps may take; the rest is for
activations."""


def check_batch(
    batch_size: int, mesh: Mesh | Mapping[str, int], what: str = "train.batch_size"
) -> None:
    """Refuse a global batch that does not divide over the devices.

    Args:
      batch_size: lanes over all devices.
      mesh: a mesh, or the sizes of its axes.
      what: the config key, for the message.
    """
    shards = batch_shards(mesh)
    if batch_size % shards:
        below = batch_size - batch_size % shards
        near = f"{below} or {below + shards}" if below else f"{shards}"
        sizes = mesh.shape if isinstance(mesh, Mesh) else mesh
        axes = BATCH_AXES if sizes.get("expert", 1) > 1 else BATCH_AXES[:2]
        raise UserError(
            f"{what}={batch_size}: must divide over {shards} devices "
            f"(mesh {' x '.join(axes)}); the nearest is {near}"
        )


def check_batches(
    cfg: MeshConfig,
    n_devices: int | None,
    *,
    train: int,
    grad_accum: int,
    evaluate: int,
) -> None:
    """Refuse a run whose batches do not divide over its devices.

    Args:
      cfg: the mesh.
      n_devices: devices there are; asks JAX if None.
      train: `train.batch_size`.
      grad_accum: `train.grad_accum`.
      evaluate: `eval.batch_size`.
    """
    n_devices = jax.device_count() if n_devices is None else n_devices
    sizes = mesh_sizes(cfg, n_devices)
    check_batch(train, sizes)
    check_batch(evaluate, sizes, "eval.batch_size")
    check_batch(train // grad_accum, sizes, "train.batch_size / train.grad_accum")


def check_parts(
    cfg: MeshConfig, n_devices: int | None, *, heads: int | None, experts: int = 0
) -> None:
    """Refuse a mesh that a model's parts do not divide over.

    Args:
      cfg: the mesh.
      n_devices: devices there are; asks JAX if None.
      heads: attention heads; None without attention.
      experts: routed experts of a layer; 0 without.
    """
    n_devices = jax.device_count() if n_devices is None else n_devices
    sizes = mesh_sizes(cfg, n_devices)
    parts = [("model", "n_heads", heads)] if heads is not None else []
    if sizes["expert"] > 1:
        if not experts:
            raise UserError(
                f"mesh.expert={sizes['expert']}: the model has no experts; expected 1 "
                "(mesh.fsdp splits weights)"
            )
        parts.append(("expert", "moe.n_experts", experts))
    for axis, key, count in parts:
        if count % sizes[axis]:
            fit = [str(n) for n in range(1, count + 1) if not count % n]
            raise UserError(
                f"mesh.{axis}={sizes[axis]}: must divide model.{key}={count}; expected "
                f"one of {', '.join(fit)}"
            )


def choose_mesh(
    cfg: MeshConfig, kept_bytes: int, *, n_devices: int, memory_bytes: int | None
) -> MeshConfig:
    """Return a mesh that says what to do, where the config leaves it at its default.

    Copies of the weights over all devices, as long as what training keeps takes no
    more than `ROOM` of a device; otherwise it is split over the fewest devices with
    which it does (or over all), and the rest are copies.

    Args:
      cfg: the mesh of the config; anything but the default stays as it is.
      kept_bytes: parameters, their gradients, optimizer and average, whole.
      n_devices: devices there are.
      memory_bytes: of one of them; None where it is not known.
    """
    if cfg != MeshConfig() or memory_bytes is None:
        return cfg
    parts = [n for n in range(1, n_devices + 1) if not n_devices % n]
    enough = (n for n in parts if kept_bytes <= n * ROOM * memory_bytes)
    return dataclasses.replace(cfg, fsdp=next(enough, n_devices))


def device_memory() -> int | None:
    """Return the bytes that programs may use on a device; None if it does not say."""
    stats = jax.local_devices()[0].memory_stats()
    return stats.get("bytes_limit") if stats else None
