# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""From a config's `recipe` to the code that reads it; imported when it is asked for."""

import functools
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

from lrm_jax.config import from_dict
from lrm_jax.config.tree import suggest
from lrm_jax.training.loading import parse_source
from lrm_jax.training.run_folder import read_config
from lrm_jax.types import UserError

MODULES = {
    "latent": "lrm_jax.recipes.latent_recipe",
    "policy": "lrm_jax.recipes.imported_policy",
    "sft": "lrm_jax.recipes.sft",
    "grpo": "lrm_jax.recipes.grpo",
    "prm": "lrm_jax.recipes.prm",
    "reward": "lrm_jax.recipes.imported_reward",
}
"""Recipe -> the module whose `RECIPE` says what it does."""


class Recipe(NamedTuple):
    """What the command line and Python need of a recipe.

    Attributes:
      config: the class of its configs.
      validate: refuses a config that cannot run; `(config, n_devices=None)`.
      run_id: name of a config's run folder.
      resolve: fills in what a config leaves to others, `(config, run_dir, init_from)`.
      train: `(config, run_dir, *, init_from, dry_run, profile_steps, progress)`.
      open: a run folder as an object, `(RUN[@step])`.
      build: the parts of a run as `tooling.bench` times them, or None.
    """

    config: type[Any]
    validate: Callable[..., None]
    run_id: Callable[[Any], str]
    resolve: Callable[[Any, str | None, str | None], Any]
    train: Callable[..., dict[str, Any]]
    open: Callable[[str], Any]
    build: Callable[[Any], Any] | None


@functools.cache
def recipe(name: str) -> Recipe:
    """Return a recipe by its name.

    Raises:
      UserError: there is none of that name.
    """
    if name not in MODULES:
        known = ", ".join(MODULES)
        raise UserError(
            f"recipe={name!r}: expected one of {known}{suggest(name, list(MODULES))}"
        )
    return import_module(MODULES[name]).RECIPE


def recipe_of(config: Any) -> Recipe:
    """Return the recipe of a config."""
    return recipe(config.recipe)


def config_class(name: Any, where: str) -> type[Any]:
    """Return the class of a recipe's configs.

    Args:
      name: of the recipe, as read.
      where: it was read, for messages.
    """
    try:
        return recipe(str(name)).config
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def read_config_of(data: dict[str, Any], where: str) -> Any:
    """Return a config from JSON values, by the recipe they name."""
    return from_dict(config_class(data.get("recipe", "latent"), where), data)


def train(config: Any, run_dir: str, **options: Any) -> dict[str, Any]:
    """Train, or go on training, the run in `run_dir`, by the config's recipe.

    Args:
      config: of any recipe.
      run_dir: run folder; one that holds this run is resumed exactly.
      **options: `init_from`, `RUN[@step]` whose parameters (averaged ones where
        there are) a fresh run starts from; `dry_run`, build everything, compile
        nothing, write nothing; `profile_steps`, profile so many steps after the
        first; `progress`, how it is shown (auto, bar, plain, off).

    Returns:
      {run_dir, step, metrics, resumed_from, reason, message, best, recompiles,
      time_s}; for a dry run {config, params, batch, data}.

    Raises:
      UserError: the config, the data, the folder or the source cannot be used.
    """
    return recipe_of(config).train(config, run_dir, **options)


def load(run: str) -> Any:
    """Open a run folder, trained or imported, latent or token.

    Args:
      run: `RUN` or `RUN@latest` for the newest checkpoint, `RUN@STEP`, or
        `RUN@best`: the best by the evaluation during training, which is drawn from
        the test set, so that its figure on that set leans to the high side.

    Raises:
      UserError: no run, an unknown recipe, or no usable checkpoint.
    """
    folder, _ = parse_source(run)
    name = read_config(folder).get("recipe", "latent")
    config_class(name, f"{folder}/config.json")
    return recipe(name).open(run)
