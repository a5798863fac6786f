# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Train a latent reasoner: HRM (arXiv 2506.21734), TRM (arXiv 2510.04871), kin."""

import dataclasses
from typing import Any

import jax
import numpy as np

from lrm_jax.config import to_dict
from lrm_jax.evaluation.harness import evaluate, proxy_indices
from lrm_jax.evaluation.judges import judges_for
from lrm_jax.models.latent import count_params, latent_core
from lrm_jax.recipes.driver import drive, summary
from lrm_jax.recipes.latent_build import LatentRun, build, eval_cap, split_lanes
from lrm_jax.recipes.origins import started_from
from lrm_jax.recipes.run_config import RunConfig, not_identity, validate
from lrm_jax.training import loop
from lrm_jax.training.loading import LoadedParams, load_params, parse_source
from lrm_jax.training.progress import Style, check_style
from lrm_jax.training.run_folder import check_run
from lrm_jax.training.state import TrainState
from lrm_jax.types import Params


def eval_params(state: Any) -> Params:
    """Return the parameters that are evaluated: averaged weights where there are."""
    if state.ema is None:
        return state.params
    return {**state.params, "weights": state.ema}


def train(
    config: RunConfig,
    run_dir: str,
    *,
    init_from: str | None = None,
    dry_run: bool = False,
    profile_steps: int | None = None,
    progress: Style = "auto",
    run: LatentRun | None = None,
) -> dict[str, Any]:
    """Train, or go on training, the run in `run_dir`.

    Args:
      config: fully resolved.
      run_dir: run folder; one that holds this run is resumed exactly.
      init_from: `RUN[@step]` whose parameters (averaged ones where there are) a
        fresh run starts from.
      dry_run: build everything, compile nothing, write nothing.
      profile_steps: profile so many steps after the first.
      progress: how progress is shown.
      run: the parts, where they are built already.

    Returns:
      {run_dir, step, metrics, resumed_from, reason, message, best, recompiles};
      for a dry run {config, params, batch, data}.

    Raises:
      UserError: the config, the data, the folder or the source cannot be used.
    """
    check_style(progress)
    if run is None:
        validate(config)
    config, loaded = _with_source(config, run_dir, init_from)
    # Data may take minutes to make: whatever refuses the folder comes before.
    if not dry_run:
        ignore = not_identity(config)
        check_run(run_dir, to_dict(config), identity_ignore=ignore)
    if run is None:
        run = build(config)
    if dry_run:
        return _describe(config, run)
    start = None if loaded is None else _start(loaded)
    result, resumed_from = drive(
        config,
        run,
        run_dir,
        start=start,
        evaluate=make_evaluate(run),
        identity_ignore=not_identity(config),
        progress=progress,
        profile_steps=profile_steps or 0,
    )
    if result.reason in ("done", "mastered", "time"):
        _evaluate_all(config, run, run_dir, result)
    return summary(run_dir, result, resumed_from)


def _with_source(
    config: RunConfig, run_dir: str, init_from: str | None
) -> tuple[RunConfig, LoadedParams | None]:
    """Return the config that names its source by hash, and what was read of it.

    Nothing is read where the run has begun already.
    """
    init_from = init_from or config.init_from or None
    if init_from is None:
        return config, None
    loaded = None
    known = started_from(run_dir, init_from)
    if known is None:
        loaded = _load_source(config, init_from)
        known = loaded.source_hash
    named = dataclasses.replace(config, init_from=init_from, init_from_sha256=known)
    return named, loaded


def _evaluate_all(
    config: RunConfig, run: LatentRun, run_dir: str, result: loop.LoopResult
) -> None:
    """Evaluate a finished run on its whole test set."""
    from lrm_jax.recipes.run import Run

    Run(
        config,
        eval_params(result.state),
        run_dir=str(run_dir),
        step=result.step,
        source=run.source,
        reasoner=run.reasoner,
        mesh=run.mesh,
    ).evaluate()


def make_evaluate(run: LatentRun) -> loop.EvaluateFn:
    """Return the evaluation during training: a fixed random subset, at full depth."""
    cfg = run.config.eval
    test = run.source.test_set()
    rows = proxy_indices(len(test["inputs"]), cfg.proxy_size, cfg.proxy_seed)
    proxy = {name: np.asarray(x)[rows] for name, x in test.items()}
    judge, extra = judges_for(run.source.view, run.source.judges)
    cap = eval_cap(run.config)

    def measure(state: TrainState) -> dict[str, float]:
        found = evaluate(
            run.reasoner,
            eval_params(state),
            proxy,
            budgets=[str(cap), "-1"],
            cap=cap,
            batch_size=cfg.batch_size,
            judge=judge,
            extra_judges=extra,
            constrain=split_lanes,
        )
        full, halting = found.report["results"]
        named = {
            "eval/exact_accuracy": full["exact_accuracy"],
            "eval/token_accuracy": full["token_accuracy"],
            "eval/halting_exact_accuracy": halting["exact_accuracy"],
            "eval/mean_steps": halting["mean_steps"],
        }
        for name in extra:
            named[f"eval/{name}_accuracy"] = full[f"{name}_accuracy"]
        return {k: float("nan") if v is None else float(v) for k, v in named.items()}

    return measure


def _load_source(config: RunConfig, init_from: str) -> LoadedParams:
    folder, which = parse_source(init_from)
    core = latent_core(config.model)
    shapes = jax.eval_shape(core.init, jax.random.key(0))
    return load_params(folder, which, abstract=shapes)


def _start(loaded: LoadedParams) -> Params:
    if loaded.ema is None:
        return loaded.params
    return {**loaded.params, "weights": loaded.ema}


def _describe(config: RunConfig, run: LatentRun) -> dict[str, Any]:
    shapes = jax.eval_shape(run.core.init, jax.random.key(0))
    batch = {name: list(x.shape) for name, x in run.batch_shapes().items()}
    return {
        "config": to_dict(config),
        "params": count_params(shapes["weights"]),
        "batch": batch,
        "data": run.source.describe(),
    }
