# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""XLA's flags for programs that run once: `python tests/quick_compilation.py`."""

from importlib.metadata import version


def xla_flags() -> str:
    """Flags that compile in a third of the time, for the jaxlib that is installed."""
    flags = "--xla_backend_optimization_level=0"
    # Later releases abort at this flag; in this one it is half of the time.
    if tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 11):
        flags += " --xla_cpu_use_fusion_emitters=false"
    return flags


if __name__ == "__main__":
    print(xla_flags())
