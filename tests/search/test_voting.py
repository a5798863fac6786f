# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Votes: classes of answers, ties, permutations, arrays against Python, subsets."""

import functools
import itertools
import math
from collections import Counter
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.data.verify.equivalence import equal_answers
from lrm_jax.search import subsets, vote_arrays, voting
from lrm_jax.types import UserError


def test_spellings_of_a_number_are_one_class():
    answers = ["1/2", "3", None, "0.5", r"\frac12", "3.0", None]
    assert voting.classes(answers, equal_answers) == [1, 0, -1, 1, 1, 0, -1]


def test_a_chain_of_equivalences_is_one_class():
    near = lambda a, b: abs(int(a) - int(b)) <= 1  # 1 ~ 2 ~ 3, but not 1 ~ 3
    answers = ["3", "9", "1", "2", "8"]
    assert voting.classes(answers, near) == [0, 1, 0, 0, 1]
    assert voting.classes(["3", "9", "1", "8"], near) == [1, 2, 0, 2]


def test_one_direction_of_an_asymmetric_equivalence_is_enough():
    covers = lambda a, b: a.startswith(b) or None
    assert voting.classes(["x", "x=5", "y"], covers) == [0, 0, 1]


def test_the_order_of_candidates_changes_no_class():
    answers = ["10", "1/2", None, "5", "0.5", "10", "x"]
    want = dict(zip(answers, voting.classes(answers, equal_answers), strict=True))
    for order in itertools.islice(itertools.permutations(answers), 0, 5040, 61):
        assert voting.classes(order, equal_answers) == [want[a] for a in order]


def test_no_answer_is_never_the_majority():
    vote = voting.majority([-1, -1, -1, 1, 0, 1])
    assert vote.winner == 1
    np.testing.assert_allclose(vote.share, [0, 0, 0, 0.5, 0, 0.5])
    nobody = voting.majority([-1, -1])
    assert nobody.winner == -1 and not nobody.share.any()
    assert voting.majority([]).winner == -1


def test_ties_have_a_rule_and_an_expectation():
    vote = voting.majority([2, 0, 2, 0, 1])
    assert vote.winner == 0  # of classes 0 and 2, two votes each
    assert vote.expected([1, 0, 1, 0, 0]) == 0.5
    best = voting.best_of([-1, 3, 1, 1], [0.9, 0.9, 0.9, 0.1])
    assert best.winner == 1
    np.testing.assert_allclose(best.share, [1 / 3, 1 / 3, 1 / 3, 0])


def test_weights_decide_and_an_unanswered_one_does_not_count():
    vote = voting.weighted([0, 0, 1, -1], [0.2, 0.3, 0.6, 5.0])
    assert vote.winner == 1 and vote.share.tolist() == [0, 0, 1, 0]


def test_sums_that_are_equal_tie_in_any_order():
    weights = [0.1, 0.2, 0.3, 0.3, 0.2, 0.1]
    for order in itertools.permutations(range(6)):
        ids = [int(i >= 3) for i in order]
        vote = voting.weighted(ids, [weights[i] for i in order])
        assert vote.winner == 0 and vote.share == pytest.approx(np.full(6, 1 / 6))


def test_nothing_to_score_never_wins():
    assert voting.best_of([0, 1], [-math.inf, -5.0]).winner == 1
    nobody = voting.best_of([0, 1], [-math.inf, -math.inf])
    assert nobody.winner == -1 and not nobody.share.any()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: voting.best_of([0, 1], [0.1, math.nan]), "candidate 1 is NaN"),
        (lambda: voting.weighted([0, 1], [0.1, -1.0]), "candidate 1: weight -1.0"),
        (lambda: voting.weighted([0, 1], [math.inf, 0.0]), "candidate 0: weight inf"),
        (lambda: voting.weighted([0, 1], [1.0]), "1 of 2 candidates"),
        (lambda: subsets.majority_curve([0] * 1001, [1] * 1001), "1001 candidates"),
    ],
)
def test_what_is_refused(call, said):
    with pytest.raises(UserError, match=said):
        call()


ARRAYS = {
    "majority": lambda ids, scores, valid: vote_arrays.majority(ids, valid),
    "weighted": vote_arrays.weighted,
    "best_of": vote_arrays.best_of,
}
PYTHON = {
    "majority": lambda ids, scores: voting.majority(ids),
    "weighted": voting.weighted,
    "best_of": voting.best_of,
}


def _lanes(seed, rows=300, n=6):
    rng = np.random.default_rng(seed)
    ids = rng.integers(-1, n // 2, (rows, n)).astype(np.int32)
    # Eighths: sums are exact in float32, so that both forms see the same ties.
    scores = (rng.integers(0, 5, (rows, n)) / 8).astype(np.float32)
    return ids, scores, rng.random((rows, n)) < 0.8


@pytest.mark.parametrize("method", ARRAYS)
def test_arrays_are_the_python_forms(method):
    ids, scores, valid = _lanes(0)
    found = jax.jit(ARRAYS[method])(ids, scores, valid)
    plain = ARRAYS[method](jnp.asarray(ids), jnp.asarray(scores), jnp.asarray(valid))
    np.testing.assert_array_equal(found.share, plain.share)
    found = jax.device_get(found)
    for row in range(len(ids)):
        there = valid[row]
        want = PYTHON[method](ids[row, there].tolist(), scores[row, there].tolist())
        assert int(found.winner[row]) == want.winner
        np.testing.assert_allclose(found.share[row, there], want.share, rtol=1e-6)
        assert not found.share[row, ~there].any()


@pytest.mark.parametrize("method", ARRAYS)
def test_permuted_candidates_have_the_same_bits(method):
    ids, _, valid = _lanes(1)
    rng = np.random.default_rng(2)
    scores = rng.random(ids.shape).astype(np.float32)  # sums round
    order = np.argsort(rng.random(ids.shape), axis=1)
    moved = [np.take_along_axis(x, order, 1) for x in (ids, scores, valid)]
    call = jax.jit(ARRAYS[method])
    first, second = call(ids, scores, valid), call(*moved)
    np.testing.assert_array_equal(first.winner, second.winner)
    np.testing.assert_array_equal(
        np.take_along_axis(np.asarray(first.share), order, 1), second.share
    )


def test_a_nan_spoils_its_lane_alone():
    ids = jnp.array([[0, 1], [0, 1], [-1, 0]])
    scores = jnp.array([[0.5, jnp.nan], [0.5, 0.25], [jnp.nan, 1.0]])
    vote = vote_arrays.weighted(ids, scores)
    assert np.isnan(vote.share[0]).all()
    assert vote.share[1:].tolist() == [[1, 0], [0, 1]]  # no answer, no vote
    best = vote_arrays.best_of(ids, scores)
    assert np.isnan(best.share).any(1).tolist() == [True, False, True]


def test_low_precision_scores_are_summed_in_float32():
    ids = jnp.zeros((1, 600), jnp.int32).at[0, 300:].set(1)
    weights = jnp.ones((1, 600), jnp.bfloat16).at[0, 0].set(1.0078125)
    vote = vote_arrays.weighted(ids, weights)  # 300 of ones is 256 in bfloat16
    assert vote.winner.tolist() == [0] and vote.share.dtype == jnp.float32


def _enumerated(vote, right, n):
    """The mean over all subsets of n, in fractions."""
    found = [
        vote(list(chosen), right)
        for chosen in itertools.combinations(range(len(right)), n)
    ]
    return sum(found, Fraction(0)) / len(found)


def _majority_of(ids, chosen, right):
    counts = Counter(ids[i] for i in chosen if ids[i] >= 0)
    tied = [k for k, c in counts.items() if c == max(counts.values())]
    # A class is worth what any of all its candidates is, drawn or not.
    worth = {}
    for k in tied:
        members = [right[i] for i in range(len(ids)) if ids[i] == k]
        worth[k] = Fraction(sum(members), len(members))
    return sum(worth.values(), Fraction(0)) / max(1, len(tied))


@pytest.mark.parametrize("seed", range(12))
def test_majority_of_every_n_is_the_enumeration(seed):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 9))
    ids = rng.integers(-1, 4, size).tolist()
    right = rng.integers(0, 2, size).tolist()
    curve = subsets.majority_curve(ids, right)
    for n in range(1, size + 1):
        vote = lambda chosen, right: _majority_of(ids, chosen, right)
        want = float(_enumerated(vote, right, n))
        assert curve[n - 1] == pytest.approx(want, abs=1e-12)
    assert curve[-1] == pytest.approx(voting.majority(ids).expected(right))


@pytest.mark.parametrize("seed", range(12))
def test_best_of_every_n_is_the_enumeration(seed):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 9))
    ids, scores = [0] * size, (rng.integers(-1, 3, size) / 2).tolist()
    scores = [-math.inf if s < 0 else s for s in scores]
    right = rng.integers(0, 2, size).tolist()
    curve = subsets.best_of_curve(ids, scores, right)
    for n in range(1, size + 1):

        def best(chosen, right):
            values = [scores[i] for i in chosen]
            tied = [i for i in chosen if scores[i] == max(values) > -math.inf]
            return Fraction(sum(right[i] for i in tied), max(1, len(tied)))

        assert curve[n - 1] == pytest.approx(
            float(_enumerated(best, right, n)), abs=1e-12
        )


def test_a_perfect_scorer_is_pass_at_n():
    right = np.array([1, 0, 0, 0, 1, 0, 0, 0, 0, 0])
    curve = subsets.best_of_curve([0] * 10, right.tolist(), right)
    want = [1 - math.comb(8, n) / math.comb(10, n) for n in range(1, 11)]
    np.testing.assert_allclose(curve, want, atol=1e-12)


def test_large_sets_stay_finite_and_probable():
    rng = np.random.default_rng(0)
    ids = rng.integers(-1, 12, 256).tolist()
    everything = subsets.majority_curve(ids, np.ones(256))
    answered = 1 - _share_unanswered(ids)
    np.testing.assert_allclose(everything, answered, atol=1e-9)


def _share_unanswered(ids):
    """Chance that a subset of n holds no answer at all."""
    none, total = ids.count(-1), len(ids)
    return np.array([math.comb(none, n) / math.comb(total, n) for n in range(1, 257)])


def test_a_weighted_vote_of_subsets():
    ids, weights, right = [0, 0, 1, 2], [0.2, 0.2, 0.3, 0.25], [0, 0, 1, 0]
    found = subsets.weighted_mean(ids, weights, right, 3)
    # {0,0,1} and {0,0,2} go to class 0, both {0,1,2} to class 1.
    assert found == (0.5, 0)
    with pytest.raises(ValueError, match="n=5 of 4"):
        subsets.weighted_mean(ids, weights, right, 5)


def test_drawn_subsets_agree_with_the_closed_form_and_no_permutation_moves_them():
    rng = np.random.default_rng(3)
    ids = rng.integers(0, 3, 20)
    right = (ids == 1).astype(float)
    one = functools.partial(subsets.weighted_mean, n=7)
    found = one(ids.tolist(), [1.0] * 20, right)
    assert found.subsets == 256
    exact = subsets.majority_curve(ids.tolist(), right)[6]
    assert abs(found.score - exact) < 4 * 0.5 / 16  # four standard errors
    order = rng.permutation(20)
    assert one(ids[order].tolist(), [1.0] * 20, right[order]) == found
