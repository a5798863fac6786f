# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The latent recipe, as the registry wants it."""

from lrm_jax.recipes.latent import train
from lrm_jax.recipes.latent_build import build
from lrm_jax.recipes.registry import Recipe
from lrm_jax.recipes.run import load
from lrm_jax.recipes.run_config import RunConfig, run_id, validate

RECIPE = Recipe(
    config=RunConfig,
    validate=validate,
    run_id=run_id,
    resolve=lambda config, run_dir, init_from: config,
    train=train,
    open=load,
    build=build,
)
