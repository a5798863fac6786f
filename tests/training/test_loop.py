# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import json
import math
import os
import signal
import threading
import time

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax import processes
from lrm_jax.training import loop
from lrm_jax.training.checkpoint import CheckpointConfig, Checkpointer
from lrm_jax.training.run_folder import open_run
from lrm_jax.training.state import make_state
from lrm_jax.training.watch import Notice
from lrm_jax.types import UserError

NEVER = CheckpointConfig(every_steps=0, every_s=0)


def toy_step(state, batch):
    """Adds the batch to a sum; the loss is the step's number."""
    total = state.params["total"] + batch
    metrics = {
        "loss/total": (jnp.asarray(state.step, jnp.float32) * 2, jnp.asarray(2.0)),
        "accuracy/exact": (jnp.asarray(1.0), jnp.asarray(4.0)),
    }
    return state.replace(step=state.step + 1, params={"total": total}), metrics


def toy_state():
    return make_state({"total": jnp.zeros(3)}, {}, jax.random.key(0))


def records(path):
    lines = (path / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def go(path, *, cfg, step=toy_step, saves=NEVER, next_batch=None, **kwargs):
    """Run or resume a toy in `path`."""
    with open_run(path, {}) as folder:
        checkpointer = Checkpointer(folder.checkpoints, saves)
        state, extra = loop.restore_or_init(
            toy_state, toy_state(), folder=folder, checkpointer=checkpointer
        )
        return loop.run(
            step if hasattr(step, "lower") else jax.jit(step, donate_argnums=0),
            state,
            next_batch or (lambda step: np.full(3, step, np.float32)),
            cfg=cfg,
            folder=folder,
            checkpointer=checkpointer,
            resume=extra,
            progress=kwargs.pop("progress", "off"),
            **kwargs,
        )


def steps_saved(path):
    return [i.step for i in Checkpointer(path / "checkpoints").list_steps()]


def test_runs_logs_and_saves_at_the_end(tmp_path):
    result = go(tmp_path, cfg=loop.TrainConfig(total_steps=10, log_every=4))
    assert (result.reason, result.step, int(result.state.step)) == ("done", 10, 10)
    np.testing.assert_array_equal(result.state.params["total"], 45)
    logged = records(tmp_path)
    assert [r["step"] for r in logged] == [4, 8, 10]
    # Loss is the step's number from 0: means of 0..3, 4..7, 8..9.
    assert [r["loss/total"] for r in logged] == [1.5, 5.5, 8.5]
    assert logged[0]["accuracy/exact"] == 0.25 and logged[0]["time_s"] >= 0
    assert logged[1]["perf/steps_per_s"] > 0
    assert logged[1]["perf/items_per_s"] == 64 * logged[1]["perf/steps_per_s"]
    assert steps_saved(tmp_path) == [10]
    assert result.metrics["loss/total"] == 8.5 and result.recompiles == 0


def test_a_finished_run_is_left_as_it_is(tmp_path):
    cfg = loop.TrainConfig(total_steps=4, log_every=4)
    evaluate = lambda state: {"eval/exact_accuracy": 0.5}
    first = go(tmp_path, cfg=cfg, evaluate=evaluate)
    before = (tmp_path / "metrics.jsonl").read_text()
    again = go(tmp_path, cfg=cfg, evaluate=lambda state: pytest.fail("evaluated"))
    assert (again.reason, again.step) == ("done", 4)
    assert again.metrics == first.metrics and again.best == first.best
    assert (tmp_path / "metrics.jsonl").read_text() == before


@chex.assert_max_traces(n=1)
def traced_once(state, batch):
    return toy_step(state, batch)


def test_the_step_is_traced_once_whatever_happens(tmp_path):
    chex.clear_trace_counter()
    result = go(
        tmp_path,
        cfg=loop.TrainConfig(total_steps=12, log_every=3),
        step=traced_once,
        saves=CheckpointConfig(every_steps=2, every_s=0),
        evaluate=lambda state: {"eval/exact_accuracy": float(state.step)},
        eval_every_steps=3,
    )
    assert result.recompiles == 0


def test_a_second_compilation_is_noticed(tmp_path, capsys):
    step = jax.jit(lambda s, b: toy_step(s, jnp.sum(b)), donate_argnums=0)
    result = go(
        tmp_path,
        cfg=loop.TrainConfig(total_steps=4),
        step=step,
        next_batch=lambda step: np.ones(3 + (step == 2), np.float32),
        progress="plain",
    )
    assert result.recompiles == 1
    assert "compiled again at step 2" in capsys.readouterr().err


def test_metrics_are_read_one_dispatch_late(tmp_path, monkeypatch):
    events = []
    to_host = loop.metrics_lib.to_host

    def noted(metrics):
        values = to_host(metrics)
        events.append(("read", values["loss/total"][0] / 2))
        return values

    monkeypatch.setattr(loop.metrics_lib, "to_host", noted)

    def next_batch(step):
        events.append(("batch", step))
        return np.zeros(3, np.float32)

    go(tmp_path, cfg=loop.TrainConfig(total_steps=4), next_batch=next_batch)
    # The batch of step n + 1 is made, then step n - 1 is read: n runs meanwhile.
    assert events == [
        ("batch", 0),
        ("batch", 1),
        *[("batch", 2), ("read", 0), ("batch", 3), ("read", 1)],
        *[("read", 2), ("read", 3)],
    ]


def test_several_steps_a_dispatch(tmp_path):
    def several(state, batches):
        state, metrics = jax.lax.scan(toy_step, state, batches)
        return state, jax.tree.map(lambda x: jnp.sum(x, 0), metrics)

    result = go(
        tmp_path,
        cfg=loop.TrainConfig(total_steps=12, steps_per_dispatch=3, log_every=4),
        step=several,
        saves=CheckpointConfig(every_steps=5, every_s=0, keep=9),
        next_batch=lambda step: (
            np.ones((3, 3), np.float32) * (step + np.arange(3))[:, None]
        ),
    )
    np.testing.assert_array_equal(result.state.params["total"], 66)
    assert [r["step"] for r in records(tmp_path)] == [6, 9, 12]  # passed 4, 8, 12
    assert steps_saved(tmp_path) == [6, 12]  # passed 5 and 10, the end


def test_the_last_dispatch_may_be_shorter(tmp_path):
    @jax.jit
    def several(state, batches):
        state, metrics = jax.lax.scan(toy_step, state, batches)
        return state, jax.tree.map(lambda x: jnp.sum(x, 0), metrics)

    def next_batch(step):
        count = min(8, 20 - step)
        return np.ones((count, 3), np.float32) * (step + np.arange(count))[:, None]

    result = go(
        tmp_path,
        cfg=loop.TrainConfig(total_steps=20, steps_per_dispatch=8, log_every=14),
        step=several,
        next_batch=next_batch,
    )
    np.testing.assert_array_equal(result.state.params["total"], 190)
    assert result.step == 20 and result.recompiles == 0
    assert [r["step"] for r in records(tmp_path)] == [16, 20]  # passed 14; the end


def test_the_best_evaluation_is_saved_and_kept(tmp_path):
    scores = {2: 0.1, 4: 0.8, 6: 0.3, 8: 0.8, 10: 0.2, 12: 0.0}
    result = go(
        tmp_path,
        cfg=loop.TrainConfig(total_steps=12),
        saves=CheckpointConfig(every_steps=0, every_s=0, keep=1),
        evaluate=lambda state: {"eval/exact_accuracy": scores[int(state.step)]},
        eval_every_steps=2,
    )
    assert result.best == {"step": 4, "value": 0.8}
    infos = Checkpointer(tmp_path / "checkpoints").list_steps()
    assert [(i.step, i.metric, i.best) for i in infos] == [
        (4, 0.8, True),
        (12, 0.0, False),
    ]


def test_saves_by_the_clock(tmp_path):
    go(
        tmp_path,
        cfg=loop.TrainConfig(total_steps=3),
        saves=CheckpointConfig(every_steps=0, every_s=1e-6, keep=9),
    )
    assert steps_saved(tmp_path) == [1, 2, 3]


@pytest.mark.parametrize("saves", [NEVER, CheckpointConfig(every_steps=1, every_s=0)])
def test_stops_on_mastery_at_a_step_that_saving_does_not_move(tmp_path, saves):
    def learns(state, batch):
        state, metrics = toy_step(state, batch)
        right = (state.step > 4).astype(jnp.float32)
        return state, {**metrics, "accuracy/exact": (right, jnp.asarray(1.0))}

    result = go(
        tmp_path,
        cfg=loop.TrainConfig(
            total_steps=99,
            log_every=2,
            stop_at_accuracy=0.9,
            stop_evaluations=2,
            stop_metric="accuracy/exact",
        ),
        step=learns,
        saves=saves,
    )
    # Records at 6 and 8 hold it; 8 is read when 9 is under way.
    assert (result.reason, result.step) == ("mastered", 9)
    assert steps_saved(tmp_path)[-1] == 9


def test_stops_on_mastery_of_evaluations_and_stays_stopped(tmp_path):
    cfg = loop.TrainConfig(total_steps=50, stop_at_accuracy=0.9, stop_evaluations=3)
    scores = [0.95, 0.95, 0.1, 0.95, 0.95, 0.99]
    evaluate = lambda state: {"eval/exact_accuracy": scores[int(state.step) // 5 - 1]}
    result = go(tmp_path, cfg=cfg, evaluate=evaluate, eval_every_steps=5)
    assert (result.reason, result.step) == ("mastered", 30)
    again = go(tmp_path, cfg=cfg, evaluate=evaluate, eval_every_steps=5)
    assert (again.reason, again.step) == ("mastered", 30)


def test_time_is_counted_over_restarts(tmp_path):
    batch = lambda step: time.sleep(0.02) or np.zeros(3, np.float32)
    cfg = loop.TrainConfig(total_steps=10_000, max_time_s=0.3)
    result = go(tmp_path, cfg=cfg, next_batch=batch)
    assert result.reason == "time" and 0 < result.step < 10_000
    assert steps_saved(tmp_path)[-1] == result.step
    again = go(tmp_path, cfg=cfg, next_batch=batch)
    assert (again.reason, again.step) == ("time", result.step)
    assert again.time_s >= cfg.max_time_s


def breaks_at(broken, what):
    def step(state, batch):
        after, metrics = toy_step(state, batch)
        bad = jnp.where(state.step == broken, what, 0.0)
        if math.isnan(what):
            total, weight = metrics["loss/total"]
            return after, {**metrics, "loss/total": (total + bad, weight)}
        return after.replace(params={"total": after.params["total"] + bad}), metrics

    return step


def test_nan_loss_stops_and_is_never_saved(tmp_path):
    result = go(
        tmp_path,
        cfg=loop.TrainConfig(total_steps=20),
        step=breaks_at(7, math.nan),
        saves=CheckpointConfig(every_steps=4, every_s=0, keep=9),
    )
    assert result.reason == "nan" and steps_saved(tmp_path) == [4]
    assert "loss/total is nan at step 8" in result.message
    assert "checkpoint 4" in result.message and "\n" not in result.message


def test_infinite_parameters_are_never_saved(tmp_path):
    # The loss of step 8 is sound, the parameters after it are not.
    result = go(
        tmp_path,
        cfg=loop.TrainConfig(total_steps=20),
        step=breaks_at(7, math.inf),
        saves=CheckpointConfig(every_steps=4, every_s=0, keep=9),
    )
    assert result.reason == "nan" and steps_saved(tmp_path) == [4]
    assert "infinite at step 8" in result.message


@pytest.mark.parametrize(
    ("number", "reason"),
    [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")],
)
def test_a_signal_saves_and_the_run_goes_on_bit_equal(tmp_path, number, reason):
    def next_batch(step):
        if step == 5:
            os.kill(os.getpid(), number)
        return np.full(3, step / 3, np.float32)

    cfg = loop.TrainConfig(total_steps=12, log_every=4)
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    result = go(tmp_path / "a", cfg=cfg, next_batch=next_batch)
    assert result.reason == reason and 0 < result.step < 12
    assert f"--run-dir {tmp_path / 'a'}" in result.message
    assert steps_saved(tmp_path / "a") == [result.step]
    now = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    assert now == handlers
    plain = lambda step: np.full(3, step / 3, np.float32)
    resumed = go(tmp_path / "a", cfg=cfg, next_batch=plain)
    whole = go(tmp_path / "b", cfg=cfg, next_batch=plain)
    assert resumed.reason == "done"
    chex.assert_trees_all_equal(resumed.state.params, whole.state.params)
    same = lambda r: {
        k: v for k, v in r.items() if k != "time_s" and not k.startswith("perf/")
    }
    assert [*map(same, records(tmp_path / "a"))] == [
        *map(same, records(tmp_path / "b"))
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("at", [5, 6, 7])
def test_an_evaluation_is_not_lost_to_a_signal(tmp_path, number, at):
    """Steps 5 to 7: before, at and behind the one at which it is due."""

    def next_batch(step):
        if step == at:
            os.kill(os.getpid(), number)
        return np.ones(3, np.float32)

    how = {
        "cfg": loop.TrainConfig(total_steps=12, log_every=4),
        "saves": CheckpointConfig(every_steps=0, every_s=0, keep=9),
        "evaluate": lambda state: {"eval/exact_accuracy": -float(state.step)},
        "eval_every_steps": 3,
    }
    stopped = go(tmp_path / "a", next_batch=next_batch, **how)
    assert stopped.step == at
    plain = lambda step: np.ones(3, np.float32)
    resumed = go(tmp_path / "a", next_batch=plain, **how)
    whole = go(tmp_path / "b", next_batch=plain, **how)
    assert resumed.best == whole.best == {"step": 3, "value": -3.0}
    evaluated = lambda path: [
        (r["step"], r["eval/exact_accuracy"])
        for r in records(path)
        if "eval/exact_accuracy" in r
    ]
    wanted = [(3, -3.0), (6, -6.0), (9, -9.0), (12, -12.0)]
    assert evaluated(tmp_path / "a") == evaluated(tmp_path / "b") == wanted


def test_a_second_interrupt_stops_at_once(tmp_path):
    def next_batch(step):
        if step == 2:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        return np.zeros(3, np.float32)

    with pytest.raises(KeyboardInterrupt):
        go(tmp_path, cfg=loop.TrainConfig(total_steps=9), next_batch=next_batch)


def test_runs_outside_the_main_thread(tmp_path):
    results = []
    cfg = loop.TrainConfig(total_steps=2)
    worker = threading.Thread(target=lambda: results.append(go(tmp_path, cfg=cfg)))
    worker.start()
    worker.join()
    assert results[0].reason == "done"


def test_records_after_the_restored_step_are_cut(tmp_path):
    with open_run(tmp_path, {}) as folder:
        folder.log({"step": 3, "loss/total": 1.0})
    go(tmp_path, cfg=loop.TrainConfig(total_steps=2, log_every=1))
    assert [r["step"] for r in records(tmp_path)] == [1, 2]


def test_a_failed_save_ends_the_run_with_one_line(tmp_path):
    with open_run(tmp_path, {}) as folder:
        checkpointer = Checkpointer(
            folder.checkpoints, CheckpointConfig(every_steps=2, every_s=0)
        )

        def next_batch(step):
            if step == 3:
                checkpointer.wait()
                folder.checkpoints.rename(tmp_path / "moved")
                folder.checkpoints.write_text("in the way")
            return np.zeros(3, np.float32)

        with pytest.raises(UserError, match="checkpoint .* could not be written"):
            loop.run(
                jax.jit(toy_step),
                toy_state(),
                next_batch,
                cfg=loop.TrainConfig(total_steps=40),
                folder=folder,
                checkpointer=checkpointer,
                progress="off",
            )


def test_a_full_disk_costs_nothing_but_the_steps_since(tmp_path, small_disk):
    saves = CheckpointConfig(every_steps=2, every_s=0)

    def next_batch(step):
        if step == 7:
            sizes = os.statvfs(small_disk)
            free = sizes.f_bavail * sizes.f_frsize
            (small_disk / "filler").write_bytes(b"x" * (free - 20_000))
        return np.full(3, step / 3, np.float32)

    cfg = loop.TrainConfig(total_steps=12, log_every=4)
    with pytest.raises(UserError, match="No space left on device") as error:
        go(small_disk / "run", cfg=cfg, saves=saves, next_batch=next_batch)
    assert "\n" not in str(error.value)
    (small_disk / "filler").unlink()
    plain = lambda step: np.full(3, step / 3, np.float32)
    resumed = go(small_disk / "run", cfg=cfg, saves=saves, next_batch=plain)
    whole = go(tmp_path / "whole", cfg=cfg, saves=saves, next_batch=plain)
    assert resumed.reason == "done"
    chex.assert_trees_all_equal(resumed.state.params, whole.state.params)


def test_profile_is_written(tmp_path):
    go(tmp_path, cfg=loop.TrainConfig(total_steps=4), profile_steps=2)
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))


def test_only_the_first_process_profiles(tmp_path, monkeypatch):
    class Second:
        is_first = staticmethod(lambda: False)
        several = staticmethod(lambda: False)
        Ballot = processes.Ballot

    monkeypatch.setattr(loop, "processes", Second)
    go(tmp_path, cfg=loop.TrainConfig(total_steps=4), profile_steps=2)
    assert not (tmp_path / "profile").exists()


def test_an_unknown_style_of_progress_is_refused(tmp_path):
    with pytest.raises(UserError, match="^progress='none': accepted are auto, bar, pl"):
        go(tmp_path, cfg=loop.TrainConfig(total_steps=1), progress="none")


def test_bar_shows_on_standard_error(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    cfg = loop.TrainConfig(total_steps=4, log_every=2)
    go(tmp_path, cfg=cfg, progress="bar")
    out, err = capsys.readouterr()
    assert out == "" and "4/4" in err and "exact" in err and "done: 4 steps" in err


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"total_steps": -1}, "train.total_steps is -1"),
        ({"log_every": 0}, "train.log_every is 0"),
        ({"batch_size": 10, "grad_accum": 4}, "must divide train.batch_size, 10"),
        ({"stop_at_accuracy": 97}, "train.stop_at_accuracy is 97"),
        ({"ema_decay": 1.0}, "train.ema_decay is 1.0"),
    ],
)
def test_bad_config_is_refused_by_name(values, words):
    with pytest.raises(UserError, match=words):
        loop.TrainConfig(**values)


class TellsOfStepSix:
    """Says one thing, of the record of step 6."""

    def __init__(self):
        self.seen = []

    def see(self, record):
        self.seen.append(record["step"])
        return [Notice("six", "it is six")] if record["step"] == 6 else []


def test_a_watch_reads_the_log_and_is_heard_once_over_a_restart(tmp_path, capsys):
    cfg = loop.TrainConfig(total_steps=8, log_every=2)
    watch = TellsOfStepSix()
    go(tmp_path, cfg=cfg, watch=watch, progress="plain")
    assert watch.seen == [2, 4, 6, 8]
    said = [r for r in records(tmp_path) if "alarm" in r]
    assert [(r["step"], r["alarm"], r["message"]) for r in said] == [
        (6, "six", "it is six")
    ]
    assert capsys.readouterr().err.count("it is six") == 1
    longer = loop.TrainConfig(total_steps=10, log_every=2)
    again = TellsOfStepSix()
    go(tmp_path, cfg=longer, watch=again, progress="plain")
    assert again.seen == [2, 4, 6, 6, 8, 10]  # the notice is a record too
    assert capsys.readouterr().err.count("it is six") == 0
    assert sum("alarm" in r for r in records(tmp_path)) == 1


def test_a_step_that_refuses_leaves_the_state_saved(tmp_path):
    class Refusing:
        """Host code that fails before it donates anything."""

        lower = None  # `go` is not to compile it

        def __call__(self, state, batch):
            if int(state.step) == 3:
                raise UserError("reward function: no")
            return toy_step(state, batch)

    with pytest.raises(UserError, match="reward function"):
        go(tmp_path, cfg=loop.TrainConfig(total_steps=9), step=Refusing())
    assert steps_saved(tmp_path) == [3]
    result = go(tmp_path, cfg=loop.TrainConfig(total_steps=9))
    np.testing.assert_array_equal(result.state.params["total"], sum(range(9)))
