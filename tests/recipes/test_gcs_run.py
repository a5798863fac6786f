# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A latent run on `gs://`: killed in a save, resumed, read by every command."""

import json
import os
import signal
import subprocess
import sys

import pytest

import lrm_jax
from lrm_jax import presets
from lrm_jax.cli.main import main
from lrm_jax.config import apply_overrides
from lrm_jax.evaluation.samples import read_samples
from lrm_jax.recipes import sweep
from lrm_jax.recipes.samples import SampleLog
from lrm_jax.storage import lease, logs
from lrm_jax.training import manifest
from lrm_jax.training.checkpoint import list_steps
from lrm_jax.training.files import as_path
from lrm_jax.training.run_folder import open_run
from tests.recipes.process_runs import (
    GRPO,
    ROOT,
    SFT,
    TINY,
    assert_close,
    free_port,
    train_alone,
    training_process,
)
from tests.storage.fake_gcs import Refused
from tests.storage.stand_in import a_bucket, server
from tests.training.chaos_resume import compare, records

WORDS = ("train.total_steps=6", "checkpoint.every_steps=2")


def start(run_dir, *words, count=1, rank=0, port=0, devices=8):
    """Start `lrm train` as a process of its own; what it says goes to pipes."""
    command = [sys.executable, "-m", "lrm_jax.cli.main", "train", *TINY, *words]
    command += ["--run-dir", run_dir, "--json"]
    if count > 1:
        command += ["--coordinator", f"127.0.0.1:{port}", "--num-processes", str(count)]
        command += ["--process-id", str(rank)]
    env = {**os.environ, "JAX_NUM_CPU_DEVICES": str(devices)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=ROOT, env=env, text=True, **pipes)


def kill_at(count, prefix, bucket, pid_of):
    """Have the stand-in kill a process when it writes its n-th object there."""
    seen = []

    def watch(method, name_of_bucket, name):
        if method == "PUT" and name_of_bucket == bucket.name and prefix in name:
            seen.append(name)
            if len(seen) == count:
                os.kill(pid_of(), signal.SIGKILL)

    server().watch = watch
    return seen


@pytest.fixture(scope="module")
def bucket():
    with pytest.MonkeyPatch.context() as patch:
        yield from a_bucket(patch)


@pytest.fixture(scope="module")
def killed_and_whole(bucket, tmp_path_factory):
    """A run killed in the middle of its second save and resumed; one never killed."""
    run = f"{bucket.url}/runs/a"
    child = start(run, *WORDS)
    seen = kill_at(5, "checkpoints/4/state/", bucket, lambda: child.pid)
    _, errors = child.communicate(timeout=120)
    server().watch = lambda *_: None
    assert child.returncode == -signal.SIGKILL and len(seen) >= 5, errors
    steps = {info.step: info.complete for info in list_steps(f"{run}/checkpoints")}
    assert steps == {2: True, 4: False}
    assert "runs/a/.lock" in bucket.names()
    resumed = train_alone(run, *WORDS)
    whole = tmp_path_factory.mktemp("runs") / "whole"
    train_alone(whole, *WORDS)
    return run, whole, resumed


def test_it_resumes_to_the_same_bits_as_a_local_run(bucket, killed_and_whole):
    run, whole, resumed = killed_and_whole
    assert (resumed["resumed_from"], resumed["step"]) == (2, 6)
    assert compare(run, whole) == []
    assert [r["step"] for r in records(run)] == [1, 2, 3, 4, 5, 6, 6]
    assert "runs/a/.lock" not in bucket.names()
    parts = bucket.names("runs/a/metrics/")
    assert parts and "runs/a/metrics.jsonl" not in bucket.names()


def test_every_command_reads_it(bucket, killed_and_whole, capfd):
    run, whole, _ = killed_and_whole

    def said(*words):
        assert main([*words, "--json"]) == 0
        return json.loads(capfd.readouterr().out)

    listed = said("ckpt", "ls", run)["checkpoints"]
    assert [(info["step"], info["complete"]) for info in listed] == [
        (step, True) for step in [i.step for i in list_steps(whole / "checkpoints")]
    ]
    assert all(info["bytes"] > 0 for info in listed)
    assert said("ckpt", "verify", run)["ok"]
    local = json.loads((whole / "report" / "eval.json").read_text())
    assert said("eval", run)["results"] == local["results"]
    files = said("report", run, "--format", "md", "html")["files"]
    assert files == [f"{run}/report/table.md", f"{run}/report/index.html"]
    assert main(["report", str(whole), "--format", "md", "--json"]) == 0
    table = bucket.objects["runs/a/report/table.md"].data
    local = (whole / "report" / "table.md").read_bytes()
    assert table.replace(b"gs://", b"") and table == local


def test_damage_is_found_and_the_one_before_is_used(bucket, killed_and_whole, capfd):
    run, _, _ = killed_and_whole
    folder = as_path(run) / "checkpoints"
    newest = max(info.step for info in list_steps(folder))
    kept = dict(bucket.objects)
    names = bucket.names(f"runs/a/checkpoints/{newest}/")
    try:
        for number, name in enumerate(names):
            data = bytearray(kept[name].data)
            data[(37 * number) % len(data)] ^= 1 << number % 8
            bucket.put(name, bytes(data))
            found = manifest.problems(folder / str(newest))
            inner = name.removeprefix(f"runs/a/checkpoints/{newest}/")
            assert len(found) == 1 and inner in found[0], name
            bucket.objects[name] = kept[name]
        inside = [name for name in names if "/d/" in name]
        del bucket.objects[inside[0]]
        assert main(["ckpt", "verify", run]) == 1
        assert "No such file" in capfd.readouterr().out
        assert main(["eval", run, "--budget", "1"]) == 0
        said = capfd.readouterr()
        assert f"checkpoint {newest} cannot be used" in said.err
        assert f"checkpoint of step {newest}" not in said.out
    finally:
        bucket.objects.update(kept)


def test_two_runs_on_one_folder(bucket, killed_and_whole, capfd):
    run, _, _ = killed_and_whole
    held = lease.take(as_path(run) / ".lock")
    words = ["train", *TINY, *WORDS, "train.total_steps=8", "--run-dir", run]
    assert main(words) == 2
    said = capfd.readouterr().err.strip().splitlines()
    assert said[-1].startswith(f"lrm: error: run folder {run} is in use by process ")
    held.close()
    assert main([*words, "seed=7"]) == 2
    said = capfd.readouterr().err
    assert f"run folder {run} holds another run: seed is" in said


@pytest.mark.parametrize(
    "run, line",
    [
        ("gs://no-such-bucket/run", "gs://no-such-bucket: no such bucket"),
        ("gs://denied/run", "gs://denied: no permission to read it"),
        ("gs://bucket", "expected gs://BUCKET/PATH"),
        ("s3://bucket/run", "s3:// is not supported"),
    ],
)
def test_bad_folders_are_one_line(bucket, run, line, capfd):
    server().buckets["denied"] = {}
    server().denied.add("denied")
    for words in (["train", *TINY, "--run-dir", run], ["ckpt", "ls", run]):
        assert main(words) == 2
        said = capfd.readouterr().err.strip()
        assert said.count("\n") == 0 and said.startswith("lrm: error: "), said
        assert line in said


def test_a_bucket_that_may_only_be_read(bucket, monkeypatch, capfd):
    def refuse(method, name_of_bucket, name):
        raise Refused(403, "storage.objects.create access denied")

    monkeypatch.setattr(server(), "watch", refuse)
    assert main(["train", *TINY, "--run-dir", f"{bucket.url}/runs/b"]) == 2
    said = capfd.readouterr().err.strip().splitlines()[-1]
    assert said.startswith(f"lrm: error: run folder {bucket.url}/runs/b cannot be used")
    assert "no permission" in said and "create access denied" in said


def test_completions_are_parts_as_well(bucket):
    run = f"{bucket.url}/runs/samples"
    sample = {"tokens": ["4"], "prompt": "2+2=", "answer": "4", "split": "train"}
    log = SampleLog(run, 0)
    log.write([])
    for step in (1, 2, 3):
        log.write([{"step": step, **sample}] * 2)
    assert len(bucket.names("runs/samples/samples/")) == 3
    SampleLog(run, 2).write([{"step": 3, **sample, "tokens": ["5"]}])
    groups = read_samples(run).groups
    assert [(g.step, len(g.samples)) for g in groups] == [(1, 2), (2, 2), (3, 1)]
    assert groups[-1].samples[0].tokens == ["5"]


def test_rollouts_and_evaluations_write_one_log_of_completions(bucket):
    run = f"{bucket.url}/runs/both"
    words = ("eval.every_steps=1", "train.total_steps=3", "grpo.samples=1")
    config = apply_overrides(presets.get(GRPO[0]), [*GRPO[1:], *words])
    found = lrm_jax.train(config, run, progress="off")
    assert (found["reason"], found["step"]) == ("done", 3)
    log = logs.read_log(as_path(run) / "samples.jsonl") or b""
    told = [json.loads(line) for line in log.splitlines()]
    wrote = [(r["step"], r["split"]) for r in told]
    assert list(dict.fromkeys(wrote)) == [
        (step, split) for step in (1, 2, 3) for split in ("train", "eval")
    ]
    assert len(bucket.names("runs/both/samples/")) == 6


def test_a_table_of_runs_skips_those_that_are_finished(bucket):
    calls = []

    def train(config, run_dir):
        calls.append(run_dir)
        with open_run(run_dir, {"seed": config.seed}) as folder:
            folder.log({"step": 4, "eval/exact_accuracy": 0.5})
        return {"step": 4, "reason": "done"}

    rows = {"one": presets.get("sudoku4_tiny")}
    found = sweep.run_all(rows, f"{bucket.url}/table", train=train)
    assert found["one"].state == "finished"
    assert found["one"].metrics == {"step": 4, "eval/exact_accuracy": 0.5}
    assert sweep.run_all(rows, f"{bucket.url}/table", train=train) == found
    assert len(calls) == 1 and calls[0].startswith(f"{bucket.url}/table/")


def test_an_import_with_its_own_tokenizer_is_read_from_a_disk(bucket, capfd):
    config = {"recipe": "policy", "tokenizer": {"kind": "hf", "path": "tokenizer"}}
    bucket.put("runs/hf/config.json", json.dumps(config).encode())
    bucket.put("runs/hf/tokenizer/tokenizer.json", b"{}")
    assert main(["sample", f"{bucket.url}/runs/hf", "--prompt", "1"]) == 2
    said = capfd.readouterr().err
    assert "/tokenizer: tokenizer files are read from a disk only; copy" in said


@pytest.mark.nightly
def test_two_processes_write_one_folder(bucket, tmp_path):
    run = f"{bucket.url}/runs/two"
    words = (*WORDS, "mesh.data=4")

    def both(*more):
        port = free_port()
        options = {"count": 2, "port": port, "devices": 2}
        return [start(run, *words, *more, rank=rank, **options) for rank in (0, 1)]

    children = both()
    kill_at(4, "checkpoints/4/state/", bucket, lambda: training_process(children[1]))
    errors = [child.communicate(timeout=200)[1] for child in children]
    server().watch = lambda *_: None
    assert all(child.returncode for child in children), errors
    complete = [i.step for i in list_steps(f"{run}/checkpoints") if i.complete]
    assert complete == [2]
    children = both()
    errors = [child.communicate(timeout=200)[1] for child in children]
    assert [child.returncode for child in children] == [0, 0], errors
    prefix = "runs/two/checkpoints/6/state/ocdbt.process_"
    assert bucket.names(f"{prefix}0") and bucket.names(f"{prefix}1")
    assert main(["ckpt", "verify", run]) == 0
    train_alone(tmp_path / "alone", *WORDS, "mesh.data=4", "mesh.fsdp=2")
    assert_close(run, tmp_path / "alone")


@pytest.mark.nightly
def test_a_policy_is_tuned_and_reinforced_there(bucket, tmp_path, capfd):
    cold, local = f"{bucket.url}/runs/cold", tmp_path / "cold"
    words = ("train.total_steps=4", "checkpoint.every_steps=2")
    for folder in (cold, local):
        train_alone(folder, *words, base=SFT)
    assert compare(cold, local) == []
    taught, whole = f"{bucket.url}/runs/taught", tmp_path / "taught"
    model = (*[w for w in SFT if w.startswith("model.")], "checkpoint.every_steps=2")
    config = lambda *more: apply_overrides(
        presets.get(GRPO[0]), [*GRPO[1:], *model, *more]
    )
    for folder in (taught, str(whole)):
        for steps in (2, 4):
            longer = config(f"train.total_steps={steps}")
            lrm_jax.train(longer, folder, progress="off")
    assert compare(taught, whole) == []
    there, here = read_samples(taught), read_samples(whole)
    assert there.total == here.total > 0
    assert [g.samples[0].tokens for g in there.groups] == [
        g.samples[0].tokens for g in here.groups
    ]
    assert main(["sample", cold, "--prompt", "1+2=", "--max-new", "4"]) == 0
    assert main(["report", taught, cold, "--out", str(tmp_path / "report")]) == 0
    assert (tmp_path / "report" / "index.html").exists()
    begun = ["train", *SFT, *words, "--init-from", f"{cold}@2"]
    assert main([*begun, "--run-dir", f"{bucket.url}/runs/third"]) == 0
