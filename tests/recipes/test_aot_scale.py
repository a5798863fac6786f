# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Presets at scale compiled for real slices: minutes each, run nightly.

pytest -m nightly tests/recipes/test_aot_scale.py; needs libtpu.
"""

import functools
import importlib.util

import pytest

from lrm_jax import presets
from lrm_jax.config import replace
from lrm_jax.presets.scale import SLICES
from lrm_jax.recipes.aot import estimate
from lrm_jax.sharding import MeshConfig

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(
        importlib.util.find_spec("libtpu") is None,
        reason='libtpu is not installed: pip install "lrm-jax[tpu]"',
    ),
]
PARAMS_8B = 36 * (2 * 4096 * (4096 + 1024) + 3 * 4096 * 12_288)
"""Of the blocks, which every token is multiplied with."""


def update_of(config, topology, mesh):
    return estimate(config, topology, mesh=mesh, programs=("update",))


V5P = {64: "v5p:4x4x4", 256: "v5p:4x8x8", 1024: "v5p:8x8x16"}


@functools.cache
def scaled(chips):
    """The 8B update with equal tokens a chip and equal model axis."""
    changes = {"rl.rollout.n_prompts": chips, "eval.batch_size": 512}
    config = replace(presets.get("grpo_8b"), changes)
    return update_of(config, V5P[chips], MeshConfig(1, chips // 4, model=4))


def axis_bytes(data, axis):
    rows = data["collectives"]
    return sum(row["bytes"] for row in rows if row["axis"] == axis)


def test_hrm_sudoku_on_eight_chips():
    data = estimate(presets.get("hrm_sudoku"), "v5e:2x4")
    assert data["fits"]
    assert data["hardware_flops"] == pytest.approx(data["model_flops"], rel=0.05)
    weights = 27_275_266
    held = data["bytes_per_chip"]
    assert held["params"] == pytest.approx(4 * weights, rel=0.1)
    assert held["optimizer"] == pytest.approx(8 * weights, rel=0.1)


def test_the_8b_update_on_1024_chips():
    data = scaled(1024)
    assert data["fits"]
    rows, length = 8192, 8192
    attention = 3 * 4 * 36 * 32 * 128 * length * length * rows
    head = 6 * 151_936 * 4096 * 7168 * rows
    hand = 6 * PARAMS_8B * rows * length + attention + head
    assert data["model_flops"] == pytest.approx(hand, rel=0.05)
    assert data["flops_per_chip"] == pytest.approx(hand * 4 / 3 / 1024, rel=0.1)
    every = PARAMS_8B + 2 * 151_936 * 4096
    held = data["bytes_per_chip"]
    assert held["params"] == pytest.approx(4 * every / 1024, rel=0.1)
    assert held["optimizer"] == pytest.approx(8 * every / 1024, rel=0.1)


def test_collectives_of_a_chip_hardly_grow():
    whole = lambda data: sum(row["bytes"] for row in data["collectives"])
    assert whole(scaled(1024)) / whole(scaled(64)) < 1.1
    for chips in (256, 1024):
        growth = axis_bytes(scaled(chips), "model") / axis_bytes(scaled(64), "model")
        assert growth < 1.02


def test_what_an_8b_update_sends_over_fsdp_by_hand():
    every = (PARAMS_8B + 2 * 151_936 * 4096) / 4  # of a part along the model axis
    # For each of 32 micro-batches: gathered in bfloat16 forward and to recompute,
    # float32 gradients scattered.
    hand = 32 * (2 + 2 + 4) * every * 255 / 256
    assert axis_bytes(scaled(1024), "fsdp") == pytest.approx(hand, rel=0.05)


def test_no_lane_waits_for_others_in_the_token_loop():
    place, layers = SLICES["grpo_8b"], 2
    config = replace(presets.get("grpo_8b"), {"model.n_layers": layers})
    data = estimate(config, place.topology, mesh=place.mesh, programs=("rollout",))
    assert data["fits"]
    assert not any(program["notes"] for program in data["programs"])
    # Weights are gathered over fsdp before the loop, once, in float32.
    count = layers / 36 * PARAMS_8B + 2 * 151_936 * 4096
    hand = 4 * count / 4 * 7 / 8
    assert axis_bytes(data, "fsdp") == pytest.approx(hand, rel=0.02)


def test_gathered_weights_grow_as_a_rings_share_does():
    # Among 16 the compiler moves activations in place of weights, at other cost.
    wanted = (255 / 256) / (63 / 64)
    growth = axis_bytes(scaled(1024), "fsdp") / axis_bytes(scaled(256), "fsdp")
    assert growth == pytest.approx(wanted, rel=0.02)


def test_a_split_puzzle_table_is_never_gathered():
    place = SLICES["trm_arc_1m"]
    data = update_of(presets.get("trm_arc_1m"), place.topology, place.mesh)
    assert data["fits"]
    table = 1_200_000 * 512 * 4
    largest = [c for p in data["programs"] for c in p["largest"]]
    assert all(one["whole_bytes"] < table / 4 for one in largest)


def test_hrm_of_a_billion_fits_where_it_is_meant_for():
    place = SLICES["hrm_1b"]
    data = update_of(presets.get("hrm_1b"), place.topology, place.mesh)
    assert data["fits"]
    assert data["bytes_per_chip"]["params"] > 4e9 / 64
