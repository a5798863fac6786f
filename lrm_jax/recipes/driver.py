# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""From the parts of a run and a folder to a finished run, whatever the recipe."""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from jax.sharding import Mesh

from lrm_jax import processes, sharding
from lrm_jax.config import to_dict
from lrm_jax.recipes.origins import refuse_other_data, refuse_unequal_data
from lrm_jax.training import loop
from lrm_jax.training.checkpoint import Checkpointer
from lrm_jax.training.progress import Style
from lrm_jax.training.run_folder import open_run
from lrm_jax.training.state import TrainState
from lrm_jax.training.watch import Watch
from lrm_jax.types import Params


class Trainable(Protocol):
    """The parts of a run that can be trained."""

    @property
    def mesh(self) -> Mesh:
        """Where everything lives."""
        ...

    def fingerprint(self) -> str:
        """Return a hash of what is trained on."""
        ...

    def abstract_state(self) -> Any:
        """Return shapes, dtypes and shardings of the training state."""
        ...

    def init_state(self, params: Params | None = None) -> TrainState:
        """Return a fresh state on the mesh, from `params` where given."""
        ...

    def dispatch(self) -> loop.StepFn:
        """Return the jitted function of one dispatch; it donates the state."""
        ...

    def batches(self) -> Callable[[int], Any]:
        """Return what gives the batch of the dispatch that begins at a step."""
        ...


def drive(
    config: Any,
    run: Trainable,
    run_dir: str,
    *,
    start: Params | None,
    evaluate: loop.EvaluateFn | None,
    identity_ignore: Iterable[str],
    progress: Style = "auto",
    profile_steps: int = 0,
    watch: Watch | None = None,
) -> tuple[loop.LoopResult, int | None]:
    """Train, or go on training, in a folder.

    Args:
      config: of the run, fully resolved.
      run: its parts.
      run_dir: run folder.
      start: parameters that a fresh run starts from; None for its own.
      evaluate: metrics of a state.
      identity_ignore: keys in which a resumed run may differ from its folder.
      progress: how progress is shown.
      profile_steps: profile so many steps after the first.
      watch: reads the log while it grows.

    Returns:
      How it ended, and the step it was resumed from (None for a fresh run).
    """
    fingerprint = run.fingerprint()
    # Here all processes meet: what was asked of the folder before (a source, an
    # earlier start) is asked by all when the first one begins to write there.
    refuse_unequal_data(config.data.path, processes.of_all(fingerprint))
    refuse_other_data(config.data.path, run_dir, fingerprint)
    data = {"step_is_cursor": True, "seed": config.seed, "sha256": fingerprint}
    with (
        sharding.use_mesh(run.mesh),
        open_run(run_dir, to_dict(config), identity_ignore=identity_ignore) as folder,
    ):
        checkpointer = Checkpointer(folder.checkpoints, config.checkpoint, owner=folder)
        state, resume = loop.restore_or_init(
            lambda: run.init_state(start),
            run.abstract_state(),
            folder=folder,
            checkpointer=checkpointer,
        )
        first = int(state.step)
        result = loop.run(
            run.dispatch(),
            state,
            run.batches(),
            cfg=config.train,
            folder=folder,
            checkpointer=checkpointer,
            evaluate=evaluate,
            eval_every_steps=config.eval.every_steps,
            resume=resume,
            extra={"data": data},
            progress=progress,
            profile_steps=profile_steps,
            watch=watch,
        )
    return result, first if resume else None


def summary(
    run_dir: str, result: loop.LoopResult, resumed_from: int | None
) -> dict[str, Any]:
    """Return what `train` of every recipe returns, as JSON values."""
    return {
        "run_dir": str(run_dir),
        "step": result.step,
        "metrics": result.metrics,
        "resumed_from": resumed_from,
        "reason": result.reason,
        "message": result.message,
        "best": result.best,
        "recompiles": result.recompiles,
        "time_s": result.time_s,
    }
