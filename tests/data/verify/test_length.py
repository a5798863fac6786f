# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Length rewards against values worked by hand."""

import numpy as np

from lrm_jax.data.verify import length
from lrm_jax.data.verify.length import EASY, HARD


def test_kimi_group_by_hand():
    lengths = np.array([[10.0, 20, 30, 30], [5, 5, 5, 5]])
    correct = np.array([[1.0, 1, 1, 0], [1, 0, 1, 0]])
    expected = [[0.5, 0.0, -0.5, -0.5], [0, 0, 0, 0]]
    np.testing.assert_array_equal(length.kimi_length(lengths, correct), expected)
    # A short wrong answer gains nothing.
    wrong = length.kimi_length(lengths[:1], np.zeros((1, 4)))
    np.testing.assert_array_equal(wrong, [[0, 0, -0.5, -0.5]])


def test_l1_by_hand():
    lengths, targets = np.array([100.0, 150, 60]), np.array([100.0, 100, 100])
    exact = length.l1_exact(lengths, targets, alpha=0.01)
    np.testing.assert_allclose(exact, [0, -0.5, -0.4])
    maximum = length.l1_max(lengths, targets, np.array([1.0, 1, 1]), alpha=0.01)
    np.testing.assert_allclose(maximum, [0.5, 0.0, 0.9])
    assert length.l1_max(lengths, targets, np.zeros(3), alpha=0.01).tolist() == [0] * 3


def test_cosine_at_its_corners():
    at = {"max_length": 1000, "right_from": 600, "wrong_until": 400}

    def reward(tokens, correct, ended=1, thought=1):
        values = [np.array([float(v)]) for v in (tokens, correct, ended, thought)]
        return round(float(length.cosine_length(*values, **at)[0]), 9)

    assert [reward(n, 1) for n in (0, 600, 800, 1000)] == [1, 1, 0.75, 0.5]
    assert [reward(n, 0) for n in (0, 200, 400, 1000)] == [-1, -0.75, -0.5, -0.5]
    assert reward(1000, 1, ended=0) == -0.5
    assert reward(10, 1, thought=0) == reward(10, 0, ended=0, thought=0) == -1


def test_cosine_is_monotone_and_the_ranges_never_overlap():
    lengths = np.arange(0, 1001, dtype=np.float64)
    ones = np.ones_like(lengths)
    at = {"max_length": 1000, "right_from": 600, "wrong_until": 400}
    right = length.cosine_length(lengths, ones, ones, ones, **at)
    wrong = length.cosine_length(lengths, 0 * ones, ones, ones, **at)
    assert (np.diff(right) <= 0).all() and (np.diff(wrong) >= 0).all()
    assert right.min() >= 0.5 > -0.5 >= wrong.max()


def test_adactrl_by_hand():
    correct = np.array([[1.0, 1, 1, 0], [1, 0, 0, 0]])
    easy = length.adactrl_labels(correct)
    assert easy.tolist() == [True, False]
    tags = np.array([[EASY, HARD, EASY, ""], [HARD, HARD, EASY, HARD]], object)
    calibration = length.adactrl_calibration(tags, easy)
    assert calibration.tolist() == [[1, 0, 1, -1], [1, 1, 0, 1]]
    lengths = np.array([[0.0, 10, 5, 10], [0, 10, 10, 5]])
    reward = length.adactrl_length(lengths, tags, easy)
    np.testing.assert_allclose(reward, [[1, 0, 0.5, 0], [0, 1, 0, 0.5]], atol=1e-12)


def test_adactrl_label_flips_above_the_threshold():
    # 5 of 8 is .625, the threshold itself: not above it.
    assert not length.adactrl_labels(np.array([[1.0] * 5 + [0] * 3]))[0]
    assert length.adactrl_labels(np.array([[1.0] * 6 + [0] * 2]))[0]


def test_difficulty_tags():
    assert length.difficulty_tag("[Easy] so") == EASY
    assert length.difficulty_tag("<think>\n[Hard]so") == HARD
    assert length.difficulty_tag("it is [Easy]") == ""


def test_repetition_is_minus_the_share_of_repeated_runs():
    assert length.repetition("a b c d e f") == 0
    assert length.repetition("a b") == 0
    # 6 runs of 5 words: the 6th is the 1st again.
    assert abs(length.repetition("<think>a b c d e</think>a b c d e") + 1 / 6) < 1e-12
    assert length.repetition("x " * 100) == 1 / 96 - 1
