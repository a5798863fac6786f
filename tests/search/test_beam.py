# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Beams over a table whose truth is known: what is kept, counted and found."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax import sharding
from lrm_jax.cost import hlo
from lrm_jax.search.beam import BeamConfig, beam_search
from lrm_jax.search.guided_scores import StepScorer
from lrm_jax.search.guided_steps import ANSWER, Drawing, StepWriter
from lrm_jax.types import UserError
from tests.search import planted
from tests.search.planted import A, B, C

WIDTH = 2
LETTERS = [A, B, C, A]


@functools.partial(jax.jit, static_argnames=("config", "scored", "lanes"))
def _search(arrays, ids, mask, keys, drawing, *, config, scored=True, lanes=0):
    table, ends = arrays
    writer = StepWriter(planted.POLICY, table, ends, WIDTH, lanes)
    scorer = StepScorer(planted.SCORER if scored else None, table, ends)
    return beam_search(writer, scorer, ids, mask, keys, drawing, config)


def _run(config, letters=LETTERS, seeds=None, temperature=1.0, table=None, **options):
    ids, mask = planted.prompts(letters)
    seeds = jnp.arange(len(letters)) if seeds is None else jnp.asarray(seeds)
    keys = jax.vmap(jax.random.key)(seeds.astype(jnp.uint32))
    table = planted.table() if table is None else table
    arrays = table, planted.ends()
    found = _search(
        arrays, ids, mask, keys, Drawing(temperature), config=config, **options
    )
    return jax.device_get(found)


def _texts(beams, problem, config):
    """Every finished candidate's letters with its score."""
    found = []
    for d in range(beams.ids.shape[0]):
        for n in range(config.candidates):
            at = (d, problem, n)
            if not beams.kept[at] or beams.end[at] != ANSWER:
                continue
            ids, place = [], n
            for back in range(d, -1, -1):
                where = (back, problem, place)
                ids = beams.ids[where][: beams.length[where]].tolist() + ids
                place = beams.parent[where]
            assert place == -1
            found.append((ids, float(beams.score[at])))
    return found


CONFIG = BeamConfig(candidates=16, expand=8, rounds=6, max_new_tokens=12)


@pytest.mark.parametrize("kind", ["beam", "dvts"])
def test_a_scorer_that_knows_leads_to_right_answers(kind):
    config = dataclasses.replace(CONFIG, kind=kind)
    beams = _run(config)
    for problem, letter in enumerate(LETTERS):
        texts = _texts(beams, problem, config)
        assert texts
        for ids, score in texts:
            right = planted.right(letter, ids)
            assert score == pytest.approx(1 / (1 + np.exp(-6 if right else 6)))
        best = max(texts, key=lambda one: one[1])
        assert planted.right(letter, best[0])


def test_every_token_is_counted_once():
    beams = _run(CONFIG)
    np.testing.assert_array_equal(beams.generated, beams.length.sum((0, 2)))
    np.testing.assert_array_equal(beams.scored, beams.generated)
    beams = _run(CONFIG, scored=False)
    assert not beams.scored.any()
    # A step's likelihood: the geometric mean of its tokens' probabilities.
    there = beams.length > 0
    mean = np.exp(beams.logp / np.maximum(beams.length, 1))
    np.testing.assert_allclose(beams.step_score[there], mean[there], rtol=1e-5)


def test_those_that_go_on_are_the_best_and_ties_go_to_the_lower_index():
    beams = _run(CONFIG)
    for d in range(1, CONFIG.rounds):
        for q in range(len(LETTERS)):
            parents = beams.parent[d, q].reshape(2, 8)[:, 0]
            assert (beams.parent[d, q].reshape(2, 8) == parents[:, None]).all()
            before = d - 1
            opened = beams.kept[before, q] & (beams.end[before, q] != ANSWER)
            rank = sorted(
                np.flatnonzero(opened), key=lambda n: (-beams.score[before, q, n], n)
            )
            wrote = beams.length[d, q].reshape(2, 8)[:, 0] > 0
            assert parents[wrote].tolist() == rank[: wrote.sum()]


def test_equal_continuations_count_once():
    beams = _run(CONFIG, temperature=0.0)
    # All are equal: one is kept a round, and one text goes on.
    assert (beams.kept.sum(-1) <= 1).all()
    assert beams.kept[0].sum() == len(LETTERS)


def test_subtrees_of_dvts_never_meet():
    config = dataclasses.replace(CONFIG, kind="dvts")
    beams = _run(config)
    for d in range(1, 6):
        for q in range(len(LETTERS)):
            for n in np.flatnonzero(beams.length[d, q]):
                assert beams.parent[d, q, n] // 8 == n // 8
                group = slice(n // 8 * 8, n // 8 * 8 + 8)
                score = np.where(beams.kept[d - 1, q], beams.score[d - 1, q], -np.inf)[
                    group
                ]
                assert beams.parent[d, q, n] % 8 == int(score.argmax())


def test_a_subtree_of_dvts_takes_its_best_step_though_another_has_it_too():
    config = BeamConfig(8, 4, rounds=2, max_new_tokens=12, kind="dvts")
    letters, seven = [A] * 24, (7 / 8, 1 / 8, 0.0)
    beams = _run(config, letters, table=planted.table(seven, end=0.0))
    wrong = beams.ids[0, ..., 0] == B
    second = (wrong.sum(1) == 1) & wrong[:, 4:].any(1)
    assert second.any()  # seven right steps, and a wrong one in the second subtree
    for q in np.flatnonzero(second):
        taken = beams.parent[1, q, [0, 4]]
        assert taken[0] == 0 and taken[1] in (4, 5)
        assert not wrong[q, taken].any()


def test_subtrees_of_dvts_that_begin_alike_all_live():
    config = BeamConfig(8, 4, rounds=2, max_new_tokens=12, kind="dvts")
    beams = _run(config, temperature=0.0)
    lone = np.arange(8) % 4 == 0
    assert (beams.kept == lone).all()
    assert (beams.parent[1] == np.arange(8) // 4 * 4).all()


def test_lookahead_sees_what_greedy_steps_come_to():
    # Greedily, `a;` follows for ever: after a right `b;` the next step is wrong.
    config = BeamConfig(4, 4, rounds=1, max_new_tokens=12, lookahead=1)
    beams = _run(config, letters=[B, A])
    plain = _run(BeamConfig(4, 4, rounds=1, max_new_tokens=12), letters=[B, A])
    np.testing.assert_array_equal(beams.ids, plain.ids)
    goes_on = (beams.end != ANSWER) & (beams.length > 0)
    right = beams.ids[..., 0] == np.asarray([B, A])[None, :, None]
    np.testing.assert_array_equal(
        beams.score[0, 0] > 0.5, beams.kept[0, 0] & right[0, 0] & ~goes_on[0, 0]
    )
    np.testing.assert_array_equal(
        beams.score[0, 1] > 0.5, beams.kept[0, 1] & right[0, 1]
    )
    more = beams.generated - plain.generated
    np.testing.assert_array_equal(more, 2 * goes_on.sum((0, 2)))


def test_a_problem_does_not_depend_on_its_neighbours():
    whole = _run(CONFIG)
    moved = _run(CONFIG, letters=[A, A, B, C], seeds=[3, 0, 1, 2])
    for old, new in ((3, 0), (0, 1), (1, 2), (2, 3)):
        for name in ("ids", "length", "end", "parent", "score", "logp"):
            np.testing.assert_array_equal(
                getattr(whole, name)[:, old], getattr(moved, name)[:, new], name
            )


def test_lanes_change_nothing():
    few, many = _run(CONFIG, lanes=5), _run(CONFIG)
    np.testing.assert_array_equal(few.ids, many.ids)
    assert few.lane_steps > many.lane_steps


@pytest.mark.parametrize("n, m", [(4, 8), (6, 4), (4, 0)])
def test_sizes_that_do_not_divide_are_refused(n, m):
    with pytest.raises(UserError, match="multiple of the continuations"):
        BeamConfig(n, m)


def test_8_devices_find_the_same_and_send_nothing_over_the_batch():
    config = BeamConfig(4, 2, rounds=3, max_new_tokens=6)
    ids, mask = planted.prompts([A, B, C, A, B, C, A, A])
    keys = jax.vmap(jax.random.key)(jnp.arange(8, dtype=jnp.uint32))
    args = (planted.table(), planted.ends()), ids, mask, keys, Drawing()
    whole = _search(*args, config=config)
    mesh = sharding.make_mesh(sharding.MeshConfig(8))
    with sharding.use_mesh(mesh):
        compiled = _search.lower(*args, config=config).compile()
        split = jax.device_get(compiled(*args))
    program = hlo.parse(compiled.as_text())
    sends = ("all-", "collective-", "reduce-scatter", "ragged-")
    sent = {
        name: [one.op for one in inside.values() if one.op.startswith(sends)]
        for name, inside in program.computations.items()
    }
    # Two counts are added up once the loops are over; nothing else is sent at all.
    assert 1 <= len(sent.pop(program.entry)) <= 2
    assert not any(sent.values())
    for name in set(whole._fields) - {"lane_steps"}:
        np.testing.assert_array_equal(getattr(whole, name), getattr(split, name), name)
    assert split.lane_steps >= whole.lane_steps
