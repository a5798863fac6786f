# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which logical axes the leaves of a training state have, found by their paths.

Whatever ends in the path of a weight (its average, its moments) lies as the weight
does, an adapter as the kernel it is for; what has no axes is whole on every device.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from lrm_jax import sharding
from lrm_jax.models.latent import LatentCore
from lrm_jax.models.lora import adapter_axes
from lrm_jax.models.policy import Policy
from lrm_jax.models.projection import ADAPTER

Axes = tuple[str | None, ...]

AxesOf = Callable[[Sequence[str], int], Axes | None]
"""From a leaf's path and its number of dimensions to a name for each of them."""


def policy_state_axes(policy: Policy) -> AxesOf:
    """Return the axes of the states that train a policy."""
    by_tail = _by_tail(policy.axes)

    def find(names: Sequence[str], ndim: int) -> Axes | None:
        if names[-1] in ADAPTER[:2]:  # of a projection, or of experts' stacked kernels
            *kernel, side = names
            axes = by_tail([*kernel, "kernel"]) or by_tail(kernel)
            axes = axes and adapter_axes(axes, side)
        else:
            axes = by_tail(names)
        return axes if axes is not None and len(axes) == ndim else None

    return find


def latent_state_axes(core: LatentCore) -> AxesOf:
    """Return the axes of the states that train a latent reasoner; lanes are a batch."""
    axes = core.logical_axes()
    by_tail = _by_tail(axes["weights"])

    def find(names: Sequence[str], ndim: int) -> Axes | None:
        if names[0] == "carry":
            return ("batch", *[None] * (ndim - 1)) if ndim else None
        if names[-1] == "puzzle_table":
            found = axes["puzzle_table"]
        else:
            found = by_tail(names)
        return found if found is not None and len(found) == ndim else None

    return find


def path_names(path: Any) -> list[str]:
    """Return the names along a path of `jax.tree_util`."""
    return [str(getattr(e, "key", getattr(e, "name", e))) for e in path]


def shardings_of(mesh: Mesh, shapes: Any, axes_of: AxesOf) -> Any:
    """Return where every leaf of a training state lives.

    Args:
      mesh: over the devices.
      shapes: of the state.
      axes_of: the axes of its leaves.
    """

    def one(path: Any, leaf: Any) -> NamedSharding:
        axes = axes_of(path_names(path), leaf.ndim)
        if axes is None:
            return NamedSharding(mesh, P())
        return NamedSharding(mesh, sharding.partition_spec(axes, mesh, leaf.shape))

    return jax.tree_util.tree_map_with_path(one, shapes)


def _by_tail(axes: Any) -> Callable[[Sequence[str]], Axes | None]:
    known = {
        tuple(path_names(path)): names
        for path, names in jax.tree_util.tree_leaves_with_path(
            axes, is_leaf=lambda x: isinstance(x, tuple)
        )
    }

    def find(names: Sequence[str]) -> Axes | None:
        tails = (tuple(names[i:]) for i in range(len(names)))
        return next((known[t] for t in tails if t in known), None)

    return find
