# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The training loop: dispatch, read one step late, log, evaluate, save, stop.

The step is jitted and donated by the recipe; nothing here touches the device
between two dispatches. What happens at a step depends on the step's number
only, so a run that was stopped and one that was not end with the same bits.
"""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from lrm_jax import processes
from lrm_jax.training import metrics as metrics_lib
from lrm_jax.training.checkpoint import Checkpointer
from lrm_jax.training.clocks import Profile, Rate
from lrm_jax.training.compiles import watched
from lrm_jax.training.ending import LoopResult, Stop, explain
from lrm_jax.training.interrupts import StopRequests, stop_requests
from lrm_jax.training.mastery import Mastery
from lrm_jax.training.progress import Style, make_progress
from lrm_jax.training.run_folder import RunFolder
from lrm_jax.training.stall import StallWatch
from lrm_jax.training.state import TrainState
from lrm_jax.training.train_config import TrainConfig
from lrm_jax.training.trees import all_finite
from lrm_jax.training.watch import Watch
from lrm_jax.types import UserError

StepFn = Callable[[TrainState, Any], tuple[TrainState, metrics_lib.StepMetrics]]
EvaluateFn = Callable[[TrainState], Mapping[str, float]]


def restore_or_init(
    init: Callable[[], TrainState],
    abstract_state: Any,
    *,
    folder: RunFolder,
    checkpointer: Checkpointer,
) -> tuple[TrainState, dict[str, Any]]:
    """Return the newest whole checkpoint's state and extra, or a fresh state.

    `metrics.jsonl` is cut back to the step that the state has.
    """
    try:
        state, extra, step = checkpointer.restore(abstract_state)
    except FileNotFoundError:
        state, extra, step = init(), {}, 0
    folder.rewind(step)
    return state, extra


def run(
    step_fn: StepFn,
    state: TrainState,
    next_batch: Callable[[int], Any],
    *,
    cfg: TrainConfig,
    folder: RunFolder,
    checkpointer: Checkpointer,
    evaluate: EvaluateFn | None = None,
    eval_every_steps: int = 0,
    resume: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
    progress: Style = "auto",
    profile_steps: int = 0,
    watch: Watch | None = None,
) -> LoopResult:
    """Train until done, mastered, out of time, stopped or broken.

    Args:
      step_fn: jitted, or host code around jitted parts; takes `steps_per_dispatch`
        steps (the last dispatch: what is left of the total); metrics are summed over
        them. May donate the state; a `UserError` before that has the state saved.
      state: to begin with, fresh or restored.
      next_batch: batch for the dispatch that begins at a step; a function of the
        step alone. Called while the device works.
      cfg: length, logging, stopping.
      folder: open run folder.
      checkpointer: of that folder.
      evaluate: metrics of a state, `eval/...`; must not donate it.
      eval_every_steps: steps between evaluations; 0 = only at the end.
      resume: `extra` as restored with the state.
      extra: JSON values to keep in every checkpoint.
      progress: bar, plain lines, nothing, or by the terminal.
      profile_steps: profile so many steps after the first into `profile/`.
      watch: reads the log while it grows; what it says goes to progress and log.
    """
    loop = _Loop(
        cfg=cfg,
        folder=folder,
        checkpointer=checkpointer,
        evaluate=evaluate,
        eval_every_steps=eval_every_steps,
        resume=dict(resume or {}),
        extra=dict(extra or {}),
        progress=progress,
        step=int(state.step),
        watch=watch,
    )
    with stop_requests() as requests, loop.stall:
        try:
            return loop.run(step_fn, state, next_batch, requests, profile_steps)
        finally:
            loop.close()


class _Loop:
    """One call of `run`: counters, clocks and what is due when."""

    def __init__(
        self,
        *,
        cfg: TrainConfig,
        folder: RunFolder,
        checkpointer: Checkpointer,
        evaluate: EvaluateFn | None,
        eval_every_steps: int,
        resume: dict[str, Any],
        extra: dict[str, Any],
        progress: Style,
        step: int,
        watch: Watch | None,
    ) -> None:
        self.cfg = cfg
        self.folder = folder
        self.checkpointer = checkpointer
        self.evaluate = evaluate
        self.eval_every_steps = eval_every_steps
        self.extra = extra
        self.step = self.first = step
        self.window = metrics_lib.Window(resume.get("window"))
        self.best: dict[str, Any] | None = resume.get("best")
        self.mastery = Mastery(cfg, resume)
        self.last: dict[str, Any] = dict(resume.get("last", {}))
        self.evaluated_step = resume.get("evaluated_step")
        self.saved_step = step if resume else -1
        self.started = time.monotonic() - float(resume.get("time_s", 0.0))
        self.saved_time = time.monotonic()
        self.rate = Rate()
        self.pending: tuple[int, metrics_lib.StepMetrics] | None = None
        self.recompiles = 0
        self.stall = StallWatch(folder.path.name)
        self.ballot = processes.Ballot()
        self.save_is_due = False
        if not processes.is_first():
            progress, watch = "off", None
        self.progress = make_progress(
            progress, name=folder.path.name, start=step, total=cfg.total_steps
        )
        self.watch = watch
        if watch is not None:  # what it says of old records was said then
            for record in folder.records():
                watch.see(record)

    def run(
        self,
        step_fn: StepFn,
        state: TrainState,
        next_batch: Callable[[int], Any],
        requests: StopRequests,
        profile_steps: int,
    ) -> LoopResult:
        """Dispatch steps until something ends the run."""
        call = watched(step_fn)
        first, total, k = self.first, self.cfg.total_steps, self.cfg.steps_per_dispatch
        if not processes.is_first():
            profile_steps = 0
        profile = Profile(self.folder.path / "profile", first + k, profile_steps)
        try:
            batch = None
            if self.step < total:
                self.stop_if_asked(requests)
                batch = next_batch(self.step)
            while self.step < total:
                profile.before(self.step)
                try:
                    (state, metrics), compiled = call(state, batch)
                except UserError:
                    self.keep(state)
                    raise
                short = total - self.step < k  # the last one, a program of its own
                if compiled and self.step > first and not short:
                    self.note_recompile()
                self.step = min(self.step + k, total)
                metrics_lib.start_copy(metrics)
                batch = next_batch(self.step) if self.step < total else None
                self.read_pending()
                self.pending = (self.step, metrics)
                profile.after(self.step, metrics)
                self.checkpointer.check()
                if self.step < total:  # The last step is `finish`'s to save.
                    self.stop_if_asked(requests)
                    self.evaluate_and_save_if_due(state)
                    self.stop_if_mastered()
            raise Stop("done", f"done: {total} steps")
        except Stop as stop:
            return self.finish(state, stop)

    def stop_if_asked(self, requests: StopRequests) -> None:
        """Stop on a signal, on mastery or when time is up; note if a save is."""
        asked = requests.poll()
        if asked:
            raise Stop(asked, asked)
        self.stop_if_mastered()
        elapsed = time.monotonic() - self.saved_time
        time_up = 0 < self.cfg.max_time_s <= self.time_s()
        save = 0 < self.checkpointer.cfg.every_s <= elapsed
        word = self.ballot.hear(time_up + 2 * save)
        self.save_is_due = word >= 2
        if word % 2:
            raise Stop("time", f"time is up ({self.cfg.max_time_s:g} s)")

    def stop_if_mastered(self) -> None:
        """Stop once the goal was held."""
        if self.mastery.reached(self.step):
            metric, goal = self.cfg.stop_metric, self.cfg.stop_at_accuracy
            raise Stop("mastered", f"mastered: {metric} held {goal:g}")

    def read_pending(self) -> None:
        """Read the metrics of the dispatch before; log if a record is due."""
        if self.pending is None:
            return
        (step, on_device), self.pending = self.pending, None
        values = metrics_lib.to_host(on_device)
        bad = metrics_lib.bad_loss(values)
        if bad:
            raise Stop("nan", f"{bad} is {values[bad][0]} at step {step}")
        self.window.add(values)
        self.stall.heard(step)
        self.rate.count(step)
        self.progress.advance(step)
        if self.due(self.cfg.log_every, step):
            self.record_window(step)

    def due(self, every: int, step: int) -> bool:
        """Whether the dispatch that ended at `step` passed a multiple of `every`."""
        k = self.cfg.steps_per_dispatch
        before = step - ((step - self.first) % k or k)
        return every > 0 and step // every > before // every

    def record_window(self, step: int) -> None:
        """Write what was added up since the last record."""
        means = self.window.means()
        if means:
            rate = self.rate.take(step)
            items = rate and rate * self.cfg.batch_size
            perf = {"perf/steps_per_s": rate, "perf/items_per_s": items}
            self.record(step, {**means, **perf})
            self.window.clear()

    def record(self, step: int, values: Mapping[str, Any]) -> None:
        """Write a record, show it, and see whether the task is mastered."""
        values = {k: metrics_lib.finite_or_none(v) for k, v in values.items()}
        record = {"step": step, "time_s": round(self.time_s(), 3), **values}
        self.folder.log(record)
        self.last.update(values)
        self.progress.show(step, values)
        self.mastery.measured(step, values, late=step != self.evaluated_step)
        for notice in self.watch.see(record) if self.watch is not None else ():
            said = {"alarm": notice.name, "message": notice.text}
            self.folder.log({"step": step, "time_s": record["time_s"], **said})
            self.progress.say(f"step {step}: {notice.text}")

    def evaluate_and_save_if_due(self, state: TrainState) -> None:
        """Evaluate and save, after the metrics up to here are known to be sound."""
        evaluate = self.due(self.eval_every_steps, self.step)
        cfg = self.checkpointer.cfg
        save = self.due(cfg.every_steps, self.step) or self.save_is_due
        if not (save or (evaluate and self.evaluate)):
            return
        self.read_pending()
        with self.rate.paused():
            improved = evaluate and self.evaluate_now(state)
            if save or improved:
                self.save(state)

    def evaluate_now(self, state: TrainState) -> bool:
        """Evaluate; True where it is the best so far."""
        if self.evaluate is None:
            return False
        try:
            values = {k: float(v) for k, v in self.evaluate(state).items()}
        except UserError:
            self.keep(state)
            raise
        self.evaluated_step = self.step
        self.record(self.step, values)
        value = values.get(self.checkpointer.cfg.best_metric)
        if value is None or not math.isfinite(value):
            return False
        sign = 1 if self.checkpointer.cfg.best_mode == "max" else -1
        if self.best is not None and sign * value <= sign * self.best["value"]:
            return False
        self.best = {"step": self.step, "value": value}
        return True

    def keep(self, state: TrainState) -> None:
        """Save before an error ends the run: what was trained is not lost with it.

        Not with several processes: the others may know nothing of the error.
        """
        if processes.several():
            return
        self.read_pending()
        self.save(state)
        self.checkpointer.wait()

    def save(self, state: TrainState) -> None:
        """Start a checkpoint of a sound state."""
        if self.saved_step == self.step:
            return
        if not bool(all_finite((state.params, state.ema, state.opt_state))):
            message = f"parameters or optimizer are NaN or infinite at step {self.step}"
            raise Stop("nan", message)
        evaluated = self.evaluated_step == self.step
        metric = self.last.get(self.checkpointer.cfg.best_metric) if evaluated else None
        saved = {
            **self.extra,
            "time_s": self.time_s(),
            "window": self.window.to_json(),
            "best": self.best,
            "last": self.last,
            "evaluated_step": self.evaluated_step,
            **self.mastery.to_json(),
        }
        self.checkpointer.save(self.step, state, saved, metric=metric)
        self.saved_step, self.saved_time = self.step, time.monotonic()
        self.ballot.forget()

    def finish(self, state: TrainState, stop: Stop) -> LoopResult:
        """Read what is pending, evaluate, save, and say how it ended."""
        reason, message = stop.reason, str(stop)
        try:
            self.read_pending()
            if reason in ("done", "mastered", "time"):
                self.record_window(self.step)
                if self.evaluated_step != self.step:
                    self.evaluate_now(state)
            elif reason != "nan" and self.step > self.first:
                # Who goes on from here must find what was due here.
                if self.due(self.eval_every_steps, self.step):
                    self.evaluate_now(state)
            if reason != "nan":
                self.save(state)
        except Stop as broken:
            reason, message = broken.reason, str(broken)
        self.checkpointer.wait()
        where = self.folder.path
        message = explain(reason, message, self.step, where, self.checkpointer)
        self.progress.say(message)
        return LoopResult(
            state=state,
            step=self.step,
            reason=reason,
            message=message,
            metrics=self.last,
            best=self.best,
            recompiles=self.recompiles,
            time_s=self.time_s(),
        )

    def note_recompile(self) -> None:
        """Say once that the step is not as static as it should be."""
        self.recompiles += 1
        if self.recompiles == 1:
            self.progress.say(
                f"the step was compiled again at step {self.step}: shapes, types or"
                " placement of its arguments changed"
            )

    def time_s(self) -> float:
        """Training time in seconds, restarts included."""
        return time.monotonic() - self.started

    def close(self) -> None:
        """Give the terminal back."""
        self.progress.close()
