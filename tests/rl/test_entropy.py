# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.rl.config import EntropyConfig
from lrm_jax.rl.entropy import active_coef, init_entropy, update_entropy

ADAPTIVE = EntropyConfig(kind="adaptive", coef=0.0, target=0.2, step=0.1, coef_max=0.25)


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit])
def test_the_controller_s_trace(wrap):
    update = wrap(lambda s, h: update_entropy(ADAPTIVE, s, h))
    active = wrap(lambda s, h: active_coef(ADAPTIVE, s, h))
    state, trace, used = init_entropy(ADAPTIVE), [], []
    for h in (0.5, 0.1, 0.1, 0.1, 0.2, 0.1, 0.9, 0.9, 0.9, 0.9):
        h = jnp.asarray(h)
        used.append(float(active(state, h)))
        state = update(state, h)
        trace.append(float(state.coef))
    # Down at first (already 0), up to the bound, down at the target and above.
    want = [0, 0.1, 0.2, 0.25, 0.15, 0.25, 0.15, 0.05, 0, 0]
    np.testing.assert_allclose(trace, want, atol=1e-7)
    # What a step uses is the coefficient before it, and only below the target.
    np.testing.assert_allclose(used, [0, 0, 0.1, 0.2, 0, 0.15, 0, 0, 0, 0], atol=1e-7)


def test_other_kinds_are_constant():
    for kind, coef in (("none", 0.0), ("bonus", 0.3)):
        cfg = EntropyConfig(kind=kind, coef=coef)
        state = init_entropy(cfg)
        np.testing.assert_allclose(active_coef(cfg, state, jnp.asarray(9.0)), coef)
        assert update_entropy(cfg, state, jnp.asarray(0.0)) is state


def test_the_state_keeps_its_type():
    state = init_entropy(ADAPTIVE)
    after = update_entropy(ADAPTIVE, state, jnp.asarray(0.1, jnp.bfloat16))
    assert after.coef.dtype == state.coef.dtype
