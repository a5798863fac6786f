# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The SLURM job: one task a GPU, queued again until it is done."""

import pytest

from tests.tpu.stand_ins import TPU, Cloud

RUN = ["lrm", "train", "x", "name=a b", "--run-dir", "/shared/runs/x"]


def submitted(*more: str, nodes="1", gpus="8") -> list[str]:
    return [
        "sbatch",
        "--job-name=lrm",
        f"--nodes={nodes}",
        f"--ntasks-per-node={gpus}",
        f"--gpus-per-node={gpus}",
        "--cpus-per-task=8",
        "--output=%x-%j.log",
        "--open-mode=append",
        "--requeue",
        *more,
        str(TPU / "slurm_job.sh"),
        "--restarts",
        "50",
        "--",
        *RUN,
    ]


def test_submit(cloud: Cloud):
    cloud.ok("slurm.sh", "--", *RUN)
    options = ["--nodes", "4", "--gpus-per-node", "2", "--partition", "gpu"]
    cloud.ok("slurm.sh", *options, "--time", "1-00:00:00", "--", *RUN)
    limit = ["--partition=gpu", "--time=1-00:00:00", "--signal=TERM@60"]
    assert cloud.calls() == [submitted(), submitted(*limit, nodes="4", gpus="2")]


def test_dry_run_says_what_would_be_called(cloud: Cloud):
    cloud.dry_run_says_the_same("slurm.sh", "--time", "60", "--", *RUN)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ([], "no command"),
        (["--nodes", "0", "--", *RUN], "--nodes 0: a number from 1"),
        (["--gpus-per-node", "many", "--", *RUN], "a number from 1"),
        (["--time", "tomorrow", "--", *RUN], "24:00:00"),
        (["--partition", "a b", "--", *RUN], "a name without spaces"),
        (["--job-name", "../x", "--", *RUN], "--job-name"),
        (["--", "lrm", "train", "x"], "without --run-dir"),
        (["lrm", "train"], "unknown word lrm"),
        (["--time"], "--time takes a value"),
    ],
)
def test_bad_words_are_one_line(cloud: Cloud, line: list[str], says: str):
    assert says in cloud.refused("slurm.sh", *line)


@pytest.mark.parametrize(
    ("code", "restarts", "again"),
    [(0, 0, False), (2, 0, False), (143, 0, True), (1, 2, True), (1, 3, False)],
)
def test_the_job_goes_back_into_the_queue(cloud: Cloud, code, restarts, again):
    cloud.reply("srun", code=code)
    slurm = {"SLURM_JOB_ID": "42", "SLURM_RESTART_COUNT": str(restarts)}
    slurm["SLURM_CPUS_PER_TASK"] = "8"
    done = cloud.run("slurm_job.sh", "--restarts", "3", "--", *RUN, **slurm)
    step = ["srun", "--kill-on-bad-exit=0", "--wait=120", "--cpus-per-task=8", *RUN]
    requeue = [["scontrol", "requeue", "42"]] if again else []
    assert done.returncode == code
    assert cloud.calls() == [step, *requeue]


def test_the_job_script_shows_its_step(cloud: Cloud):
    cloud.dry_run_says_the_same("slurm_job.sh", "--", *RUN)
