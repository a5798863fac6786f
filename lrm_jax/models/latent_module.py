# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The weights of a latent reasoner: one forward step of each part.

HRM (arXiv 2506.21734): two modules with weights of their own. TRM (arXiv
2510.04871): one shared module, with attention or a token mixer.
"""

import math

import flax.linen as nn
import jax.numpy as jnp

from lrm_jax.config import resolve
from lrm_jax.models.latent_config import LatentConfig
from lrm_jax.models.layers import (
    Attention,
    Linear,
    SwiGLU,
    rms_norm,
    swiglu_width,
    trunc_normal,
)
from lrm_jax.types import Array, at_least_float32

SQRT_HALF = 0.707106781
"""As many digits as the references write: float64 parity needs the same."""

Q_BIAS = -5.0
"""Initial bias of both halting logits: start by going on."""


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
