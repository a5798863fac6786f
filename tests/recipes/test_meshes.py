# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Eight devices in any layout are one device, whatever the recipe.

One layout a recipe by default; all of them, and in float64: pytest -m nightly.
"""

import numpy as np
import pytest

from tests.recipes.mesh_runs import (
    MESHES,
    RECIPES,
    alone,
    clear,
    distances,
    run,
    still,
)

WITHOUT_GRADIENT = {"fixed/z_h_init", "fixed/z_l_init"}
"""The initial states are never trained."""
LIMITS = {"float32": 1e-5, "float64": 1e-10}


NIGHTLY = ("sft, dense", "sft, latent attention", "prm, implicit")
"""One kind of model a recipe by default; GRPO's is dense."""


def product():
    """Every recipe on every mesh in both widths; some by default."""
    for name in RECIPES:
        for mesh in MESHES:
            for dtype in LIMITS:
                usual = (mesh, dtype) == ("2 x 2 x 2", "float32")
                by_default = usual and name not in NIGHTLY
                marks = () if by_default else (pytest.mark.nightly,)
                yield pytest.param(name, mesh, dtype, marks=marks)


@pytest.mark.parametrize(("name", "mesh", "dtype"), [*product()])
def test_a_mesh_changes_nothing(name, mesh, dtype):
    limit, one = LIMITS[dtype], alone(name, dtype)
    found = run(name, MESHES[mesh], dtype, one)
    apart = distances(found, one)
    worst = max(apart, key=lambda leaf: apart[leaf])
    gaps = np.abs(np.subtract(found.losses, one.losses))
    print(
        f"{name}, {mesh}, {dtype}: losses {gaps.max():.1e}, {worst} {apart[worst]:.1e}"
    )
    np.testing.assert_allclose(found.losses, one.losses, rtol=limit, atol=limit)
    assert apart[worst] <= limit
    held = {leaf for leaf in still(name, one) if not leaf.startswith("reference/")}
    assert not held - WITHOUT_GRADIENT
    if one.touched:
        table, sure = ("puzzle_table",), clear(one)
        assert sure.mean() > 0.9
        np.testing.assert_array_equal(
            found.params[table][sure], one.params[table][sure]
        )
