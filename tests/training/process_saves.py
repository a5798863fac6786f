# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""One of two processes that restore, save, and of which one dies in a save.

    python -m tests.training.process_saves FOLDER PORT RANK

Each has two devices. Restores step 1 (written by one process) with its weights split
over all four, saves it as step 2, and begins step 3: process 1 ends between its shards
and its list of them, process 0 waits for that list.
"""

import os
import sys

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

SHAPES = {"rows": (8, 6), "columns": (3, 4), "whole": (5,)}
SPECS = {"rows": P("fsdp"), "columns": P(None, "fsdp"), "whole": P()}


def values():
    """What is saved: every element its own."""
    rng = np.random.default_rng(0)
    return {n: rng.normal(size=s).astype(np.float32) for n, s in SHAPES.items()}


def abstract(count):
    """Shapes and where they go, on `count` devices."""
    mesh = jax.make_mesh(
        (count,),
        ("fsdp",),
        axis_types=(AxisType.Auto,),
        devices=jax.devices()[:count],
    )
    return {
        name: jax.ShapeDtypeStruct(
            shape, np.float32, sharding=NamedSharding(mesh, SPECS[name])
        )
        for name, shape in SHAPES.items()
    }


def check(state):
    """Compare the parts that this process holds."""
    for name, want in values().items():
        for shard in state[name].addressable_shards:
            np.testing.assert_array_equal(shard.data, want[shard.index], err_msg=name)


def main():
    folder, port, rank = sys.argv[1], sys.argv[2], int(sys.argv[3])
    jax.distributed.initialize(f"127.0.0.1:{port}", 2, rank)
    from lrm_jax.training import manifest
    from lrm_jax.training.checkpoint import CheckpointConfig, Checkpointer

    saver = Checkpointer(folder, CheckpointConfig(keep=9))
    state, extra, step = saver.restore(abstract(4))
    assert (extra, step) == ({"n": 1}, 1)
    check(state)
    saver.save(2, state, {"n": 2})
    saver.wait()
    if rank == 1:
        manifest.write_part = lambda *args: os._exit(9)
    saver.save(3, state, {"n": 3})
    saver.wait()


if __name__ == "__main__":
    main()
