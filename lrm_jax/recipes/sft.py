# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Supervised fine-tuning of a token policy on worked solutions."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from lrm_jax.config import to_dict
from lrm_jax.data.packed_rows import PackedRows
from lrm_jax.models.policy import count_params, token_policy
from lrm_jax.recipes.driver import drive, summary
from lrm_jax.recipes.latent_step import scan_steps
from lrm_jax.recipes.policy_build import (
    PolicyParts,
    begin,
    make_text,
    resolve_config,
)
from lrm_jax.recipes.policy_config import not_identity, run_id
from lrm_jax.recipes.policy_eval import GreedyAccuracy, HeldOutLoss
from lrm_jax.recipes.policy_state import (
    Updater,
    eval_params,
    full_weights,
    trained_part,
)
from lrm_jax.recipes.registry import Recipe
from lrm_jax.recipes.run_mesh import policy_mesh
from lrm_jax.recipes.sft_config import SftRunConfig, validate
from lrm_jax.recipes.sft_step import SftStep
from lrm_jax.recipes.token_run import open_run
from lrm_jax.recipes.token_sampler import Sampler
from lrm_jax.training import loop
from lrm_jax.training.own_rows import own_rows, place
from lrm_jax.training.progress import Style, check_style
from lrm_jax.training.state import TrainState


@dataclasses.dataclass
class SftRun(PolicyParts):
    """The parts of a run; arrays are made by its methods.

    Attributes:
      step: the pure training step.
      rows: batches by step.
    """

    config: SftRunConfig  # pyright: ignore[reportIncompatibleVariableOverride]
    step: SftStep
    rows: PackedRows

    def dispatch(self) -> loop.StepFn:
        """Return the jitted function of one dispatch; it donates the state."""
        shardings = jax.tree.map(lambda x: x.sharding, self.abstract_state())

        def steps(state: TrainState, batches: Any) -> Any:
            return scan_steps(self.step, state, batches)

        return jax.jit(steps, donate_argnums=0, out_shardings=(shardings, None))

    def batches(self) -> Callable[[int], Any]:
        """Return what gives `[N, B, T]`, the batches of the dispatch from a step on."""
        size = self.config.train.batch_size
        own = own_rows(self.mesh, size)

        def make(step: int) -> dict[str, jax.Array]:
            parts = [self.rows(step + i, own) for i in range(self.steps_from(step))]
            batch = {name: np.stack([p[name] for p in parts]) for name in parts[0]}
            return place(self.mesh, batch, own, size, axis=1)

        return make

    def evaluate(self) -> loop.EvaluateFn:
        """Return the evaluation during training."""
        cfg = self.config.eval
        loss = HeldOutLoss(
            self.policy,
            self.source,
            self.mesh,
            size=cfg.size,
            batch_size=cfg.batch_size,
            seq_len=self.config.sft.seq_len,
            chunk=self.config.sft.chunk,
        )

        greedy = None
        if cfg.greedy:
            sampler = Sampler(self.policy, self.source.tokenizer, self.mesh)
            greedy = GreedyAccuracy(sampler, self.source, cfg)

        def measure(state: TrainState) -> dict[str, float]:
            weights = full_weights(eval_params(state))
            return loss(weights) | (greedy(weights) if greedy else {})

        return measure


def build(config: SftRunConfig) -> SftRun:
    """Build the parts of a run; nothing is compiled.

    Args:
      config: fully resolved.

    Raises:
      UserError: the config cannot run, or its data do not fit its model.
    """
    validate(config)
    source = make_text(config)
    policy = token_policy(config.model)
    updater = Updater(policy, config.optim, config.train, config.lora)
    rows = PackedRows(
        source,
        seq_len=config.sft.seq_len,
        batch_size=config.train.batch_size,
        pack=config.sft.pack,
        seed=config.seed,
    )
    step = SftStep(policy, config.sft, updater, config.train.grad_accum)
    mesh = policy_mesh(config)
    return SftRun(config, source, policy, updater, mesh, step, rows)


def train(
    config: SftRunConfig,
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
    config = resolve_config(config, run_dir, init_from)
    validate(config)
    ignore = not_identity(config)
    config, start = begin(config, run_dir, identity_ignore=ignore, dry_run=dry_run)
    run = build(config)
    if dry_run:
        return _describe(run)
    try:
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
    finally:
        run.source.close()
    return summary(run_dir, result, resumed_from)


def _describe(run: SftRun) -> dict[str, Any]:
    config = run.config
    params = run.abstract_state().params
    shapes = params[trained_part(params)]
    shape = [config.train.batch_size, config.sft.seq_len]
    return {
        "config": to_dict(config),
        "params": count_params(shapes),
        "batch": {name: shape for name in ("ids", "targets", "loss_mask")},
        "data": run.source.describe() | run.rows.describe(),
    }


RECIPE = Recipe(
    config=SftRunConfig,
    validate=validate,
    run_id=run_id,
    resolve=resolve_config,
    train=train,
    open=open_run,
    build=build,
)
