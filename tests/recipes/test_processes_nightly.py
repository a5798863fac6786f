# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""More processes, meshes and recipes than the default tests train; and how they end."""

import json
import os
import shutil
import signal
import time

import pytest

from lrm_jax.training.checkpoint import list_steps
from tests.recipes import process_runs as runs
from tests.recipes.counted_data import FOLDER, noted
from tests.recipes.process_runs import assert_close, train_alone, values_of

pytestmark = pytest.mark.nightly

COUNTED = "data.kind=tests.recipes.counted_data:puzzles"
STEPS = "train.total_steps=5"
TASK = "task.name=tests.recipes.counted_data:"


def compare(folder, count, devices, *words, base=runs.TINY, alone=(), metric):
    """Train in `count` processes and in this one."""
    runs.run_all(folder / "many", count, devices, *words, base=base)
    train_alone(folder / "one", *words, *alone, base=base)
    assert_close(folder / "one", folder / "many", metric)


def rows_of(folder, process):
    return noted(folder, "rows", process)[:5]


def test_four_processes_make_a_fourth_each(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER, str(tmp_path))
    compare(tmp_path, 4, 2, STEPS, COUNTED, metric="loss/total")
    for process in range(1, 4):  # process 0 counts the run of one, too
        lanes = list(range(4 * process, 4 * process + 4))
        assert rows_of(tmp_path, process) == [[step, lanes] for step in range(5)]


def test_processes_that_share_a_data_shard_make_the_same_rows(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER, str(tmp_path))
    words = (STEPS, COUNTED, "model.n_heads=8", "mesh.data=1", "mesh.model=8")
    compare(tmp_path, 2, 4, *words, metric="loss/total")
    for process in (0, 1):
        assert rows_of(tmp_path, process) == [[s, list(range(16))] for s in range(5)]


def test_resident_data_by_two_processes(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER, str(tmp_path))
    words = (STEPS, COUNTED, "data.resident=true", "train.steps_per_dispatch=2")
    compare(tmp_path, 2, 4, *words, metric="loss/total")
    assert rows_of(tmp_path, 0) == rows_of(tmp_path, 1) == []


FINE_TUNING = {
    "packed": (f"{TASK}forty", "mesh.fsdp=2"),
    "adapters": (
        "lora=LoraConfig",
        "lora.rank=2",
        "train.ema_decay=0.9",
        "train.grad_accum=2",
    ),
}


@pytest.mark.parametrize("words", FINE_TUNING.values(), ids=FINE_TUNING)
def test_fine_tuning(tmp_path, monkeypatch, words):
    monkeypatch.setenv(FOLDER, str(tmp_path))
    rest = "mesh.data=2" if "mesh.fsdp=2" in words else "mesh.data=4"
    options = {"base": runs.SFT, "alone": (rest,), "metric": "loss/lm"}
    compare(tmp_path, 2, 2, STEPS, *words, **options)


def test_two_processes_start_from_another_run(tmp_path):
    train_alone(tmp_path / "source", STEPS, base=runs.SFT)
    source = f"init_from={tmp_path / 'source'}"
    options = {"base": runs.SFT, "alone": ("mesh.data=4",), "metric": "loss/lm"}
    compare(tmp_path, 2, 2, STEPS, source, **options)


def test_a_latent_run_of_two_processes_starts_from_another(tmp_path):
    train_alone(tmp_path / "source", STEPS)
    source = f"init_from={tmp_path / 'source'}"
    compare(tmp_path, 2, 4, STEPS, source, metric="loss/total")


REINFORCEMENT = {
    "refill": (
        *("rl.group_filter.kind=refill", "rl.group_filter.max_rounds=3"),
        "grpo.eval_samples=4",
    ),
    "ahead": ("rl.rollout.max_staleness=1", "grpo.lanes=4"),
    "critic": (
        "model.value_head=true",
        "rl.advantage.kind=gae",
        "rl.minibatches=2",
        "rl.epochs=2",
        "train.total_steps=8",
    ),
    "fsdp": ("mesh.fsdp=2", "rl.kl.coef=0.1"),
}


@pytest.mark.parametrize("name", REINFORCEMENT)
def test_reinforcement(tmp_path, name):
    alone = ("mesh.data=2",) if name == "fsdp" else ("mesh.data=4",)
    options = {"base": runs.GRPO, "alone": alone, "metric": "reward/mean"}
    compare(tmp_path, 2, 2, *REINFORCEMENT[name], **options)
    assert max(values_of(tmp_path / "one", "optim/grad_norm")) > 0


def test_four_processes_share_the_rewards_of_two_prompts(tmp_path):
    words = ("rl.rollout.n_prompts=2", "rl.rollout.group_size=8")
    options = {"base": runs.GRPO, "alone": ("mesh.data=4",), "metric": "reward/mean"}
    compare(tmp_path, 4, 1, *words, **options)


def test_a_reward_that_fails_in_one_process_ends_both(tmp_path):
    words = (f"{TASK}failing",)
    children = runs.start(tmp_path / "run", 2, 2, *words, base=runs.GRPO)
    runs.wait(children, 120)
    assert [child.returncode for child in children] == [2, 2]
    said = "reward.user='mine:reward': it raised ValueError: no"
    assert runs.said_by(tmp_path / "run", 1).splitlines()[-1] == f"lrm: error: {said}"
    last = runs.said_by(tmp_path / "run", 0).splitlines()[-1]
    assert last == f"lrm: error: process 1: {said}"


def test_a_nan_ends_all_with_one_word(tmp_path):
    words = ("optim.lr=1e38", "train.total_steps=40")
    children = runs.start(tmp_path / "run", 2, 2, *words, base=runs.SFT)
    runs.wait(children, 120)
    assert [child.returncode for child in children] == [1, 1]
    last = runs.said_by(tmp_path / "run", 1).splitlines()[-1]
    assert last.startswith("lrm: error: process 0: stopped:") and "nan" in last.lower()


REFUSED = {
    "train.batch_size=12": "train.batch_size=12: must divide over 8",
    "mesh.data=2": "uses 2 of 8 devices; with several processes it must use all of "
    "them: the nearest is data=8 x fsdp=1 x model=1",
    "mesh.data=3 mesh.fsdp=4": "needs 12 devices; there are 8: the nearest is",
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_no_run_can_have_is_one_line(tmp_path, words):
    children = runs.start(tmp_path / "run", 2, 4, *words.split())
    runs.wait(children, 120)
    assert [child.returncode for child in children] == [2, 2]
    for rank in (0, 1):
        said = runs.said_by(tmp_path / "run", rank).splitlines()
        (line,) = (x for x in said if x.startswith("lrm: error"))
        assert REFUSED[words] in line


def test_processes_with_different_files_are_refused(tmp_path):
    port, children = runs.free_port(), []
    for rank in (0, 1):
        path = tmp_path / f"{rank}.jsonl"
        rows = [{"prompt": f"{i}+{rank}=", "answer": str(i)} for i in range(30)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        words = ("task=none", "tokenizer.kind=bytes", "model.vocab_size=0")
        words += (f"data.path={path}",)
        args = (tmp_path / "run", 2, 2, rank, port, *words)
        children.append(runs.start_one(*args, base=runs.SFT))
    runs.wait(children, 120)
    assert [child.returncode for child in children] == [2, 2]
    for rank in (0, 1):
        said = runs.said_by(tmp_path / "run", rank)
        assert "process 1 has other training data than process 0" in said
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_worker_killed_while_saving_ends_the_other(tmp_path):
    run_dir = tmp_path / "run"
    words = ("train.total_steps=4000", "checkpoint.every_steps=1", "checkpoint.keep=3")
    children = runs.start(run_dir, 2, 2, *words, base=runs.SFT)
    runs.wait_for_records(run_dir, 2, children[0])
    worker = runs.training_process(children[1])
    seen = set(os.listdir(run_dir / "checkpoints"))
    end = time.monotonic() + 60
    while time.monotonic() < end:  # a folder that was not there: a save begins
        now = set(os.listdir(run_dir / "checkpoints")) - seen
        if any(
            not (run_dir / "checkpoints" / n / "manifest.json").exists() for n in now
        ):
            break
    began = time.monotonic()
    os.kill(worker, signal.SIGKILL)
    runs.wait(children, 120)
    assert time.monotonic() - began < 60
    assert [child.returncode for child in children] == [137, 137]
    assert "process 1: was ended by SIGKILL" in runs.said_by(run_dir, 0)
    whole = max(
        info.step for info in list_steps(run_dir / "checkpoints") if info.complete
    )
    shutil.rmtree(run_dir / "errors")
    done = runs.run_all(run_dir, 2, 2, f"train.total_steps={whole + 2}", base=runs.SFT)
    assert f'"resumed_from": {whole}' in done[0]
