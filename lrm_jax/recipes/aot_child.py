# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The child process of `lrm aot`: `python -m lrm_jax.recipes.aot_child` < request."""

from typing import Any

from lrm_jax.cost.child import answer


def main(request: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of one program, for `aot.estimate`."""
    from lrm_jax.cost.aot import topology_devices
    from lrm_jax.cost.chips import find_slice
    from lrm_jax.recipes.aot import compile_for
    from lrm_jax.recipes.registry import read_config_of

    one = find_slice(request["topology"])
    config = read_config_of(request["config"], "the request")
    slices = request["slices"]
    return compile_for(
        config,
        one,
        topology_devices(one, slices),
        program=request["program"],
        slices=slices,
        full_effort=request["full_effort"],
    )


if __name__ == "__main__":
    answer(main)
