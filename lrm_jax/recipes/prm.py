# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Training of process and outcome reward models on labelled steps."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from lrm_jax.config import to_dict
from lrm_jax.models.policy import count_params, token_policy
from lrm_jax.recipes.driver import drive, summary
from lrm_jax.recipes.latent_step import scan_steps
from lrm_jax.recipes.origins import has_begun
from lrm_jax.recipes.policy_build import (
    PolicyParts,
    begin,
    read_policy_config,
    resolve_config,
    tokenizer_of,
)
from lrm_jax.recipes.policy_config import not_identity, run_id
from lrm_jax.recipes.policy_state import eval_params, trained_part
from lrm_jax.recipes.prm_config import PrmRunConfig, validate, with_head
from lrm_jax.recipes.prm_data import StepSource
from lrm_jax.recipes.prm_eval import HeldOutSteps
from lrm_jax.recipes.prm_run import open_run, refuse_other_tokenizer
from lrm_jax.recipes.prm_step import PrmStep, make_scorer, make_updater, scorer_params
from lrm_jax.recipes.registry import Recipe
from lrm_jax.recipes.run_mesh import policy_mesh
from lrm_jax.training import loop
from lrm_jax.training.loading import parse_source
from lrm_jax.training.own_rows import own_rows, place
from lrm_jax.training.progress import Style, check_style
from lrm_jax.training.state import TrainState


@dataclasses.dataclass
class PrmRun(PolicyParts):
    """The parts of a run; arrays are made by its methods.

    Attributes:
      step: the pure training step.
    """

    config: PrmRunConfig  # pyright: ignore[reportIncompatibleVariableOverride]
    source: StepSource  # pyright: ignore[reportIncompatibleVariableOverride]
    step: PrmStep

    def dispatch(self) -> loop.StepFn:
        """Return the jitted function of one dispatch; it donates the state."""
        shardings = jax.tree.map(lambda x: x.sharding, self.abstract_state())

        def steps(state: TrainState, batches: Any) -> Any:
            return scan_steps(self.step, state, batches)

        return jax.jit(steps, donate_argnums=0, out_shardings=(shardings, None))

    def batches(self) -> Callable[[int], Any]:
        """Return what gives `[N, B, ...]`, the batches of the dispatch from a step."""
        size = self.config.train.batch_size
        own = own_rows(self.mesh, size)

        def make(step: int) -> dict[str, jax.Array]:
            count = self.steps_from(step)
            parts = [self.source.train(step + i, own) for i in range(count)]
            batch = {name: np.stack([p[name] for p in parts]) for name in parts[0]}
            return place(self.mesh, batch, own, size, axis=1)

        return make

    def evaluate(self) -> loop.EvaluateFn:
        """Return the evaluation during training."""
        cfg = self.config.eval
        held_out = HeldOutSteps(
            self.step.scorer,
            self.config.prm.loss,
            self.source.held_out,
            self.mesh,
            size=cfg.size,
            batch_size=cfg.batch_size,
        )

        def measure(state: TrainState) -> dict[str, float]:
            return held_out(scorer_params(self.step.scorer, eval_params(state)))

        return measure


def resolve(
    config: PrmRunConfig, run_dir: str | None, init_from: str | None
) -> PrmRunConfig:
    """Return the config with source, model and vocabulary filled in.

    Raises:
      UserError: the source is missing, or writes with another tokenizer.
    """
    config = with_head(resolve_config(with_head(config), run_dir, init_from))
    begun = run_dir is not None and has_begun(run_dir)
    if config.init_from and not begun:
        folder = parse_source(config.init_from)[0]
        theirs = tokenizer_of(read_policy_config(folder))
        refuse_other_tokenizer(
            tokenizer_of(config), theirs, f"--init-from {config.init_from}"
        )
    return config


def build(config: PrmRunConfig) -> PrmRun:
    """Build the parts of a run; nothing is compiled.

    Args:
      config: fully resolved.

    Raises:
      UserError: the config cannot run, or its data cannot be used.
    """
    validate(config)
    source = StepSource(config)
    return parts_of(config, source, policy_mesh(config))


def parts_of(config: PrmRunConfig, source: Any, mesh: Any) -> PrmRun:
    """Return a run on a mesh; its shapes need no source."""
    updater = make_updater(config)
    step = PrmStep(
        make_scorer(config), config.prm.loss, updater, config.train.grad_accum
    )
    return PrmRun(config, source, token_policy(config.model), updater, mesh, step)


def train(
    config: PrmRunConfig,
    run_dir: str,
    *,
    init_from: str | None = None,
    dry_run: bool = False,
    profile_steps: int | None = None,
    progress: Style = "auto",
) -> dict[str, Any]:
    """Train, or go on training, the run in `run_dir`; see `registry.train`.

    Raises:
      UserError: the config, the data, the folder or the source cannot be used.
    """
    check_style(progress)
    config = resolve(config, run_dir, init_from)
    validate(config)
    ignore = not_identity(config)
    config, start = begin(config, run_dir, identity_ignore=ignore, dry_run=dry_run)
    run = build(config)
    if dry_run:
        return _describe(run)
    result, resumed_from = drive(
        config,
        run,
        run_dir,
        start=start,
        evaluate=run.evaluate(),
        identity_ignore=ignore,
        progress=progress,
        profile_steps=profile_steps or 0,
    )
    return summary(run_dir, result, resumed_from)


def _describe(run: PrmRun) -> dict[str, Any]:
    params = run.abstract_state().params
    batch = run.source.train.batch([0])
    rows = run.config.train.batch_size
    return {
        "config": to_dict(run.config),
        "params": count_params(params[trained_part(params)]),
        "batch": {name: [rows, *x.shape[1:]] for name, x in batch.items()},
        "data": run.source.describe(),
    }


RECIPE = Recipe(
    config=PrmRunConfig,
    validate=validate,
    run_id=run_id,
    resolve=resolve,
    train=train,
    open=open_run,
    build=build,
)
