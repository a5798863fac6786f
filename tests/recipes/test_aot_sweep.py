# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sweeps over slices and meshes, with a compiler of a few lines in place of XLA's."""

import pytest

from lrm_jax import presets
from lrm_jax.cli.aot import describe_sweep
from lrm_jax.recipes import aot_sweep
from lrm_jax.recipes.aot_sweep import meshes
from lrm_jax.types import UserError


@pytest.fixture
def compiled(monkeypatch):
    """Slices and meshes that were compiled for; 8 chips fit, and more are faster."""
    asked = []

    def estimate(config, topology, *, slices, mesh, **options):
        chips = mesh.data * mesh.fsdp * mesh.model * mesh.expert
        asked.append((topology, mesh))
        fits = chips >= 8
        return {
            "fits": fits,
            "bytes_per_chip": {"total": 2**34 // chips},
            "step_time_s_estimate": (1 + mesh.model) / chips if fits else None,
            "bound_by": "memory" if fits else None,
            "mfu": 0.5 if fits else None,
        }

    monkeypatch.setattr(aot_sweep, "estimate", estimate)
    monkeypatch.setattr(aot_sweep, "check_libtpu", lambda: None)
    return asked


def test_a_chips_slices_until_two_fit(compiled):
    found = aot_sweep.sweep(presets.get("hrm_sudoku"), "v5e")
    tried = list(dict.fromkeys(topology for topology, _ in compiled))
    assert tried == ["v5e:1x1", "v5e:2x2", "v5e:2x4", "v5e:4x4"]
    assert found["smallest"]["topology"] == "v5e:2x4"
    assert found["fastest"]["topology"] == "v5e:4x4"
    assert found["smallest"]["mesh"]["model"] == 1
    text = describe_sweep(found)
    assert "smallest: v5e:2x4 data=8,fsdp=1,model=1" in text
    assert "fastest: v5e:4x4 data=16,fsdp=1,model=1" in text


def test_one_slice_and_what_cannot_be_laid_out(compiled):
    config = presets.get("hrm_sudoku")  # 768 lanes do not divide over 512
    found = aot_sweep.sweep(config, "v5e:16x16", slices=2)
    refused = [row for row in found["results"] if row["refused"]]
    assert refused and all(row["fits"] is None for row in refused)
    assert all("must divide" in row["refused"] for row in refused)
    assert "refused" in describe_sweep(found)


def test_nothing_fits(compiled):
    found = aot_sweep.sweep(presets.get("hrm_sudoku"), "v5e:2x2")
    assert found["smallest"] is found["fastest"] is None
    assert "smallest: none" in describe_sweep(found)
    with pytest.raises(UserError, match="no such chip"):
        aot_sweep.sweep(presets.get("hrm_sudoku"), "v9")


def test_experts_are_tried_on_an_axis_of_their_own(compiled):
    config = presets.get("grpo_30b_a3b")
    found = aot_sweep.sweep(config, "v5p-512", programs=["update"])
    assert {mesh.expert for _, mesh in compiled} == {1, 2, 4, 8}
    text = describe_sweep(found)
    assert "data=1,fsdp=8,expert=8,model=4" in text and "expert=1" not in text
    assert not aot_sweep.has_experts(presets.get("grpo_8b"))
    assert all(mesh.expert == 1 for mesh in meshes(32))


def test_what_can_only_fail_is_not_compiled(compiled):
    """Copies of 8B parameters with moments and reference take 122 GiB a chip."""
    found = aot_sweep.sweep(presets.get("grpo_8b"), "v5p:2x2x2")
    copies, split = found["results"][:2]
    assert copies["mesh"]["data"] == 8 and split["mesh"]["fsdp"] == 8
    assert (copies["fits"], copies["compiled"]) == (False, False)
    assert copies["bytes"] == pytest.approx(16 * 8.19e9, rel=0.01)
    assert split["compiled"] and all(mesh.data < 8 for _, mesh in compiled)
    assert "122 GiB, not compiled" in describe_sweep(found)
