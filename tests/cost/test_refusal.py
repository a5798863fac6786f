# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the compiler says when a program does not fit."""

import pytest

from lrm_jax.cost.aot import read_refusal

GIB = 2**30


def test_both_ways_of_saying_so():
    used = (
        "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in "
        "memory space hbm. Used 20.50G of 15.75G hbm. Exceeded hbm capacity by 4.75G."
    )
    assert read_refusal(used, GIB) == (20.5 * GIB, 15.75 * GIB)
    temporaries = (
        "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for "
        "HLO temporaries (18.75G) exceeds available HBM (15.75G)."
    )
    assert read_refusal(temporaries, GIB) == (19.75 * GIB, 15.75 * GIB)


def test_anything_else_is_no_answer():
    with pytest.raises(ValueError, match="refuses: INTERNAL: a bug"):
        read_refusal("INTERNAL: a bug", 0)
