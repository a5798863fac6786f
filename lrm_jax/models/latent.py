# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The latent core: HRM, TRM and what lies between, from one config.

HRM (arXiv 2506.21734): two modules with weights of their own. TRM (arXiv
2510.04871): one shared module, with attention or a token mixer. This file holds
one forward step of each part; the recurrence is `reasoning/cycles.py`.
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from lrm_jax.config import resolve
from lrm_jax.models.layers import (
    Attention,
    Linear,
    SwiGLU,
    rms_norm,
    swiglu_width,
    trunc_normal,
)
from lrm_jax.types import Array, Key, Params, at_least_float32

SQRT_HALF = 0.707106781
"""As many digits as the references write: float64 parity needs the same."""

Q_BIAS = -5.0
"""Initial bias of both halting logits: start by going on."""


@dataclass(frozen=True)
class LatentConfig:
    """Shape and kind of a latent reasoner.

    Attributes:
      vocab_size: symbols, padding included.
      seq_len: cells of a problem.
      num_puzzle_ids: rows of the puzzle-embedding table.
      puzzle_emb_dim: width of a row; 0 for no table and no prefix.
      puzzle_prefix_len: positions before the cells that hold the row, zero
        padded; 0 means just enough of them.
      d_model: width of the states.
      n_heads: attention heads.
      expansion: SwiGLU expansion, before the factor 2/3.
      ff_multiple: SwiGLU widths are rounded up to a multiple of this.
      h_layers: blocks of the high module; 0 shares the low one (TRM).
      l_layers: blocks of the low module.
      h_cycles: recursions per segment.
      l_cycles: low-level calls per recursion.
      mixer: `attention`, `mlp_t` (token-mixing SwiGLU), or `package.module:Name`
        of a Linen module built as `Name(cfg)` that maps `[B, L, D]` to the same.
      positions: `rope`, `learned`, `none`, or `grid` (row, column and box tables).
      grid_shape: rows, columns, rows of a box, columns of a box, for `grid`.
      rope_theta: base of the rotary angles.
      norm_eps: added to every mean square.
      norm_placement: `post` (HRM, TRM) or `pre` (with a norm after the module).
      qk_norm: norm queries and keys, without scale.
      relation_bias: add to attention a learned bias per head for pairs of cells
        that share a row, a column or a box of `grid_shape`, or are the same.
      q_pool: where the halting head reads: `first` position (HRM, TRM) or the
        `mean` over positions.
      mlp: `swiglu` or `bounded_swiglu`.
      grad_depth: `one_step`, `last_recursion`, `all`, or the last K module calls.
      scan_layers: stack the blocks of a module and scan over them.
      remat: recompute each block in the backward pass.
      dtype: of activations and states; weights are float32.
    """

    vocab_size: int = 11
    seq_len: int = 81
    num_puzzle_ids: int = 1
    puzzle_emb_dim: int = 512
    puzzle_prefix_len: int = 0
    d_model: int = 512
    n_heads: int = 8
    expansion: float = 4.0
    ff_multiple: int = 256
    h_layers: int = 4
    l_layers: int = 4
    h_cycles: int = 2
    l_cycles: int = 2
    mixer: str = "attention"
    positions: Literal["rope", "learned", "none", "grid"] = "rope"
    grid_shape: tuple[int, int, int, int] = (9, 9, 3, 3)
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5
    norm_placement: Literal["post", "pre"] = "post"
    qk_norm: bool = False
    relation_bias: bool = False
    q_pool: Literal["first", "mean"] = "first"
    mlp: Literal["swiglu", "bounded_swiglu"] = "swiglu"
    grad_depth: Literal["one_step", "last_recursion", "all"] | int = "one_step"
    scan_layers: bool = False
    remat: bool = False
    dtype: Literal["float32", "bfloat16", "float64"] = "float32"

    @property
    def prefix_len(self) -> int:
        """Positions before the cells."""
        if self.puzzle_emb_dim == 0:
            return 0
        return self.puzzle_prefix_len or -(-self.puzzle_emb_dim // self.d_model)

    @property
    def total_len(self) -> int:
        """Positions in all, `L`."""
        return self.prefix_len + self.seq_len

    @property
    def d_ff(self) -> int:
        """Inner width of the channel SwiGLU."""
        return swiglu_width(self.d_model, self.expansion, self.ff_multiple)


class Block(nn.Module):
    """Mix over positions, then over channels, each with a residual and a norm."""

    cfg: LatentConfig

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Return the shape of `x`: `[B, L, D]`, for a token mixer `[L, B, D]`."""
        cfg = self.cfg
        mlp = SwiGLU(cfg.d_ff, cfg.mlp == "bounded_swiglu", cfg.norm_eps, name="mlp")
        if cfg.mixer == "mlp_t":
            x = self._mix_tokens(x)
        else:
            x = self._residual(x, self._mixer())
        return self._residual(x, mlp)

    def _residual(self, x: Array, layer: nn.Module, axis: int = -1) -> Array:
        eps = self.cfg.norm_eps
        if self.cfg.norm_placement == "pre":
            return x + layer(rms_norm(x, eps=eps, axis=axis))
        return rms_norm(x + layer(x), eps=eps, axis=axis)

    def _mix_tokens(self, x: Array) -> Array:
        # TRM norms over what it mixes: here the leading axis, the sequence.
        cfg = self.cfg
        width = swiglu_width(cfg.total_len, cfg.expansion, cfg.ff_multiple)
        bounded = cfg.mlp == "bounded_swiglu"
        mlp_t = SwiGLU(width, bounded, cfg.norm_eps, leading=True, name="mlp_t")
        return self._residual(x, mlp_t, axis=0)

    def _mixer(self) -> nn.Module:
        cfg = self.cfg
        if cfg.mixer == "attention":
            theta = cfg.rope_theta if cfg.positions == "rope" else None
            relations = (cfg.grid_shape, cfg.prefix_len) if cfg.relation_bias else None
            return Attention(
                cfg.n_heads, theta, cfg.qk_norm, cfg.norm_eps, relations, name="attn"
            )
        return resolve(cfg.mixer)(cfg, name="mixer")


class _ScanBlock(nn.Module):
    """A block in the form that `nn.scan` wants: carry and no output."""

    cfg: LatentConfig

    @nn.compact
    def __call__(self, x: Array, _: None) -> tuple[Array, None]:
        return Block(self.cfg, name="block")(x), None


class Level(nn.Module):
    """A stack of blocks that takes the injection once, before the first."""

    cfg: LatentConfig
    n_layers: int

    @nn.compact
    def __call__(self, z: Array, injection: Array) -> Array:
        """Return the new state, laid out as `z` is."""
        cfg = self.cfg
        x = z + injection
        if cfg.scan_layers:
            body = nn.remat(_ScanBlock, prevent_cse=False) if cfg.remat else _ScanBlock
            stack = nn.scan(
                body,
                variable_axes={"params": 0},
                split_rngs={"params": True},
                length=self.n_layers,
                metadata_params={nn.PARTITION_NAME: "layers"},
            )
            x, _ = stack(cfg, name="layers")(x, None)
        else:
            block = nn.remat(Block) if cfg.remat else Block
            for i in range(self.n_layers):
                x = block(cfg, name=f"layers_{i}")(x)
        if cfg.norm_placement == "pre":
            x = rms_norm(x, eps=cfg.norm_eps)
        return x


class Embedding(nn.Module):
    """A table of rows; the look-up itself is the caller's."""

    rows: int
    cfg: LatentConfig
    axis: str = "vocab"
    parts: int = 1

    @nn.compact
    def __call__(self) -> Array:
        """Return the table `[rows, D]` in the dtype of the activations."""
        std = 1 / math.sqrt(self.cfg.d_model * self.parts)
        init = nn.with_logical_partitioning(trunc_normal(std), (self.axis, "embed"))
        table = self.param("embedding", init, (self.rows, self.cfg.d_model))
        return jnp.asarray(table, self.cfg.dtype)


class LatentModule(nn.Module):
    """All trained weights of a latent reasoner, as four separate steps."""

    cfg: LatentConfig

    def setup(self) -> None:
        """Build the parts; names are the checkpoint contract."""
        cfg = self.cfg
        self.embed_tokens = Embedding(cfg.vocab_size, cfg)
        if cfg.positions == "learned":
            self.embed_pos = Embedding(cfg.total_len, cfg, "seq")
        if cfg.positions == "grid":
            rows, cols, box_rows, box_cols = cfg.grid_shape
            boxes = (rows // box_rows) * (cols // box_cols)
            self.embed_row = Embedding(rows, cfg, "seq", 3)
            self.embed_col = Embedding(cols, cfg, "seq", 3)
            self.embed_box = Embedding(boxes, cfg, "seq", 3)
        self.l_level = Level(cfg, cfg.l_layers)
        if cfg.h_layers:
            self.h_level = Level(cfg, cfg.h_layers)
        self.lm_head = Linear(cfg.vocab_size, ("embed", "vocab"))
        self.q_head = Linear(
            2,
            ("embed", None),
            bias_init=nn.initializers.constant(Q_BIAS),
            kernel_init=nn.initializers.zeros,
        )

    def embed(self, inputs: Array, puzzle_rows: Array | None) -> Array:
        """Return the input embedding of unit scale, laid out for the blocks."""
        cfg = self.cfg
        x = self.embed_tokens()[inputs]  # [B, S, D]
        if cfg.prefix_len:
            assert puzzle_rows is not None, "this config has a puzzle table"
            width = cfg.prefix_len * cfg.d_model
            padding = ((0, 0), (0, width - cfg.puzzle_emb_dim))
            prefix = jnp.pad(puzzle_rows.astype(x.dtype), padding)
            prefix = prefix.reshape(-1, cfg.prefix_len, cfg.d_model)
            x = jnp.concatenate([prefix, x], axis=1)
        positions = self._positions()
        if positions is not None:
            x = SQRT_HALF * (x + positions[None])
        return self.enter(math.sqrt(cfg.d_model) * x)

    def enter(self, z: Array) -> Array:
        """Lay out `[B, L, D]` as the blocks want it; its own inverse.

        A token mixer works on `[L, B, D]`: all its products are plain matrix
        products then, and nothing is transposed between blocks.
        """
        return z.swapaxes(0, 1) if self.cfg.mixer == "mlp_t" else z

    def _positions(self) -> Array | None:
        cfg = self.cfg
        if cfg.positions == "learned":
            return self.embed_pos()
        if cfg.positions != "grid":
            return None
        rows, cols, box_rows, box_cols = cfg.grid_shape
        cell = jnp.arange(cfg.seq_len)
        row, col = cell // cols, cell % cols
        box = (row // box_rows) * (cols // box_cols) + col // box_cols
        table = self.embed_row()[row] + self.embed_col()[col] + self.embed_box()[box]
        return jnp.pad(table, ((cfg.prefix_len, 0), (0, 0)))

    def update_l(self, z: Array, injection: Array) -> Array:
        """Return the new low state."""
        return self.l_level(z, injection)

    def update_h(self, z: Array, injection: Array) -> Array:
        """Return the new high state; with `h_layers == 0` by the shared module."""
        level = self.h_level if self.cfg.h_layers else self.l_level
        return level(z, injection)

    def logits(self, z_h: Array) -> Array:
        """Return `[B, S, V]` of the cells; the prefix is dropped."""
        return self.lm_head(z_h[:, self.cfg.prefix_len :])

    def q_logits(self, z_h: Array) -> Array:
        """Return `[B, 2]` halt and continue logits."""
        read = z_h[:, 0] if self.cfg.q_pool == "first" else jnp.mean(z_h, axis=1)
        return at_least_float32(self.q_head(read))

    def __call__(self, inputs: Array, puzzle_rows: Array | None) -> None:
        """Touch every weight once, for initialisation."""
        x = self.embed(inputs, puzzle_rows)
        z = self.enter(self.update_h(self.update_l(x, x), x))
        self.logits(z)
        self.q_logits(z)


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
