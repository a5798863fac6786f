# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""JSON lines of measurements on a device, written as they come; no table by itself.

Of `gpu_policy.py` and `gpu_latent.py`: parts run one after another while there is
time; one that fails is recorded and the rest go on, and the command then exits 1.
"""

import argparse
import gzip
import json
import statistics
import time
import traceback
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

PEAK_FLOPS = 790e12
"""FLOP/s of bfloat16 products on an H200, measured on random data: MFU is of this."""


class DeviceLog:
    """Prints every record and appends it to `OUT/NAME.jsonl`."""

    def __init__(self, name, out="", limit_s=540.0):
        self.began, self.limit_s, self.failed = time.perf_counter(), limit_s, []
        self.folder, self.file = None, None
        if out:
            self.folder = Path(out)
            self.folder.mkdir(parents=True, exist_ok=True)
            self.file = self.folder / f"{name}.jsonl"
            self.file.write_text("")

    def write(self, part, **figures):
        at_s = round(time.perf_counter() - self.began, 2)
        line = json.dumps({"part": part, "at_s": at_s, **figures}, default=float)
        print(line, flush=True)
        if self.file:
            with self.file.open("a") as file:
                file.write(line + "\n")

    def left_s(self):
        return self.limit_s - (time.perf_counter() - self.began)

    def run(self, part, function, *args, needs_s=0.0, **kwargs):
        """Run one part, or say why not; returns what it returns, None otherwise."""
        if self.left_s() < needs_s:
            self.write(part, skipped=f"{self.left_s():.0f} s left of {needs_s:.0f}")
            return None
        try:
            return function(self, *args, **kwargs)
        except Exception as error:
            # Out of memory in one part must not lose the time of the others.
            self.failed.append(part)
            last = traceback.format_exc().strip().splitlines()[-8:]
            self.write(part, error=f"{type(error).__name__}: {error}"[:2000])
            print("\n".join(last), flush=True)
            return None

    def keep_program(self, name, compiled):
        """Keep the optimised program, to be read afterwards."""
        if self.folder:
            text = compiled.as_text()
            with gzip.open(self.folder / f"{name}.hlo.txt.gz", "wt") as file:
                file.write(text)

    def exit_code(self):
        self.write("end", failed=self.failed)
        return 1 if self.failed else 0


def arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", default="", help="folder of the records")
    parser.add_argument("--limit-s", type=float, default=540, help="starts no more")
    parser.add_argument("--scale", choices=("full", "smoke"), default="full")
    parser.add_argument("--only", action="append", help="this part; may be repeated")
    return parser


def clocked(function, *args):
    """Return the result, finished, and the seconds it took."""
    began = time.perf_counter()
    result = jax.block_until_ready(function(*args))
    return result, time.perf_counter() - began


def compiled(function, *args, **options):
    """Return the program of a call, and seconds to trace and compile it."""
    began = time.perf_counter()
    program = jax.jit(function, **options).lower(*args).compile()
    return program, time.perf_counter() - began


def timed_steps(program, state, args, count, *, warm_up=2):
    """Return the state after, the last result and the seconds of each step."""
    times, result = [], None
    for i in range(warm_up + count):
        began = time.perf_counter()
        state, result = program(state, *args)
        jax.block_until_ready((state, result))
        times += [time.perf_counter() - began] if i >= warm_up else []
    return state, result, times


def spread(times):
    """Return the median, least and largest of some seconds."""
    return {
        "median_s": statistics.median(times),
        "min_s": min(times),
        "max_s": max(times),
        "samples": len(times),
    }


def relative(ours, reference):
    """Return |ours - reference| / |reference| over a whole tree, in float64."""
    there = [np.asarray(x, np.float64) for x in jax.tree.leaves(reference)]
    here = [np.asarray(x, np.float64) for x in jax.tree.leaves(ours)]
    gap = sum(float(np.sum((a - b) ** 2)) for a, b in zip(here, there, strict=True))
    return float(np.sqrt(gap / sum(float(np.sum(b**2)) for b in there)))


def memory_bytes(program):
    """Return what the compiler plans to use, arguments included."""
    plan = program.memory_analysis()
    if plan is None:
        return None
    whole = plan.argument_size_in_bytes + plan.output_size_in_bytes
    return int(whole - plan.alias_size_in_bytes + plan.temp_size_in_bytes)


def ceilings(log, *, size, copy_bytes):
    """Measure what the device itself reaches: a product and a copy, random data."""
    device = jax.devices()[0]
    stats = device.memory_stats() or {}
    x, y = (
        jax.random.normal(jax.random.key(seed), (size, size), jnp.bfloat16)
        for seed in range(2)
    )
    product = jax.jit(jnp.matmul)
    clocked(product, x, y)
    matmul = [clocked(product, x, y)[1] for _ in range(10)]
    big = jax.random.bits(jax.random.key(2), (copy_bytes // 4,), jnp.uint32)
    copy = jax.jit(lambda a: a ^ 1)
    clocked(copy, big)
    copies = [clocked(copy, big)[1] for _ in range(10)]
    log.write(
        "device",
        kind=device.device_kind,
        backend=jax.default_backend(),
        platform=device.client.platform_version,
        jax=jax.__version__,
        memory_bytes=stats.get("bytes_limit"),
        matmul_flops_per_s=2 * size**3 / statistics.median(matmul),
        copy_bytes_per_s=2 * copy_bytes / statistics.median(copies),
    )
