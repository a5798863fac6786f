# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""One report of all workers: each says what it sees, and whether they can talk.

They meet in a child process of each worker: the runtime aborts a process that
waits for others in vain, and looking must not claim the accelerator.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from rich.console import Console
from rich.table import Table

from lrm_jax.tooling import doctor
from lrm_jax.training import distributed
from lrm_jax.training.distributed import Group
from lrm_jax.types import UserError

_TALK_S = 120  # after they have met


class Met(NamedTuple):
    """What a worker knows once all have spoken.

    Attributes:
      worker: which one this is.
      devices: how many devices all see together.
      reports: of all workers, in their order.
    """

    worker: int
    devices: int
    reports: list[dict[str, Any]]


def collect(group: Group) -> tuple[int, dict[str, Any]]:
    """Look at this worker, meet the others, and compare.

    Returns:
      Which worker this is, and the report of all: `ok`, `devices` (of all
      together), `workers` (each as `doctor.collect` returns it, with `host`) and
      `problems`.

    Raises:
      UserError: the others were not met.
    """
    distributed.check(group)
    met = meet({**doctor.collect(), "host": socket.gethostname()}, group)
    problems = find_problems(met)
    report = {
        "ok": not problems,
        "devices": met.devices,
        "workers": met.reports,
        "problems": problems,
    }
    return met.worker, report


def meet(own: dict[str, Any], group: Group) -> Met:
    """Exchange reports with the other workers.

    Raises:
      UserError: they were not met, or were lost again.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "met.json"
        try:
            child = subprocess.run(
                [sys.executable, "-m", "lrm_jax.tooling.workers", str(result)],
                input=json.dumps({"own": own, "group": group}),
                capture_output=True,
                text=True,
                timeout=group.timeout_s + _TALK_S,
            )
        except subprocess.TimeoutExpired as error:
            raise UserError(
                f"the workers did not all answer within {error.timeout:g} s"
            ) from error
        if child.returncode == 0:
            return Met(**json.loads(result.read_text()))
    last = (child.stderr.strip().splitlines() or ["no message"])[-1]
    if child.returncode == 2:
        raise UserError(last.replace("--distributed", "--all-workers"))
    if child.returncode < 0:  # so the runtime ends who has waited in vain
        raise distributed.not_met(group)
    raise UserError(f"the workers met and could not talk: {last[:300]}")


def find_problems(met: Met) -> list[dict[str, str]]:
    """Return what is wrong on some workers, and in what they differ."""
    found: dict[tuple[str, str], list[int]] = {}
    for worker, report in enumerate(met.reports):
        for item in report["problems"]:
            found.setdefault((item["problem"], item["fix"]), []).append(worker)
    problems = [
        {"problem": f"{_name(workers)}: {problem}", "fix": fix}
        for (problem, fix), workers in found.items()
    ]
    problems += _differences([_facts(report) for report in met.reports])
    alone = sum(len(report["jax"]["devices"]) for report in met.reports)
    if alone != met.devices:
        text = f"the workers have {alone} devices, and see {met.devices} together"
        problems.append({"problem": text, "fix": ""})
    return problems


def _facts(report: dict[str, Any]) -> dict[str, str]:
    """What must be the same on all workers."""
    kinds = [device["kind"] for device in report["jax"]["devices"]]
    devices = {f"{kinds.count(kind)} x {kind}" for kind in kinds}
    versions = {name: value or "none" for name, value in report["versions"].items()}
    python = ".".join(report["python"].split(".")[:2])
    return {"devices": ", ".join(sorted(devices)), "python": python, **versions}


def _differences(facts: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Name what differs, who has what, and what most have."""
    problems = []
    for name in facts[0]:
        who: dict[str, list[int]] = {}
        for worker, fact in enumerate(facts):
            who.setdefault(fact[name], []).append(worker)
        if len(who) == 1:
            continue
        said = [f"{value} on {_name(workers)}" for value, workers in who.items()]
        usual = max(who, key=lambda value: len(who[value]))
        others = [w for value, them in who.items() if value != usual for w in them]
        fix = f'pip install "{name}=={usual}"   # on {_name(sorted(others))}'
        package = name not in ("devices", "python") and usual != "none"
        text = f"{name} differs: {'; '.join(said)}"
        problems.append({"problem": text, "fix": fix if package else ""})
    return problems


def _name(workers: Sequence[int]) -> str:
    """Name workers: `worker 1`, `workers 0, 2`, `workers 0-3`."""
    first, last = workers[0], workers[-1]
    if len(workers) == 1:
        return f"worker {first}"
    if len(workers) > 2 and last - first + 1 == len(workers):
        return f"workers {first}-{last}"
    return f"workers {', '.join(map(str, workers))}"


def render(report: dict[str, Any]) -> str:
    """Return the report of `collect` as text for a terminal of 88 columns."""
    console = Console(width=88, force_terminal=False, highlight=False)
    table = Table("worker", "host", "cores", "memory", "devices", box=None)
    for worker, one in enumerate(report["workers"]):
        system = one["system"]
        memory = doctor.gib(system["memory_bytes"])
        devices = _facts(one)["devices"] or "none"
        cores = str(system["cores"])
        table.add_row(str(worker), one["host"], cores, memory, devices)
    with console.capture() as capture:
        console.print(table)
        doctor.print_problems(console, report["problems"])
        if report["ok"]:
            count, devices = len(report["workers"]), report["devices"]
            console.print(f"{count} workers, {devices} devices: they agree and talk.")
    return capture.get()


def _main(result: str) -> None:
    """Meet the others (in the child) and write what all said."""
    os.dup2(2, 1)  # Gloo prints on standard output
    asked = json.loads(sys.stdin.read())
    try:
        distributed.join(Group(*asked["group"]))
    except UserError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        sys.exit(2)
    reports = [json.loads(text) for text in _gather_texts(json.dumps(asked["own"]))]
    met = Met(jax.process_index(), jax.device_count(), reports)
    Path(result).write_text(json.dumps(met._asdict()))


def _gather_texts(text: str) -> list[bytes]:
    """Return every worker's text, sent over the devices."""
    own = np.frombuffer(text.encode(), np.uint8)
    sizes = _gather(np.array([own.size], np.int32))[:, 0]
    padded = np.pad(own, (0, sizes.max() - own.size))
    return [
        row[:size].tobytes() for row, size in zip(_gather(padded), sizes, strict=True)
    ]


def _gather(row: np.ndarray) -> np.ndarray:
    """Return `[workers, ...]`; they may have unequal numbers of devices."""
    devices = jax.devices()
    mesh = Mesh(np.array(devices), ("all",))
    spread = jax.make_array_from_callback(
        (len(devices), row.size), NamedSharding(mesh, P("all")), lambda index: row[None]
    )
    whole = jax.jit(lambda x: x, out_shardings=NamedSharding(mesh, P()))(spread)
    owners = [device.process_index for device in devices]
    firsts = [owners.index(worker) for worker in range(jax.process_count())]
    return np.asarray(whole.addressable_data(0))[firsts]


if __name__ == "__main__":
    _main(sys.argv[1])
