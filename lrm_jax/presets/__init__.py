# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Named run configs as functions: the published recipes, and small ones for CPU.

A preset takes no argument and returns a `RunConfig`; the first line of its
docstring is what `lrm presets` shows. Your own: `package.module:name`.
"""

from collections.abc import Callable
from pathlib import Path

from lrm_jax.config import from_json, resolve
from lrm_jax.config.tree import suggest
from lrm_jax.presets.published import (
    hrm_arc,
    hrm_maze,
    hrm_sudoku,
    trm_arc,
    trm_att_sudoku,
    trm_maze,
    trm_mlp_sudoku,
)
from lrm_jax.presets.small import (
    maze10_small,
    quickstart_latent,
    sudoku4_tiny,
    sudoku6_small,
)
from lrm_jax.recipes.run_config import RunConfig
from lrm_jax.types import UserError

Preset = Callable[[], RunConfig]

PRESETS: dict[str, Preset] = {
    preset.__name__: preset
    for preset in (
        hrm_sudoku,
        hrm_maze,
        hrm_arc,
        trm_att_sudoku,
        trm_mlp_sudoku,
        trm_maze,
        trm_arc,
        sudoku4_tiny,
        sudoku6_small,
        maze10_small,
        quickstart_latent,
    )
}


def get(name: str) -> RunConfig:
    """Return a preset's config.

    Args:
      name: a preset, `package.module:name` of a function or a config of yours, or
        a config.json as a run folder holds it.

    Raises:
      UserError: no such preset, or what was named is none.
    """
    if name in PRESETS:
        return PRESETS[name]()
    if name.endswith(".json"):
        file = Path(name)
        if not file.is_file():
            raise UserError(f"preset {name!r}: no such file")
        return from_json(RunConfig, file.read_text(), name)
    if ":" not in name:
        hint = suggest(name, list(PRESETS))
        raise UserError(
            f"unknown preset {name!r}{hint}; see lrm presets, or give "
            "package.module:name"
        )
    made = resolve(name, "preset")
    config = made() if callable(made) else made
    if not isinstance(config, RunConfig):
        raise UserError(
            f"preset {name!r}: expected a RunConfig, got {type(config).__name__}"
        )
    return config


def summaries() -> dict[str, str]:
    """Return `{name: first line of the docstring}`."""
    return {
        name: (preset.__doc__ or "").strip().partition("\n")[0]
        for name, preset in PRESETS.items()
    }
