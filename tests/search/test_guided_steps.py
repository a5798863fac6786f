# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Steps are written as whole texts are, whatever the lanes, pages and neighbours."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.models.policy import token_policy
from lrm_jax.models.policy_config import PolicyConfig
from lrm_jax.reasoning.decoding import generate_jit
from lrm_jax.reasoning.sampling import sampling_params
from lrm_jax.reasoning.stops import stop_table
from lrm_jax.search.guided_steps import (
    ANSWER,
    CUT,
    STEP,
    Drawing,
    StepWriter,
    begin_texts,
    first_of_kind,
    go_on,
    node_keys,
    score_places,
    step_ends,
    write_steps,
)
from lrm_jax.search.pages import join_pages, lanes_first
from lrm_jax.steps import StepRule, step_table
from tests.search import planted

POLICY = token_policy(
    PolicyConfig(
        vocab_size=12,
        d_model=32,
        n_layers=2,
        n_heads=4,
        n_kv_heads=2,
        d_ff=32,
        max_seq_len=64,
    )
)
BYTES = [b"", b"", b";", *(bytes([97 + i]) for i in range(9))]
WIDTH, SLOTS = 6, 40


class _Letters:
    vocab_size = 12

    def encode(self, text):
        return [BYTES.index(letter.encode()) for letter in text]

    def token_bytes(self):
        return BYTES


@functools.cache
def _ends():
    table = step_table(_Letters(), StepRule(separator=";", last="text"))
    return step_ends(table, stop_table(BYTES, [1]), BYTES)


@functools.cache
def _weights():
    return jax.jit(POLICY.init)(jax.random.key(0))


def _params():
    return _weights(), _ends()


def _writer(params, lanes):
    return StepWriter(POLICY, *params, WIDTH, lanes)


PROMPTS = jnp.asarray([[3, 4, 0, 0], [5, 6, 7, 8], [9, 0, 0, 0]], jnp.int32)


@functools.partial(jax.jit, static_argnames=("count", "lanes"))
def _write(params, ids, keys, drawing, room, *, count, lanes):
    writer = _writer(params, lanes)
    texts = begin_texts(POLICY, params[0], ids, ids > 0, slots=SLOTS)
    rows = node_keys(keys, count)
    steps = write_steps(writer, texts, rows, drawing, count=count, room=room)
    return texts, steps


@functools.partial(jax.jit, static_argnames=("count", "lanes"))
def _more(params, texts, steps, keys, drawing, room, *, count, lanes):
    """A step behind the first candidate of each text."""
    writer = _writer(params, lanes)
    parents = jnp.arange(len(steps.length))
    texts = go_on(writer, texts, steps, parents, parents)
    rows = node_keys(keys, count)
    return texts, write_steps(writer, texts, rows, drawing, count=count, room=room)


def _keys(*seeds):
    return jax.vmap(jax.random.key)(jnp.asarray(seeds, jnp.uint32))


def test_greedy_steps_one_after_another_are_the_plain_text():
    greedy = Drawing(temperature=0.0)
    room = jnp.full(3, WIDTH)
    texts, steps = _write(
        _params(), PROMPTS, _keys(0, 1, 2), greedy, room, count=1, lanes=2
    )
    said, ended = [list(map(int, s[:n])) for s, n in zip(*steps[:2], strict=True)], []
    ended = [int(e) == ANSWER for e in steps.end]
    for _ in range(4):
        room = jnp.where(jnp.asarray(ended), 0, WIDTH)
        texts, steps = _more(
            _params(), texts, steps, _keys(0, 1, 2), greedy, room, count=1, lanes=2
        )
        for i in range(3):
            said[i] += list(map(int, steps.ids[i, : steps.length[i]]))
            ended[i] |= int(steps.end[i]) == ANSWER
    plain = generate_jit(
        POLICY,
        _weights(),
        PROMPTS,
        PROMPTS > 0,
        group_size=1,
        max_new_tokens=30,
        sampling=sampling_params(3, max_new=30, temperature=0.0),
        key=jax.random.key(0),
        stops=stop_table(BYTES, [1]),
    )
    for i in range(3):
        whole = list(map(int, plain.ids[i, : plain.length[i]]))
        assert said[i] == whole[: len(said[i])]
    assert max(map(len, said)) > 2 * WIDTH


def test_a_step_ends_at_its_separator_the_answers_end_or_its_limit():
    _, steps = _write(
        _params(),
        PROMPTS,
        _keys(0, 1, 2),
        Drawing(temperature=2.0),
        jnp.asarray([WIDTH, 3, 0]),
        count=16,
        lanes=5,
    )
    assert not np.asarray(steps.length[32:]).any()
    assert max(steps.length[16:32]) <= 3
    seen = set()
    for ids, length, end in zip(*steps[:3], strict=True):
        said = np.asarray(ids[: int(length)])
        if not len(said):
            continue
        seen.add(int(end))
        # A separator alone ends nothing: there is no step of blanks... but `;` first.
        assert (end == ANSWER) == (said[-1] == 1)
        if end == STEP:
            assert said[-1] == 2
        if end == CUT:
            assert len(said) in (3, WIDTH)
        assert 1 not in said[:-1]
    assert seen == {CUT, ANSWER, STEP}


@pytest.mark.parametrize("lanes", [4])
def test_a_texts_steps_do_not_depend_on_its_neighbours(lanes):
    drawing, room = Drawing(temperature=1.5), jnp.full(3, WIDTH)
    run = functools.partial(_write, _params(), count=4, lanes=lanes)
    _, alone = run(PROMPTS, _keys(7, 8, 9), drawing, room)
    order = jnp.asarray([2, 0, 1])
    _, moved = run(PROMPTS[order], _keys(9, 7, 8), drawing, room)
    _, others = run(PROMPTS.at[1:].set(PROMPTS[:1]), _keys(7, 3, 4), drawing, room)
    for place, text in enumerate(order):
        a, b = slice(4 * text, 4 * text + 4), slice(4 * place, 4 * place + 4)
        for name in ("ids", "length", "end", "logp"):
            old, new = getattr(alone, name)[a], getattr(moved, name)[b]
            np.testing.assert_array_equal(old, new, err_msg=name)
    np.testing.assert_array_equal(alone.ids[:4], others.ids[:4])
    np.testing.assert_array_equal(alone.logp[:4], others.logp[:4])


def test_lanes_change_nothing_but_the_time_it_takes():
    drawing, room = Drawing(temperature=1.5), jnp.full(3, WIDTH)
    few, many = (
        _write(_params(), PROMPTS, _keys(7, 8, 9), drawing, room, count=4, lanes=n)[1]
        for n in (3, 0)
    )
    np.testing.assert_array_equal(few.ids, many.ids)
    np.testing.assert_allclose(few.logp, many.logp, atol=1e-5)
    assert int(many.steps) == int(many.length.max()) - 1
    # Every token but a row's first takes a lane for a step.
    assert int(few.steps) * 3 >= int((few.length - 1).sum())


def test_joined_pages_are_the_texts_they_were_cut_from():
    drawing, room = Drawing(temperature=1.5), jnp.full(3, WIDTH)
    prompts, first = _write(
        _params(), PROMPTS, _keys(1, 2, 3), drawing, room, count=1, lanes=0
    )
    texts, second = _more(
        _params(), prompts, first, _keys(4, 5, 6), drawing, room, count=1, lanes=0
    )
    pages = jax.tree.map(
        lambda *x: jnp.stack(x, 1),
        *(lanes_first(POLICY, steps.pages) for steps in (first, second)),
    )
    lengths = jnp.stack([first.length, second.length], 1)
    rows = jnp.arange(3)[:, None]
    take = lambda leaf, page, place: leaf[rows, page, place]
    joined = join_pages(POLICY, prompts.cache, prompts.length - 1, take, pages, lengths)
    whole, _ = _more(
        _params(), texts, second, _keys(4, 5, 6), drawing, room * 0, count=1, lanes=0
    )
    read = jnp.arange(SLOTS)[None] < (whole.length - 1)[:, None]
    np.testing.assert_array_equal(joined.valid & read, read)
    for mine, theirs in zip(joined.layers, whole.cache.layers, strict=True):
        for name in mine:
            there = read[:, None, :, None]
            np.testing.assert_array_equal(
                jnp.where(there, mine[name], 0), jnp.where(there, theirs[name], 0)
            )


def test_equal_candidates_count_once():
    ids = jnp.asarray([[3, 2], [3, 4], [3, 2], [3, 0], [0, 0], [3, 9]])
    kept, count = first_of_kind(ids, jnp.asarray([2, 2, 2, 1, 0, 1]), 3)
    assert kept.tolist() == [[True, True, False], [True, False, False]]
    assert count.tolist() == [[2, 1, 0], [2, 0, 0]]


def test_scores_are_read_at_the_last_token_that_writes():
    ends = planted.ends()
    ids = jnp.asarray([[3, 2, 0], [4, 1, 0], [1, 0, 0], [3, 4, 5]])
    at = score_places(ends, ids, jnp.asarray([2, 2, 1, 3]))
    assert at.tolist() == [1, 0, -1, 2]


def test_candidates_have_the_tables_chances():
    writer = StepWriter(planted.POLICY, planted.table(), planted.ends(), 2)
    ids, mask = planted.prompts([planted.A])
    texts = begin_texts(planted.POLICY, writer.params, ids, mask, slots=8)
    run = jax.jit(
        lambda keys: write_steps(
            writer, texts, keys, Drawing(), count=2000, room=jnp.asarray([2])
        )
    )
    steps = run(node_keys(_keys(5), 2000))
    shares = [float((steps.ids[:, 0] == letter).mean()) for letter in (3, 4, 5)]
    np.testing.assert_allclose(shares, [0.5, 0.3, 0.2], atol=0.035)  # 3 sigma
    assert abs(float((steps.end == ANSWER).mean()) - 0.3) < 0.031
    chances = jnp.log(jnp.asarray([0.5, 0.3, 0.2]))[steps.ids[:, 0] - 3]
    chances += jnp.where(steps.end == ANSWER, jnp.log(0.3), jnp.log(0.7))
    np.testing.assert_allclose(steps.logp, chances, atol=1e-5)
