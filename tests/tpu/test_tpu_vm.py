# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Each script calls exactly this of gcloud, and calls nothing twice."""

import shlex
import subprocess

import pytest

from tests.tpu.stand_ins import TPU, Cloud

WHERE = ["--project=my-project", "--zone=us-west4-a"]
QUEUE = ["gcloud", "compute", "tpus", "queued-resources"]
VM = ["gcloud", "compute", "tpus", "tpu-vm"]
KIND = "tpu.nodeSpec[0].node.acceleratorType.basename()"
LIST = [
    *QUEUE,
    "list",
    *WHERE,
    '--filter=name~"/queuedResources/lrm$"',
    f'--format=value[separator=" "](state.state,{KIND})',
]
CREATE = [
    *QUEUE,
    "create",
    "lrm",
    *WHERE,
    "--node-id=lrm",
    "--accelerator-type=v5litepod-16",
    "--runtime-version=v2-alpha-tpuv5-lite",
]
DELETE = [*QUEUE, "delete", "lrm", *WHERE, "--force", "--quiet"]
ACTIVE = "ACTIVE v5litepod-16\n"


def ssh(command: list[str], worker="all") -> list[str]:
    line = shlex.join(command)
    return [*VM, "ssh", "lrm", *WHERE, f"--worker={worker}", f"--command={line}"]


def test_create_asks_and_waits(cloud: Cloud):
    states = ["", "WAITING_FOR_RESOURCES v5litepod-16\n", "PROVISIONING v5litepod-16\n"]
    cloud.reply("queued-resources list", *states, ACTIVE)
    cloud.ok("create.sh", "--spot")
    assert cloud.calls() == [LIST, [*CREATE, "--spot"], LIST, LIST, LIST]


def test_create_twice_asks_once(cloud: Cloud):
    cloud.reply("queued-resources list", ACTIVE)
    cloud.ok("create.sh")
    cloud.ok("create.sh", "--no-wait")
    assert cloud.calls() == [LIST, LIST]


def test_create_without_waiting(cloud: Cloud):
    cloud.ok("create.sh", "--no-wait", "--reserved", "--", "--network=my net")
    assert cloud.calls() == [LIST, [*CREATE, "--reserved", "--network=my net"]]
    cloud.forget()
    cloud.reply("queued-resources list", "WAITING_FOR_RESOURCES v5litepod-16\n")
    cloud.ok("create.sh", "--no-wait")
    assert cloud.calls() == [LIST]


def test_create_several_slices_for_an_account(cloud: Cloud):
    account = "trainer@my-project.iam.gserviceaccount.com"
    cloud.settings |= {"TPU_SLICES": "3", "TPU_SERVICE_ACCOUNT": account}
    cloud.reply("queued-resources list", "", ACTIVE)
    cloud.ok("create.sh")
    words = [word for word in CREATE if word != "--node-id=lrm"]
    words[-2:-2] = ["--node-count=3", "--node-prefix=lrm"]
    assert cloud.calls()[1] == [*words, f"--service-account={account}"]


@pytest.mark.parametrize("state", ["SUSPENDED", "FAILED"])
def test_a_dead_request_goes_only_by_its_exact_name(cloud: Cloud, state: str):
    cloud.reply("queued-resources list", f"{state} v5litepod-16\n")
    done = cloud.run("create.sh")
    assert done.returncode == 1 and f"lrm is {state}" in done.stderr
    assert "tpu/create.sh --replace lrm" in done.stderr
    assert cloud.calls() == [LIST]
    cloud.forget()
    assert "TPU_NAME is lrm" in cloud.refused("create.sh", "--replace", "lr")
    cloud.reply("queued-resources list", f"{state} v5litepod-16\n", "", ACTIVE)
    cloud.ok("create.sh", "--replace", "lrm")
    assert cloud.calls() == [LIST, DELETE, LIST, CREATE, LIST]


def test_create_waits_for_what_is_going_away(cloud: Cloud):
    going = "SUSPENDING v5litepod-16\n", "SUSPENDED v5litepod-16\n"
    cloud.reply("queued-resources list", *going, "DELETING \n", "", ACTIVE)
    cloud.ok("create.sh", "--replace", "lrm")
    assert cloud.calls() == [LIST, LIST, DELETE, LIST, LIST, CREATE, LIST]


def test_create_asks_once_for_what_fails(cloud: Cloud):
    cloud.reply("queued-resources list", "", "FAILED v5litepod-16\n")
    done = cloud.run("create.sh", "--replace", "lrm")
    assert done.returncode == 1 and "ended as FAILED" in done.stderr
    assert cloud.calls() == [LIST, CREATE, LIST]


def test_create_refuses_another_machine_of_that_name(cloud: Cloud):
    cloud.reply("queued-resources list", "ACTIVE v6e-8\n")
    done = cloud.run("create.sh")
    assert done.returncode == 2
    assert "lrm is there as v6e-8, not v5litepod-16" in done.stderr


def test_an_error_of_gcloud_ends_it(cloud: Cloud):
    cloud.reply("queued-resources list", code=7)
    for script in ("create.sh", "status.sh"):
        assert cloud.run(script).returncode == 7
    assert cloud.run("delete.sh", "lrm").returncode == 7
    assert cloud.calls() == [LIST, LIST, LIST]


def commit() -> str:
    done = subprocess.run(
        ["git", "-C", str(TPU.parent), "rev-parse", "--short=12", "HEAD"],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip("not a git checkout")
    return done.stdout.strip()


def test_setup_copies_the_commit_to_every_worker(cloud: Cloud):
    name = f"lrm-jax-{commit()}.tar.gz"
    archive = cloud.home / ".cache" / "lrm-jax" / name
    for _ in range(2):  # again is fine
        cloud.ok("setup.sh", "--extras", "tpu")
        worker = str(TPU / "worker.sh")
        scp = [*VM, "scp", str(archive), worker, "lrm:", *WHERE, "--worker=all"]
        install = ["bash", "worker.sh", "install", name, "tpu"]
        assert cloud.calls() == [scp, ssh(install)]
        cloud.forget()
    names = subprocess.run(["tar", "-tzf", archive], capture_output=True, text=True)
    assert "lrm-jax/pyproject.toml" in names.stdout.splitlines()


def test_run_keeps_every_word_whole(cloud: Cloud):
    cloud.reply("queued-resources list", ACTIVE)
    words = ["lrm", "train", "hrm_sudoku", "name=a b", "it's", '"$HOME" `x`', "*", ""]
    environment = ["--env", "NOTE=two words"]
    cache = "gs://my-bucket/jax-cache"
    cloud.ok("run.sh", *environment, "--", *words, TPU_CACHE_DIR=cache)
    remote = ["bash", "worker.sh", "start"]
    remote += ["--env", f"JAX_COMPILATION_CACHE_DIR={cache}", *environment, "--"]
    remote += [*words, "--run-dir", "gs://my-bucket/runs/first"]
    assert cloud.calls() == [LIST, ssh(remote)]


def test_run_again_is_the_same_call(cloud: Cloud):
    cloud.reply("queued-resources list", ACTIVE)
    line = ["--restarts", "3", "--", "lrm", "train", "x", "--run-dir=gs://bkt/run"]
    cloud.ok("run.sh", *line)
    cloud.ok("run.sh", *line)
    words = ["bash", "worker.sh", "start", "--restarts", "3", *line[2:]]
    assert cloud.calls() == [LIST, ssh(words)] * 2


@pytest.mark.parametrize("state", ["", "SUSPENDED v5litepod-16\n"])
def test_run_says_how_to_get_the_machine_back(cloud: Cloud, state: str):
    cloud.reply("queued-resources list", state)
    done = cloud.run("run.sh", "--", "lrm", "doctor")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "tpu/create.sh --replace lrm && tpu/setup.sh" in done.stderr
    assert cloud.calls() == [LIST]


def test_run_needs_a_folder_that_outlives_the_machine(cloud: Cloud):
    train = ["--", "lrm", "train", "x"]
    assert "set TPU_RUN_DIR" in cloud.refused("run.sh", *train, TPU_RUN_DIR="")
    assert "lost with it" in cloud.refused("run.sh", *train, "--run-dir", "runs/x")
    assert "gs://BUCKET" in cloud.refused("run.sh", *train, "--run-dir=gs://Bad/x")
    assert "no command" in cloud.refused("run.sh")
    assert "line break" in cloud.refused("run.sh", "--", "lrm", "a\nb")
    assert "NAME=VALUE" in cloud.refused("run.sh", "--env", "1A=b", "--", "lrm", "x")
    cloud.reply("queued-resources list", ACTIVE)
    cloud.ok("run.sh", "--local-run-dir", *train, "--run-dir", "runs/x")
    assert cloud.calls()[1][-1].endswith("--run-dir runs/x")


def test_run_passes_the_worst_code_on(cloud: Cloud):
    cloud.reply("queued-resources list", ACTIVE)
    cloud.reply("tpu-vm ssh", code=2)
    assert cloud.run("run.sh", "--", "lrm", "doctor").returncode == 2
    cloud.reply("tpu-vm ssh", code=127)
    done = cloud.run("run.sh", "--", "lrm", "doctor")
    assert done.returncode == 1 and "tpu/setup.sh" in done.stderr


def test_logs_status_stop(cloud: Cloud):
    cloud.ok("logs.sh", "--follow", "--worker", "3")
    cloud.ok("stop.sh")
    log = ["bash", "worker.sh", "log", "--lines", "200", "--follow"]
    assert cloud.calls() == [ssh(log, worker="3"), ssh(["bash", "worker.sh", "stop"])]
    cloud.forget()
    assert cloud.ok("status.sh", "--workers") == "lrm: not there\n"
    cloud.reply("queued-resources list", ACTIVE)
    assert cloud.ok("status.sh", "--workers") == "lrm: ACTIVE v5litepod-16\n"
    nodes = ['--filter=name~"/nodes/lrm(-[0-9]+)?$"']
    nodes += ["--format=table(name.basename(),state,health)"]
    ask = [*VM, "list", *WHERE, *nodes]
    status = ssh(["bash", "worker.sh", "status"])
    assert cloud.calls() == [LIST, LIST, ask, status]


def test_several_slices_are_reached_as_one(cloud: Cloud):
    cloud.settings["TPU_SLICES"] = "2"
    cloud.ok("logs.sh", "--node", "1")
    cloud.ok("stop.sh")
    base = [*QUEUE, "ssh", "lrm"]
    log = "--command=bash worker.sh log --lines 200"
    stop = "--command=bash worker.sh stop"
    assert cloud.calls() == [
        [*base, "--node=1", *WHERE, "--worker=0", log],
        [*base, "--node=all", *WHERE, "--worker=all", stop],
    ]


def test_delete_takes_the_typed_name_alone(cloud: Cloud):
    assert "exact name" in cloud.refused("delete.sh")
    assert "one name" in cloud.refused("delete.sh", "lrm", "lrm-2")
    assert "TPU_NAME=" in cloud.refused("delete.sh", "lrm*")
    cloud.reply("queued-resources list", ACTIVE, "")
    cloud.ok("delete.sh", "lrm")
    cloud.ok("delete.sh", "lrm")  # nothing is left to delete
    assert cloud.calls() == [LIST, DELETE, LIST]
    cloud.forget()
    cloud.reply("queued-resources list", ACTIVE)
    cloud.ok("delete.sh", "other")
    assert cloud.calls()[1][5] == "other"


@pytest.mark.parametrize(
    "line",
    [
        ["create.sh", "--spot"],
        ["setup.sh"],
        ["run.sh", "--", "lrm", "train", "x", "a b"],
        ["logs.sh"],
        ["status.sh", "--workers"],
        ["stop.sh"],
        ["delete.sh", "lrm"],
    ],
    ids=lambda line: line[0],
)
def test_dry_run_says_what_would_be_called(cloud: Cloud, line: list[str]):
    if line[0] == "create.sh":
        # Nothing there, then asked for: twice, for the script and for its dry run.
        cloud.reply("queued-resources list", "", ACTIVE)
    else:
        cloud.reply("queued-resources list", ACTIVE)
    if line[0] == "setup.sh":
        commit()
        cloud.ok("setup.sh")  # the archive it makes is there before and after
    cloud.dry_run_says_the_same(*line)


def test_a_missing_gcloud_is_one_line(cloud: Cloud):
    tools = cloud.folder / "tools"
    tools.mkdir()
    for name in ("bash", "dirname", "git", "awk", "sed"):
        (tools / name).symlink_to(f"/usr/bin/{name}")
    cloud.path = str(tools)
    for script in ("create", "setup", "logs", "status", "stop"):
        error = cloud.refused(f"{script}.sh")
        assert "gcloud is not on PATH: install the Google Cloud CLI" in error
    error = cloud.refused("gke.sh", "apply", "--", "lrm", "doctor")
    assert "kubectl is not on PATH" in error
    cloud.ok("stop.sh", "--dry-run")  # runs nothing, so needs nothing


def test_the_four_lines_of_the_readme_survive_the_machine(cloud: Cloud):
    """Run as they stand; then the slice is preempted, and they are run again."""
    commit()
    readme = (TPU.parent / "README.md").read_text()
    part = readme.partition("## On TPUs and GPU clusters\n")[2]
    lines = part.partition("```bash\n")[2].partition("```")[0]
    assert lines.count("\n") == 4
    lost = "SUSPENDED v5litepod-16\n"
    cloud.reply("queued-resources list", "", ACTIVE, ACTIVE, lost, "", ACTIVE)
    seen = []
    for _ in range(2):
        before = len(cloud.calls())
        script = f"set -e\ncd {shlex.quote(str(TPU.parent))}\n{lines}"
        done = cloud.bash(["-c", script])
        assert done.returncode == 0, done.stderr
        seen.append([x for x in cloud.calls()[before:] if x != LIST])
    first, second = seen
    create, scp, install, start = first
    assert create == [*CREATE, "--spot"] and scp[4] == "scp"
    assert "install" in install[-1] and "start -- lrm train" in start[-1]
    assert second == [DELETE, *first]
