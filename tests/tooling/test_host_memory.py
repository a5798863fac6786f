# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from lrm_jax.tooling.host_memory import keep_large_blocks
took = keep_large_blocks() if sys.argv[1] == "keep" else None
import jax, jax.numpy as jnp
def loss(x):
    for _ in range(8):
        x = jnp.tanh(x @ x)
    return x.sum()
f = jax.jit(lambda x: jnp.sum(jax.grad(loss)(x)))
x = jnp.ones((1000, 1000))
counts = [resource.getrusage(resource.RUSAGE_SELF).ru_minflt]
for _ in range(4):  # the heap grows for a while to what a step needs: the least counts
    for _ in range(3):
        f(x).block_until_ready()
    counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(took, min(after - before for before, after in zip(counts, counts[1:])))
"""


def faults(mode):
    command = [sys.executable, "-c", PROGRAM, mode]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    took, count = out.split()
    return took, int(count)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_repeated_steps_stop_faulting():
    _, without = faults("leave")
    took, with_setting = faults("keep")
    if took != "True":
        pytest.skip("the C library here is not glibc")
    assert with_setting < without / 2
