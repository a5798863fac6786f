# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Imported policies, as the registry wants them: opened, never trained."""

from typing import Any

from lrm_jax.recipes.policy_config import ImportedPolicyConfig, run_id, validate_policy
from lrm_jax.recipes.registry import Recipe
from lrm_jax.recipes.token_run import open_run
from lrm_jax.types import UserError


def train(config: ImportedPolicyConfig, run_dir: str, **options: Any) -> dict[str, Any]:
    """Refuse: there is nothing that an import learns from."""
    del run_dir, options
    raise UserError(
        f"config of {config.name!r} is that of an import (recipe='policy'), which is "
        "not trained; start a recipe from it: lrm train sft_jsonl --init-from RUN"
    )


RECIPE = Recipe(
    config=ImportedPolicyConfig,
    validate=validate_policy,
    run_id=run_id,
    resolve=lambda config, run_dir, init_from: config,
    train=train,
    open=open_run,
    build=None,
)
