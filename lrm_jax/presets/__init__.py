# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Named run configs as functions: the published recipes, and small ones for CPU.

A preset takes no argument and returns the config of a run, of any recipe; the first
line of its docstring is what `lrm presets` shows. Your own: `package.module:name`.
"""

import json
from collections.abc import Callable
from pathlib import Path

from lrm_jax.config import resolve
from lrm_jax.config.tree import suggest
from lrm_jax.presets.policy import sft_addition_tiny, sft_jsonl
from lrm_jax.presets.process_rewards import (
    prm_arithmetic_tiny,
    prm_jsonl,
    prm_math_7b,
)
from lrm_jax.presets.published import (
    hrm_arc,
    hrm_maze,
    hrm_sudoku,
    trm_arc,
    trm_att_sudoku,
    trm_maze,
    trm_mlp_sudoku,
)
from lrm_jax.presets.reinforcement import grpo_addition, sft_addition_cold
from lrm_jax.presets.scale import (
    grpo_8b,
    grpo_8b_v5p_512,
    grpo_30b_a3b,
    hrm_1b,
    trm_arc_1m,
)
from lrm_jax.presets.search_latent import search_latent_sudoku6
from lrm_jax.presets.search_policy import search_policy_arithmetic
from lrm_jax.presets.small import (
    quickstart_latent,
    sudoku4_tiny,
)
from lrm_jax.recipes.policy_config import PolicyRunBase
from lrm_jax.recipes.registry import read_config_of
from lrm_jax.recipes.run_config import RunConfig
from lrm_jax.types import UserError

AnyConfig = RunConfig | PolicyRunBase
Preset = Callable[[], AnyConfig]

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
        quickstart_latent,
        search_latent_sudoku6,
        search_policy_arithmetic,
        sft_addition_tiny,
        sft_jsonl,
        sft_addition_cold,
        grpo_addition,
        prm_arithmetic_tiny,
        prm_jsonl,
        prm_math_7b,
        grpo_8b,
        grpo_8b_v5p_512,
        grpo_30b_a3b,
        trm_arc_1m,
        hrm_1b,
    )
}


def get(name: str) -> AnyConfig:
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
        return _from_file(file)
    if ":" not in name:
        hint = suggest(name, list(PRESETS))
        raise UserError(
            f"unknown preset {name!r}{hint}; see lrm presets, or give "
            "package.module:name"
        )
    made = resolve(name, "preset")
    config = made() if callable(made) else made
    if not isinstance(config, RunConfig | PolicyRunBase):
        raise UserError(
            f"preset {name!r}: expected a run's config (RunConfig, SftRunConfig, ...), "
            f"got {type(config).__name__}"
        )
    return config


def _from_file(file: Path) -> AnyConfig:
    try:
        data = json.loads(file.read_text())
    except ValueError as error:
        raise UserError(f"{file}: not valid JSON: {error}") from error
    if not isinstance(data, dict):
        raise UserError(f"{file}: expected an object of settings")
    return read_config_of(data, str(file))


def summaries() -> dict[str, str]:
    """Return `{name: first line of the docstring}`."""
    return {
        name: (preset.__doc__ or "").strip().partition("\n")[0]
        for name, preset in PRESETS.items()
    }
