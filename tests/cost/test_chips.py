# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The table of slices, against the makers' pages."""

import pytest

from lrm_jax.cost.chips import CHIPS, SLICES, find_slice, of_chip
from lrm_jax.types import UserError


@pytest.mark.parametrize(
    ("name", "topology", "chips", "devices", "hosts"),
    [
        ("v5p-64", "v5p:2x4x4", 32, 32, 8),
        ("v5p-512", "v5p:4x8x8", 256, 256, 64),
        ("v5p:8x8x16", "v5p:8x8x16", 1024, 1024, 256),
        ("v5p-8192", "v5p:16x16x16", 4096, 4096, 1024),
        ("v5litepod-8", "v5e:2x4", 8, 8, 1),
        ("v5litepod-16", "v5e:4x4", 16, 16, 4),
        ("v6e-256", "v6e:16x16", 256, 256, 64),
        ("v4-8", "v4:2x2x1", 4, 4, 1),
        ("v4-32", "v4:2x2x4", 16, 16, 4),
        ("tpu7x:4x4x4", "tpu7x:4x4x4", 64, 128, 16),
    ],
)
def test_a_slice_by_either_name(name, topology, chips, devices, hosts):
    one = find_slice(name)
    found = (one.name, one.chips, one.devices, one.hosts)
    assert found == (topology, chips, devices, hosts)


def test_names_are_unique_and_slices_ordered():
    names = [n for s in SLICES for n in (s.name, s.accelerator_type)]
    assert len(set(names)) == len(names)
    for chip in CHIPS:
        sizes = [s.chips for s in of_chip(chip)]
        assert sizes == sorted(sizes) and len(set(sizes)) == len(sizes)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("v5e:3x3", r"no such slice; there are v5e:1x1 \(v5litepod-1\), .*v5e:16x16"),
        ("v5p-65", r"no such slice; there are v5p:2x2x1 \(v5p-8\)"),
        ("v5litepod-3", r"no such slice; there are v5e:1x1"),
        ("v5:2x4", r"no such chip; did you mean 'v5[ep]'\?.*v4, v5e, v5p, v6e, tpu7x"),
        ("", "no such chip"),
    ],
)
def test_other_names_are_refused_with_those_there_are(name, message):
    with pytest.raises(UserError, match=message) as refused:
        find_slice(name)
    assert "\n" not in str(refused.value)
