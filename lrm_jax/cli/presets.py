# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""List the named configs, or print one of them fully resolved."""

import argparse

from lrm_jax.cli.common import Outcome, table

NAME = "presets"
SUMMARY = "list presets, or print a resolved config"
EXAMPLE = "lrm presets trm_mlp_sudoku model.d_model=256"
TAKES_OVERRIDES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "name",
        nargs="?",
        metavar="NAME",
        help="a preset, package.module:name, or a config.json; overrides may follow",
    )


def run(args: argparse.Namespace) -> Outcome:
    """Do it."""
    from lrm_jax import presets
    from lrm_jax.config import apply_overrides, to_dict, to_json
    from lrm_jax.recipes.registry import recipe_of

    if args.name is None:
        found = presets.summaries()
        listed = [{"name": name, "summary": text} for name, text in found.items()]
        return Outcome(
            {"presets": listed}, table(["preset", "what"], list(found.items()))
        )
    config = apply_overrides(presets.get(args.name), args.overrides)
    recipe = recipe_of(config)
    if not getattr(config, "inherit", False):  # a source would have to be named
        config = recipe.resolve(config, None, None)
    recipe.validate(config)
    data = {
        "name": args.name,
        "run_id": recipe.run_id(config),
        "config": to_dict(config),
    }
    return Outcome(data, to_json(config))
