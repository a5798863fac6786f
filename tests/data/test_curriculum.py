# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.data.curriculum import Reveal
from lrm_jax.data.pipeline import PuzzleDataConfig, make_source
from lrm_jax.types import UserError

ROWS = np.arange(512, dtype=np.uint32)
INPUTS = np.ones((512, 36), np.int32)
LABELS = np.full((512, 36), 5, np.int32)


def shown(reveal, step):
    return (reveal(np, INPUTS, LABELS, step, 7, ROWS) == 5).mean(axis=1)


def test_share_falls_linearly_to_nothing():
    reveal = Reveal(0.8, 100)
    # a row's share is uniform in [0, 0.8 (1 - step / 100)]: means 0.4, 0.2, 0
    assert shown(reveal, 0).mean() == pytest.approx(0.4, abs=0.03)
    assert shown(reveal, 50).mean() == pytest.approx(0.2, abs=0.02)
    assert shown(reveal, 100).max() == 0
    assert shown(reveal, 10**6).max() == 0
    assert shown(reveal, 0).max() > 0.6  # rows differ in how much they show


def test_host_and_device_agree_to_the_bit():
    reveal = Reveal(0.7, 60000)
    for step in (0, 1, 31234, 59999, 60000):
        host = reveal(np, INPUTS, LABELS, step, 7, ROWS)
        device = jax.jit(lambda s: reveal(jnp, INPUTS, LABELS, s, 7, ROWS))(
            jnp.int32(step)
        )
        np.testing.assert_array_equal(host, device)


def test_ignored_cells_are_never_shown():
    labels = np.where(np.arange(36) % 2, -100, 5)[None].repeat(512, 0)
    out = Reveal(1.0, 10)(np, INPUTS, labels, 0, 7, ROWS)
    assert (out[:, 1::2] == 1).all() and (out[:, ::2] == 5).any()


def test_a_source_shows_true_digits_and_never_hides_givens():
    cfg = PuzzleDataConfig(side=4, holdout="class", test_size=20)
    easy = make_source(dataclasses.replace(cfg, reveal=0.9, reveal_steps=50))
    plain = make_source(cfg)
    early, base = easy.train_batch(0, 64, 3), plain.train_batch(0, 64, 3)
    np.testing.assert_array_equal(early["labels"], base["labels"])
    more = early["inputs"] != base["inputs"]
    assert more.any() and (base["inputs"][more] == 1).all()
    assert (early["inputs"][more] == early["labels"][more]).all()
    late, base = easy.train_batch(50, 64, 3), plain.train_batch(50, 64, 3)
    np.testing.assert_array_equal(late["inputs"], base["inputs"])


@pytest.mark.parametrize(
    ("share", "steps"), [(1.5, 10), (0.5, 70000), (0.5, 0), (0.0, 5)]
)
def test_bad_settings_are_refused(share, steps):
    with pytest.raises(UserError, match="data.reveal"):
        PuzzleDataConfig(reveal=share, reveal_steps=steps)
