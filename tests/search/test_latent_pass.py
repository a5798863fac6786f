# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.models.latent import LatentConfig, latent_core
from lrm_jax.reasoning.budget import lane_keys, think_for
from lrm_jax.reasoning.halting import HaltingConfig
from lrm_jax.reasoning.latent import LatentReasoner
from lrm_jax.search.latent_noise import NoiseConfig, sigmas, trajectory_keys
from lrm_jax.search.latent_pass import first_equal, run_trajectories
from lrm_jax.types import UserError

CONFIG = LatentConfig(
    vocab_size=6, seq_len=16, puzzle_emb_dim=0, d_model=16, n_heads=2, ff_multiple=16,
    h_layers=0, l_layers=1, h_cycles=2, l_cycles=2, positions="rope",
    grad_depth="last_recursion",
)  # fmt: skip
STEPS, WIDTH = 4, 3


@pytest.fixture(scope="module")
def reasoner():
    return LatentReasoner(latent_core(CONFIG), HaltingConfig("halt_only", max_steps=4))


@pytest.fixture(scope="module")
def params(reasoner):
    drawn = reasoner.core.init(jax.random.key(0))
    kernel = drawn["weights"]["q_head"]["kernel"]
    head = {
        "kernel": 0.1 * jax.random.normal(jax.random.key(5), kernel.shape),
        "bias": jnp.zeros(2),
    }
    return {**drawn, "weights": {**drawn["weights"], "q_head": head}}


def problems(count):
    inputs = np.random.default_rng(0).integers(1, 6, (count, 16)).astype(np.int32)
    return {"inputs": jnp.asarray(inputs), "puzzle_ids": jnp.zeros(count, jnp.int32)}


def judge(ids):
    return ids[:, 0] == ids[:, 1]


@jax.jit
def _select(problem, rows):
    return jax.tree.map(lambda x: x[rows], problem)


def passes(reasoner, params, problem, rows, width=WIDTH, sigma=0.5, noise=None):
    """The pass over problems `rows`, whose keys are those of their numbers."""
    rows = jnp.asarray(rows)
    noise = noise or NoiseConfig(sigma)
    scale = jnp.asarray(sigmas(noise, STEPS)) if noise.sigma else None
    lanes = _select(problem, jnp.repeat(rows, width))
    return _run(reasoner, params, lanes, lane_keys(jax.random.key(1), rows), scale,
                width=width, noise=noise)  # fmt: skip


@jax.jit(static_argnames=("reasoner", "width", "noise"))
def _run(reasoner, params, lanes, keys, scale, *, width, noise):
    return run_trajectories(
        reasoner, params, lanes, keys, scale, width=width, steps=STEPS, noise=noise,
        judge=judge,
    )  # fmt: skip


def test_without_noise_one_trajectory_is_the_plain_evaluation_bit_for_bit(
    reasoner, params
):
    problem = problems(4)
    seen = passes(reasoner, params, problem, range(4), width=1, sigma=0.0)

    @jax.jit
    def plain(params, problem):
        def observe(carry, signals):
            return signals.halt, reasoner.answer(params, carry).ids

        keys = lane_keys(jax.random.key(1), jnp.arange(4))
        return think_for(
            reasoner, params, problem, keys, max_steps=STEPS, observe=observe
        ).record

    halt, ids = plain(params, problem)
    np.testing.assert_array_equal(seen.halt[:, 0], halt.T)
    np.testing.assert_array_equal(seen.right[:, 0], jax.vmap(judge)(ids).T)


def test_the_first_trajectory_stays_clean_and_the_others_differ(reasoner, params):
    problem = problems(4)
    plain = passes(reasoner, params, problem, range(4), sigma=0.0)
    noisy = passes(reasoner, params, problem, range(4))
    np.testing.assert_array_equal(noisy.halt[:, 0], plain.halt[:, 0])
    assert (noisy.halt[:, 1:] != plain.halt[:, 1:]).all()
    assert (noisy.halt[:, 1] != noisy.halt[:, 2]).all()
    all_noisy = passes(
        reasoner, params, problem, range(4), noise=NoiseConfig(0.5, clean_first=False)
    )
    assert (all_noisy.halt[:, 0] != plain.halt[:, 0]).all()


def test_a_trajectory_depends_on_its_problem_and_number_alone(reasoner, params):
    problem = problems(4)
    together = passes(reasoner, params, problem, [0, 1, 2, 3])
    moved = passes(reasoner, params, problem, [3, 3, 1, 0])
    for name in ("halt", "residual", "right", "group"):
        a, b = np.asarray(getattr(together, name)), np.asarray(getattr(moved, name))
        np.testing.assert_array_equal(a[[3, 3, 1, 0]], b)
    # Other lane counts: other matrix shapes; rounding grows from segment to segment.
    narrow = passes(reasoner, params, problem, [2], width=2)
    a, b = narrow.halt[0, :, :2], together.halt[2, :2, :2]
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_decayed_step_keeps_its_bits_and_the_states_are_the_named_ones(
    reasoner, params
):
    problem = problems(2)
    carry = reasoner.start(params, problem, jax.random.split(jax.random.key(0), 2))
    keys = jax.random.split(jax.random.key(2), 2)
    moved = reasoner.perturb(
        carry, jax.random.clone(keys), jnp.array([0.0, 0.5]), ("z_l",)
    )
    np.testing.assert_array_equal(moved.z_h, carry.z_h)
    np.testing.assert_array_equal(moved.z_l[0], carry.z_l[0])
    spread = np.std(np.asarray(moved.z_l[1] - carry.z_l[1]))
    assert 0.4 < spread < 0.6
    both = reasoner.perturb(
        carry, jax.random.clone(keys), jnp.array([0.5, 0.5]), ("z_h", "z_l")
    )
    np.testing.assert_array_equal(both.z_l[1], moved.z_l[1])
    assert (both.z_h - carry.z_h != both.z_l - carry.z_l).any()
    assert float(reasoner.change(carry, both)[0]) == pytest.approx(
        float(jnp.sqrt(jnp.mean(jnp.square(both.z_h[0] - carry.z_h[0])))), rel=1e-6
    )


def test_keys_of_trajectories():
    keys = jax.random.split(jax.random.key(0), 2)
    data = jax.random.key_data(trajectory_keys(jax.random.clone(keys), 3))
    np.testing.assert_array_equal(data[::3], jax.random.key_data(keys))
    assert len({tuple(word) for word in np.asarray(data)}) == 6
    wider = jax.random.key_data(trajectory_keys(jax.random.clone(keys), 5))
    np.testing.assert_array_equal(wider.reshape(2, 5, 2)[:, :3], data.reshape(2, 3, 2))


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [2, 2, 2, 2, 2]),
        ("linear", [2, 1.5, 1, 0.5, 0]),
        ("cosine", [2, 1 + 0.5**0.5, 1, 1 - 0.5**0.5, 0]),
        ("first", [2, 0, 0, 0, 0]),
    ],
)
def test_schedules(schedule, expected):
    noise = NoiseConfig(2.0, schedule)
    np.testing.assert_allclose(sigmas(noise, 5), expected, atol=1e-6)
    assert sigmas(noise, 1).tolist() == [2.0]


def test_equal_answers_share_the_number_of_the_first():
    ids = jnp.array([[[1, 2], [3, 4], [1, 2], [3, 4]], [[5, 5]] * 4])
    assert first_equal(ids).tolist() == [[0, 1, 0, 1], [0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sigma": -0.1}, "sigma=-0.1"),
        ({"sigma": float("nan")}, "sigma=nan"),
        ({"schedule": "step"}, "constant, linear, cosine, first"),
        ({"states": ("z",)}, "z_h, z_l"),
    ],
)
def test_noise_refuses(change, said):
    with pytest.raises(UserError, match=said):
        dataclasses.replace(NoiseConfig(), **change)
