# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Shape and kind of a latent reasoner: HRM, TRM and what lies between."""

from dataclasses import dataclass
from typing import Literal

from lrm_jax.models.layers import swiglu_width


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
