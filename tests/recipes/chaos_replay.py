# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a run must do from a checkpoint on, computed beside it in this process."""

from pathlib import Path
from typing import Any

import numpy as np

from lrm_jax import presets, sharding
from lrm_jax.config import apply_overrides
from lrm_jax.recipes.latent_build import build
from lrm_jax.training import manifest, trees
from lrm_jax.training.checkpoint import Checkpointer
from lrm_jax.training.files import as_path
from lrm_jax.training.metrics import to_host

STEPS = 3  # before rounding has grown


class Replay:
    """The recipe of a run, on this process's devices; compiled once."""

    def __init__(self, words: tuple[str, ...]) -> None:
        """Build it from a preset and overrides."""
        self.run = build(apply_overrides(presets.get(words[0]), list(words[1:])))
        self.abstract = self.run.abstract_state()
        self.step = self.run.dispatch()
        self.next_batch = self.run.batches()

    def restore(self, checkpoints: Path, step: int) -> Any:
        """Return the state of a checkpoint on this mesh; a fresh one for step 0."""
        with sharding.use_mesh(self.run.mesh):
            if not step:
                return self.run.init_state()
            return Checkpointer(checkpoints).restore(self.abstract, step)[0]

    def losses(self, state: Any, step: int) -> dict[int, float]:
        """Return the losses of the next few steps."""
        found = {}
        with sharding.use_mesh(self.run.mesh):
            for number in range(step, step + STEPS):
                state, metrics = self.step(state, self.next_batch(number))
                total, weight = to_host(metrics)["loss/total"]
                found[number + 1] = total / weight
        return found


def unlike(checkpoints: Path, step: int, state: Any) -> list[str]:
    """Name the arrays of a restored state that are not, bit by bit, those saved."""
    path = as_path(checkpoints) / str(step)
    leaves = trees.named_leaves(state)
    saved = trees.read_arrays(path, dict.fromkeys(leaves))
    listed = {tuple(name.split("/")) for name in manifest.read(path)["leaves"]}
    return ["/".join(name) for name in listed ^ leaves.keys()] + [
        "/".join(name)
        for name, leaf in leaves.items()
        if np.asarray(saved[name]).tobytes()
        != np.asarray(trees.key_to_data(leaf)).tobytes()
    ]
