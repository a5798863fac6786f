# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What every test runs under: eight CPU devices, strict JAX, a warm cache.

Environment: LRM_DATA and LRM_FIXTURES name the folders of data sets and
reference numbers (tests that need them skip where unset); LRM_NO_SKIP is a
regular expression of skip reasons that count as failures (`.ci/run` sets it).
LRM_TEST_OPTIMIZE=1 compiles as a user's run does; without it XLA is told to
compile quickly, as nearly all of the time goes into programs that run once.
"""

import gc
import hashlib
import os
import platform
import re
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.quick_compilation import xla_flags

_CACHE_BYTES_MAX = 2 * 1024**3


def _cache_dir() -> Path:
    """Compiled CPU code is good for one jaxlib on one kind of processor."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    flags = next((x for x in lines if x.startswith(("flags", "Features"))), "")
    chip = platform.machine() + platform.processor() + flags
    name = f"jaxlib-{version('jaxlib')}-{hashlib.sha256(chip.encode()).hexdigest()[:8]}"
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "lrm_jax" / "tests" / name


# Children (the command line, killed runs) inherit the environment, so what
# they may share stands there; what is this process's own is set below.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_cache_dir()))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
os.environ.setdefault("MPLBACKEND", "Agg")
if os.environ.get("LRM_TEST_OPTIMIZE", "0") == "0":
    os.environ.setdefault("XLA_FLAGS", xla_flags())

import jax  # noqa: E402

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)
# Tracing makes and drops objects by the million, few of them in cycles.
gc.set_threshold(50_000, 20, 50)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One worker a core, 8 at most; none when single files are asked for."""
    paths = [Path(str(arg).partition("::")[0]) for arg in config.args]
    if paths and all(path.is_file() for path in paths):
        return 0
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return min(8, cores)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Drop the oldest compiled programs once the cache has grown too large."""
    folder = Path(os.environ["JAX_COMPILATION_CACHE_DIR"] or "missing")
    if hasattr(session.config, "workerinput") or not folder.is_dir():
        return
    files = sorted(folder.glob("*"), key=lambda path: -path.stat().st_mtime)
    kept_bytes = 0
    for file in files:
        kept_bytes += file.stat().st_size
        if kept_bytes > _CACHE_BYTES_MAX:
            file.unlink(missing_ok=True)


_forbidden_skips: list[str] = []


def _note_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    pattern = os.environ.get("LRM_NO_SKIP")
    if not (pattern and report.skipped and isinstance(report.longrepr, tuple)):
        return
    if re.search(pattern, report.longrepr[2], re.IGNORECASE):
        _forbidden_skips.append(f"{report.nodeid}: {report.longrepr[2]}")


pytest_runtest_logreport = _note_skip
pytest_collectreport = _note_skip


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run in which a test that LRM_NO_SKIP wants was skipped."""
    if _forbidden_skips and not hasattr(session.config, "workerinput"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the skipped tests that had to run."""
    if _forbidden_skips:
        terminalreporter.section("skipped, but LRM_NO_SKIP wants them", red=True)
        terminalreporter.write("\n".join(_forbidden_skips) + "\n")


def _folder_from(variable: str, what: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set: it names the folder of {what}")
    folder = Path(value)
    if not folder.is_dir():
        pytest.fail(f"{variable}={value} is not a folder")
    return folder


@pytest.fixture(scope="session")
def lrm_data() -> Path:
    """The folder of real data sets, LRM_DATA."""
    return _folder_from("LRM_DATA", "data sets")


@pytest.fixture(scope="session")
def lrm_fixtures() -> Path:
    """The folder of reference numbers, LRM_FIXTURES."""
    return _folder_from("LRM_FIXTURES", "reference numbers")
