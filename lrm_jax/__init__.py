# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""LRM-JAX: research on large reasoning models, latent and token, in JAX.

Public names are imported when they are first used, so that `import lrm_jax` stays
light.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from lrm_jax.config import apply_overrides, chain, grid, seeds, zip_
    from lrm_jax.data.pipeline import PuzzleDataConfig, PuzzleSource, make_source
    from lrm_jax.evaluation.harness import evaluate
    from lrm_jax.evaluation.report import write_report
    from lrm_jax.models.latent import LatentConfig, latent_core
    from lrm_jax.presets import get as preset
    from lrm_jax.reasoning.budget import ThinkingBudget
    from lrm_jax.reasoning.halting import HaltingConfig
    from lrm_jax.reasoning.latent import LatentReasoner
    from lrm_jax.recipes.registry import load, train
    from lrm_jax.recipes.run import Run
    from lrm_jax.recipes.run_config import RunConfig
    from lrm_jax.types import Reasoner, UserError

_PUBLIC = {
    "HaltingConfig": "lrm_jax.reasoning.halting",
    "LatentConfig": "lrm_jax.models.latent",
    "LatentReasoner": "lrm_jax.reasoning.latent",
    "PuzzleDataConfig": "lrm_jax.data.pipeline",
    "PuzzleSource": "lrm_jax.data.pipeline",
    "Reasoner": "lrm_jax.types",
    "Run": "lrm_jax.recipes.run",
    "RunConfig": "lrm_jax.recipes.run_config",
    "ThinkingBudget": "lrm_jax.reasoning.budget",
    "UserError": "lrm_jax.types",
    "apply_overrides": "lrm_jax.config",
    "chain": "lrm_jax.config",
    "evaluate": "lrm_jax.evaluation.harness",
    "grid": "lrm_jax.config",
    "latent_core": "lrm_jax.models.latent",
    "load": "lrm_jax.recipes.registry",
    "make_source": "lrm_jax.data.pipeline",
    "preset": "lrm_jax.presets",
    "seeds": "lrm_jax.config",
    "train": "lrm_jax.recipes.registry",
    "write_report": "lrm_jax.evaluation.report",
    "zip_": "lrm_jax.config",
}

__all__ = ["__version__", *sorted(_PUBLIC)]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'lrm_jax' has no attribute {name!r}")
    module = import_module(_PUBLIC[name])
    return getattr(module, "get" if name == "preset" else name)


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
