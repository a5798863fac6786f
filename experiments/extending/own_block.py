# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A block of your own: a gated depthwise convolution in the place of attention.

A mixer is a Linen module built as `Name(cfg, name=...)` that maps `[B, L, D]` to
the same shape; residual, norm and channel SwiGLU are the block's. A cell sees
`REACH` neighbours on either side, so what is farther needs more thinking.

    python -m experiments.extending.own_block
    lrm train sudoku4_tiny model.mixer=experiments.extending.own_block:GatedConv
"""

import sys

import flax.linen as nn
import jax

from lrm_jax.cli.main import main as lrm
from lrm_jax.models.latent import LatentConfig

NAME = "experiments.extending.own_block:GatedConv"
REACH = 5
SMALL = ["model.d_model=32", "model.l_layers=1", "data.test_size=200"]


class GatedConv(nn.Module):
    """Mix positions by one filter per channel, gated by the cell itself."""

    cfg: LatentConfig

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Return `[B, L, D]` from `[B, L, D]`."""
        width, dtype = self.cfg.d_model, x.dtype
        gate = nn.Dense(width, use_bias=False, dtype=dtype, name="gate")(x)
        near = nn.Conv(
            width,
            kernel_size=(2 * REACH + 1,),
            feature_group_count=width,
            use_bias=False,
            dtype=dtype,
            name="conv",
        )(x)  # zeros beyond both ends: [B, L, D]
        mixed = nn.silu(gate) * near
        return nn.Dense(width, use_bias=False, dtype=dtype, name="out")(mixed)


if __name__ == "__main__":
    words = [f"model.mixer={NAME}", *SMALL, "train.total_steps=100", *sys.argv[1:]]
    sys.exit(lrm(["train", "sudoku4_tiny", *words, "--run-dir", "runs/own_block"]))
