# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What this machine can run, what is missing, and the line that mends it.

`collect` asks JAX in a child process: a broken plugin can take its process
down, and looking must not claim the accelerator's memory.
"""

import glob
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

RUNTIME = (
    *("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy"),
    *("chex", "tyro", "rich", "safetensors", "matplotlib", "numba"),
)
"""Distributions that the package needs, as their index names them."""

EXTRAS: dict[str, tuple[str, ...]] = {
    "hf": ("tokenizers", "jinja2", "huggingface_hub"),
    "gcs": ("gcsfs",),
    "torch": ("torch",),
    "math": ("math-verify",),
    "notebooks": ("ipykernel", "nbconvert", "nbformat"),
    "reference": ("torch", "transformers"),
    "dev": ("pytest", "pytest-xdist", "ruff", "pyright", "pre-commit", "nbconvert"),
}
"""Optional parts and the distributions that each stands on."""

_PLUGINS = (
    *("jax-cuda12-plugin", "jax-cuda12-pjrt", "jax-cuda13-plugin", "jax-cuda13-pjrt"),
    "libtpu",
)
_PROBE_TIMEOUT_S = 120.0
_PROBE = """
import json
import jax
devices = [
    {"kind": d.device_kind, "platform": d.platform,
     "bytes_limit": (d.memory_stats() or {}).get("bytes_limit")}
    for d in jax.local_devices()
]
print(json.dumps({"backend": jax.default_backend(), "devices": devices}))
"""


def collect() -> dict[str, Any]:
    """Look at this machine.

    Returns:
      A dict that JSON can hold: `ok`, `python`, `system`, `versions`, `jax`
      (backend, devices, error), `hardware` (nvidia, tpu), `extras` and
      `problems`, each `{problem, fix}`.
    """
    report: dict[str, Any] = {
        "python": platform.python_version(),
        "system": _system(),
        "versions": {name: _version(name) for name in (*RUNTIME, *_PLUGINS)},
        "jax": _probe_jax(),
        "hardware": {"nvidia": _nvidia(), "tpu": _tpu()},
        "extras": {name: _extra(name) for name in EXTRAS},
    }
    report["problems"] = find_problems(report)
    report["ok"] = not report["problems"]
    return report


def find_problems(report: dict[str, Any]) -> list[dict[str, str]]:
    """Return what keeps this machine from its best, each with its fix."""
    versions, hardware, jax = report["versions"], report["hardware"], report["jax"]
    problems = [
        {
            "problem": f"{name} is not installed",
            "fix": "pip install -e .   # in the project's folder",
        }
        for name in RUNTIME
        if versions[name] is None
    ]
    if jax["error"]:
        problems.append({"problem": f"JAX does not start: {jax['error']}", "fix": ""})
    platforms = {device["platform"] for device in jax["devices"]}
    if hardware["nvidia"] and "gpu" not in platforms:
        problems.append(_unused("GPU", hardware["nvidia"], report))
    if hardware["tpu"] and "tpu" not in platforms:
        problems.append(_unused("TPU", hardware["tpu"], report))
    problems += _mismatched_plugins(versions)
    return problems


def render(report: dict[str, Any]) -> str:
    """Return the report of `collect` as text for a terminal of 88 columns."""
    console = Console(width=88, force_terminal=False, highlight=False)
    with console.capture() as capture:
        console.print(_machine_table(report))
        console.print(_extras_table(report["extras"]))
        print_problems(console, report["problems"])
        if report["ok"]:
            console.print("Everything that the package needs is here.")
    return capture.get()


def print_problems(console: Console, problems: Sequence[Mapping[str, str]]) -> None:
    """Print each problem with the line that mends it."""
    for item in problems:
        console.print(f"[bold]problem[/]  {escape(item['problem'])}")
        if item["fix"]:
            fix = f"         mend it with: {escape(item['fix'])}"
            console.print(fix, soft_wrap=True)


def _machine_table(report: dict[str, Any]) -> Table:
    system, versions = report["system"], report["versions"]
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("python", f"{report['python']} on {system['os']}")
    table.add_row("processor", f"{system['cores']} cores, {system['machine']}")
    table.add_row(
        "memory",
        f"{gib(system['memory_bytes'])}, {gib(system['disk_free_bytes'])} disk free",
    )
    backend = report["jax"]["backend"] or "none"
    table.add_row("jax backend", backend)
    for device in report["jax"]["devices"]:
        memory = device["bytes_limit"]
        size = f", {gib(memory)}" if memory else ""
        table.add_row("device", f"{device['kind']} ({device['platform']}{size})")
    found = [f"{name} {value}" for name, value in versions.items() if value]
    table.add_row("packages", ", ".join(found))
    return table


def _extras_table(extras: dict[str, Any]) -> Table:
    table = Table("extra", "state", "how to get it", box=None, pad_edge=False)
    for name, extra in extras.items():
        missing = ", ".join(extra["missing"])
        state = "present" if extra["present"] else f"missing {missing}"
        table.add_row(name, state, escape(extra["fix"]))
    return table


def _unused(what: str, found: str, report: dict[str, Any]) -> dict[str, str]:
    """Tell why JAX may not see a device that the machine has."""
    wanted = os.environ.get("JAX_PLATFORMS", "")
    names = {"GPU": ("gpu", "cuda"), "TPU": ("tpu",)}[what]
    if wanted and not any(name in wanted for name in names):
        fix = f"unset JAX_PLATFORMS   # it is {wanted!r} and hides the {what}"
    else:
        extra = "tpu" if what == "TPU" else _cuda_extra(found)
        # The version that is there is kept: only its accelerator part is added.
        version = report["versions"]["jax"]
        pin = f"=={version}" if version else ""
        fix = f'pip install "jax[{extra}]{pin}"'
    return {"problem": f"{found} is here, but JAX sees no {what}", "fix": fix}


def _cuda_extra(found: str) -> str:
    """CUDA 13 wants driver 580 or newer; 12 runs on all since 525."""
    driver = re.search(r"driver (\d+)", found)
    return "cuda13" if driver and int(driver[1]) >= 580 else "cuda12"


def _mismatched_plugins(versions: dict[str, str | None]) -> list[dict[str, str]]:
    """Name accelerator plugins that an upgrade of jaxlib has left behind."""
    problems = []
    for name in _PLUGINS:
        version, jaxlib = versions[name], versions["jaxlib"]
        if name == "libtpu" or not (version and jaxlib):
            continue
        if version.split(".")[:3] != jaxlib.split(".")[:3]:
            extra = name.split("-")[1]
            problems.append(
                {
                    "problem": f"{name} {version} does not fit jaxlib {jaxlib}",
                    "fix": f'pip install -U "jax[{extra}]=={versions["jax"]}"',
                }
            )
    return problems


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _extra(name: str) -> dict[str, Any]:
    missing = [package for package in EXTRAS[name] if _version(package) is None]
    fix = f'pip install -e ".[{name}]"'
    if name in ("torch", "reference") and "torch" in missing and not _nvidia():
        fix = f"pip install torch==2.13.0 && {fix}   # the CPU wheel, where indexed"
    return {"present": not missing, "missing": missing, "fix": fix if missing else ""}


def _system() -> dict[str, Any]:
    affinity = getattr(os, "sched_getaffinity", None)
    names = getattr(os, "sysconf_names", {})
    memory = None
    if "SC_PHYS_PAGES" in names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "os": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cores": len(affinity(0)) if affinity else os.cpu_count(),
        "memory_bytes": memory,
        "disk_free_bytes": shutil.disk_usage(os.getcwd()).free,
    }


def _probe_jax() -> dict[str, Any]:
    """Start JAX in a child process and list what it sees."""
    none = {"backend": None, "devices": []}
    # A GPU's memory is not claimed for a look at it.
    environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    try:
        child = subprocess.run(
            [sys.executable, "-c", _PROBE],
            capture_output=True,
            text=True,
            timeout=_PROBE_TIMEOUT_S,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        return {**none, "error": f"no answer within {_PROBE_TIMEOUT_S:.0f} s"}
    if child.returncode != 0:
        last = (child.stderr.strip().splitlines() or ["no message"])[-1]
        return {**none, "error": f"exit status {child.returncode}: {last[:300]}"}
    return {**json.loads(child.stdout.strip().splitlines()[-1]), "error": None}


def _nvidia() -> str | None:
    """The GPUs and driver that nvidia-smi names, None where there are none."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    query = [tool, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        child = subprocess.run(query, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = [line for line in child.stdout.splitlines() if "," in line]
    if child.returncode != 0 or not lines:
        return None
    name, driver = (part.strip() for part in lines[0].split(",", 1))
    return f"{len(lines)} x {name}, driver {driver}"


def _tpu() -> str | None:
    """The TPU chips that the kernel shows, None where there are none."""
    chips = glob.glob("/dev/accel[0-9]*")
    if not chips and os.environ.get("TPU_ACCELERATOR_TYPE"):
        return f"TPU {os.environ['TPU_ACCELERATOR_TYPE']}"
    return f"{len(chips)} TPU chips" if chips else None


def gib(size_bytes: int | None) -> str:
    """Return a size for people to read."""
    return "unknown" if size_bytes is None else f"{size_bytes / 2**30:.1f} GiB"
