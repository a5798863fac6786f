# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The latent core as typed pure functions: HRM, TRM and what lies between.

One forward step of each part; the recurrence is `reasoning/cycles.py`.
"""

from functools import cache
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lrm_jax.models.latent_config import LatentConfig
from lrm_jax.models.latent_module import LatentModule
from lrm_jax.models.layers import trunc_normal
from lrm_jax.types import Array, Key, Params

__all__ = ["LatentConfig", "LatentCore", "count_params", "latent_core"]


class LatentCore:
    """Typed pure functions of a config; it holds no arrays.

    Every method but `init` takes `weights`, the trained part of the parameters
    (`params["weights"]`), so that a caller decides what is differentiated.
    """

    def __init__(self, cfg: LatentConfig) -> None:
        """Make the functions of `cfg`."""
        self.cfg = cfg
        self._module = LatentModule(cfg)

    def init(self, key: Key) -> Params:
        """Return fresh parameters.

        `weights` are float32 (trained by the optimizer), `fixed` the initial
        states (never trained), `puzzle_table` `[N, P]` zeros (trained by
        sign-SGD), absent without a puzzle embedding.
        """
        cfg = self.cfg
        weights_key, h_key, l_key = jax.random.split(key, 3)
        boxed = self._init_weights(weights_key)
        state = trunc_normal(1.0)
        # The references draw both in the dtype of the activations and keep it.
        fixed = {
            "z_h_init": state(h_key, (cfg.d_model,), jnp.dtype(cfg.dtype)),
            "z_l_init": state(l_key, (cfg.d_model,), jnp.dtype(cfg.dtype)),
        }
        params = {"weights": nn.meta.unbox(boxed), "fixed": fixed}
        if cfg.puzzle_emb_dim:
            shape = (cfg.num_puzzle_ids, cfg.puzzle_emb_dim)
            params["puzzle_table"] = jnp.zeros(shape, jnp.float32)
        return params

    def logical_axes(self) -> Params:
        """Return the tree of `init` with a tuple of logical axis names a leaf."""
        abstract = jax.eval_shape(self._init_weights, jax.random.key(0))
        axes: dict[str, Any] = {
            "weights": jax.tree.map(
                _axis_names,
                abstract,
                is_leaf=lambda leaf: isinstance(leaf, nn.meta.AxisMetadata),
            ),
            "fixed": {"z_h_init": ("embed",), "z_l_init": ("embed",)},
        }
        if self.cfg.puzzle_emb_dim:
            axes["puzzle_table"] = ("puzzle_ids", None)
        return axes

    def embed(self, weights: Params, inputs: Array, puzzle_rows: Array | None) -> Array:
        """Return the input embedding.

        Args:
          weights: `params["weights"]`.
          inputs: `[B, S]` int32 symbols.
          puzzle_rows: `[B, P]` rows of the puzzle table, or None without one.

        Returns:
          `[B, L, D]`, in the layout of `enter`.
        """
        return self._apply(weights, inputs, puzzle_rows, method="embed")

    def enter(self, z: Array) -> Array:
        """Lay out a state `[B, L, D]` as the module calls want it."""
        return self._module.enter(z)

    def leave(self, z: Array) -> Array:
        """Undo `enter`."""
        return self._module.enter(z)

    def update_l(self, weights: Params, z: Array, injection: Array) -> Array:
        """Return the new low state, in the layout of `enter`."""
        return self._apply(weights, z, injection, method="update_l")

    def update_h(self, weights: Params, z: Array, injection: Array) -> Array:
        """Return the new high state, in the layout of `enter`."""
        return self._apply(weights, z, injection, method="update_h")

    def logits(self, weights: Params, z_h: Array) -> Array:
        """Return the logits of the cells, `[B, S, V]`."""
        return self._apply(weights, z_h, method="logits")

    def q_logits(self, weights: Params, z_h: Array) -> Array:
        """Return halt and continue logits in float32, `[B, 2]`."""
        return self._apply(weights, z_h, method="q_logits")

    def cast(self, weights: Params) -> Params:
        """Return the weights in the dtype of the activations, once per step."""
        return jax.tree.map(lambda w: w.astype(self.cfg.dtype), weights)

    def _init_weights(self, key: Key) -> Params:
        cfg = self.cfg
        inputs = jnp.zeros((1, cfg.seq_len), jnp.int32)
        rows = jnp.zeros((1, cfg.puzzle_emb_dim)) if cfg.puzzle_emb_dim else None
        return self._module.init(key, inputs, rows)["params"]

    def _apply(self, weights: Params, *args: Any, method: str) -> Array:
        out = self._module.apply({"params": weights}, *args, method=method)
        return out  # pyright: ignore[reportReturnType]


def _axis_names(leaf: Any) -> tuple[str | None, ...]:
    """Return the logical axes of a leaf; a user's own layer may name none."""
    if isinstance(leaf, nn.meta.AxisMetadata):
        return tuple(leaf.names)  # pyright: ignore[reportAttributeAccessIssue]
    return (None,) * leaf.ndim


@cache
def latent_core(cfg: LatentConfig) -> LatentCore:
    """Return the functions of a config, the same object for the same config."""
    return LatentCore(cfg)


def count_params(weights: Params) -> int:
    """Return how many numbers the optimizer trains."""
    return sum(int(leaf.size) for leaf in jax.tree.leaves(weights))
