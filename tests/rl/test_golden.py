# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Published losses from rewards to number, written as loops over one ragged batch.

Each is the formula as its paper prints it (for DAPO the global token mean that the
released implementations have), in NumPy, sharing no code with the library.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.config import apply_overrides
from lrm_jax.rl.batch import Rollout, prepare_batch
from lrm_jax.rl.config import RolloutConfig
from lrm_jax.rl.objective import loss_denominator, policy_loss
from lrm_jax.rl.variants import variant

LENGTHS = [4, 1, 3, 2, 4, 4]  # two prompts of three completions
REWARDS = [1.0, 0.0, 0.0, 1.0, 1.0, 0.0]
_RNG = np.random.default_rng(7)
OLD = _RNG.normal(-1.5, 0.5, (6, 4))
NEW = OLD + _RNG.normal(0, 0.3, (6, 4))
REF = OLD + _RNG.normal(0, 0.3, (6, 4))
SAMPLER = OLD + _RNG.normal(0, 0.4, (6, 4))
ROLLOUT = RolloutConfig(n_prompts=2, group_size=3, max_new_tokens=5)


def _advantage(i, how):
    group = REWARDS[3 * (i // 3) : 3 * (i // 3) + 3]
    mean = sum(group) / 3
    if how == "leave_one_out":
        others = [r for j, r in enumerate(group) if j != i % 3]
        return REWARDS[i] - sum(others) / 2
    if how == "centred":
        return REWARDS[i] - mean
    sigma = math.sqrt(sum((r - mean) ** 2 for r in group) / 3)
    return (REWARDS[i] - mean) / (sigma + 1e-6)


def _clip(x, low, high):
    return min(max(x, low), high)


def _ppo(i, t, a, low, high):
    rho = math.exp(NEW[i, t] - OLD[i, t])
    return min(rho * a, _clip(rho, low, high) * a)


def _k3(i, t):
    d = REF[i, t] - NEW[i, t]
    return math.exp(d) - 1 - d


def _grpo():
    total = 0.0
    for i, n in enumerate(LENGTHS):
        a = _advantage(i, "std")
        tokens = [_ppo(i, t, a, 0.8, 1.2) - 0.04 * _k3(i, t) for t in range(n)]
        total += sum(tokens) / n
    return -total / 6


def _dapo():
    total = 0.0
    for i, n in enumerate(LENGTHS):
        a = _advantage(i, "std")
        total += sum(_ppo(i, t, a, 0.8, 1.28) for t in range(n))
    return -total / sum(LENGTHS)


def _dr_grpo():
    total = 0.0
    for i, n in enumerate(LENGTHS):
        a = _advantage(i, "centred")
        total += sum(_ppo(i, t, a, 0.8, 1.2) for t in range(n)) / 5
    return -total / 6


def _gspo():
    total = 0.0
    for i, n in enumerate(LENGTHS):
        a = _advantage(i, "std")
        s = math.exp(sum(NEW[i, t] - OLD[i, t] for t in range(n)) / n)
        total += min(s * a, _clip(s, 1 - 3e-4, 1 + 4e-4) * a)
    return -total / 6


def _cispo():
    total = 0.0
    for i, n in enumerate(LENGTHS):
        a = _advantage(i, "std")
        for t in range(n):
            weight = min(math.exp(NEW[i, t] - OLD[i, t]), 5)
            total += weight * a * NEW[i, t]
    return -total / sum(LENGTHS)


def _rloo():
    total = 0.0
    for i, n in enumerate(LENGTHS):
        total += _advantage(i, "leave_one_out") * sum(NEW[i, t] for t in range(n))
    return -total / 6


def _tis():
    """DAPO with truncated importance sampling, C = 2."""
    total = 0.0
    for i, n in enumerate(LENGTHS):
        a = _advantage(i, "std")
        for t in range(n):
            w = min(math.exp(OLD[i, t] - SAMPLER[i, t]), 2)
            total += w * _ppo(i, t, a, 0.8, 1.28)
    return -total / sum(LENGTHS)


TIS = ["correction.kind=token_truncate", "correction.high=2"]


@pytest.mark.parametrize(
    ("name", "overrides", "formula"),
    [
        ("grpo", [], _grpo),
        ("dapo", ["overlong.buffer_tokens=0"], _dapo),
        ("dapo", ["overlong.buffer_tokens=0", *TIS], _tis),
        ("dr_grpo", [], _dr_grpo),
        ("gspo", [], _gspo),
        ("cispo", [], _cispo),
        ("rloo", ["kl.coef=0"], _rloo),
    ],
)
def test_the_loss_is_the_printed_formula(name, overrides, formula):
    cfg = apply_overrides(variant(name, ROLLOUT), overrides)
    lengths = np.array(LENGTHS)
    rollout = Rollout(
        mask=np.arange(4)[None, :] < lengths[:, None],
        sampler_logps=SAMPLER,
        rewards=np.array(REWARDS),
        accuracy=np.array(REWARDS),
        truncated=np.zeros(6, bool),
        lengths=lengths,
        old_logps=OLD,
        ref_logps=REF,
    )
    with jax.enable_x64(True):
        batch = prepare_batch(cfg, rollout).batch
        result = policy_loss(
            cfg, jnp.asarray(NEW), batch, denominators=loss_denominator(batch)
        )
    np.testing.assert_allclose(result.loss, formula(), rtol=1e-12)
