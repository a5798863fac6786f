# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The budget's state machine against what a person would write down."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.reasoning.budget import ThinkingBudget
from lrm_jax.reasoning.stops import STOP_ID, STOP_LENGTH
from lrm_jax.reasoning.token_budget import (
    ThinkingTags,
    banned_ids,
    begin_thoughts,
    step_thoughts,
    token_budgets,
)
from lrm_jax.types import UserError

# Ids are indices of these; "<" "/" "t" ">" spell tags of several tokens.
WORDS = ["<t>", "</t>", "a", "b", "W", "S", "$", "x", "<", "/", "t", ">", "q</", "t>!"]
BYTES = [word.encode() for word in WORDS]
SINGLE = ThinkingTags(open=(0,), close=(1,), stop=(5,), wait=(4, 4))
SPELLED = ThinkingTags(open=(8, 10, 11), close=(8, 9, 10, 11), stop=(5,), wait=(4,))
END_ID = 6


def _ids(text):
    return [WORDS.index(word) for word in text.split()]


def _run(budgets, wishes, tags=SINGLE, **options):
    """Feed each row what it wishes to write; forced tokens push wishes back.

    Returns (text of each row, forced tokens bracketed), and thinking lengths.
    """
    budget = token_budgets(budgets, tags, BYTES, cap=8, **options)
    state = begin_thoughts(budget)
    step = jax.jit(step_thoughts)
    wishes = [_ids(wish) for wish in wishes]
    texts = [[] for _ in wishes]
    for _ in range(24):
        sampled = jnp.asarray(
            [wish[0] if wish else WORDS.index("x") for wish in wishes]
        )
        stop = jnp.where(sampled == END_ID, STOP_ID, STOP_LENGTH)
        running = np.asarray(state.script) >= 0
        ids, forced, state = step(budget, state, sampled, stop)
        for row, wish in enumerate(wishes):
            if not wish and not forced[row]:
                continue  # it has had its say
            word = WORDS[int(ids[row])]
            texts[row].append(f"[{word}]" if forced[row] else word)
            # A replaced token was sampled; in the middle of a script none is asked.
            wishes[row] = wish if running[row] else wish[1:]
    return [" ".join(text) for text in texts], state.length.tolist()


def test_every_spelling_in_one_batch():
    texts, lengths = _run(
        ["0", "3", "3", "4+halt", "4+halt", "-1", "-1", "low", "high"],
        [
            "x $",
            "a b a b x",
            "a </t> b x $",
            "a </t> x $",
            "a b a b a b",
            "x $",
            "<t> a b </t> x",
            "a b a b",
            "a </t> x",
        ],
    )
    assert texts == [
        "[<t>] [</t>] x $",
        "[<t>] a b a [S] [</t>] b x",
        "[<t>] a [W] [W] [S] [</t>] b x $",
        "[<t>] a </t> x $",
        "[<t>] a b a b [S] [</t>] a b",
        "x $",
        "<t> a b </t> x",
        "[<t>] a b [S] [</t>] a b",  # a quarter of eight
        "[<t>] a </t> x",
    ]
    assert lengths == [0, 3, 3, 1, 4, 0, 2, 2, 1]


def test_a_minimum_turns_ends_into_waits():
    texts, lengths = _run(
        ["6+halt", "6+halt", "-1", "2+halt"],
        ["</t> a </t> a </t> x", "a $ b </t> x", "</t> a a </t> x", "</t> a"],
        minimum=[5, 4, 2, 1],
    )
    assert texts == [
        # Two waits of two tokens, and a closing that comes late enough.
        "[<t>] [W] [W] a [W] [W] a [S] [</t>] </t> x",
        "[<t>] a [W] [W] b </t> x",  # an end of the completion counts too
        "[<t>] [W] [W] a a </t> x",
        "[<t>] [W] [W] [S] [</t>] a",  # the bound holds in the middle of a wait
    ]
    assert lengths == [6, 4, 4, 2]


def test_prompts_that_opened_the_thought():
    texts, lengths = _run(
        ["0", "2", "2+halt", "-1"],
        ["x", "a b x", "a </t> x", "a </t> x"],
        opened=True,
    )
    assert texts == ["[</t>] x", "a b [S] [</t>] x", "a </t> x", "a </t> x"]
    assert lengths == [0, 2, 1, 1]


def test_tags_of_several_tokens():
    texts, lengths = _run(
        ["0", "7+halt", "5+halt", "3+halt", "3+halt", "2+halt", "-1"],
        [
            "x",
            "a b < / t > x",  # closes by itself; the tag is no thought
            "a < / a b a",  # a tag that came to nothing is thought
            "a b < / t > x",  # begun at the bound: finished, not begun again
            "a b a < / t > x",
            "a q</ t>! x",  # begun inside a token: finished too
            "< t > a < / t > x",
        ],
        tags=SPELLED,
    )
    assert texts == [
        "[<] [t] [>] [<] [/] [t] [>] x",
        "[<] [t] [>] a b < / t > x",
        "[<] [t] [>] a < / a b [S] [<] [/] [t] [>] a",
        "[<] [t] [>] a b < [/] [t] [>] / t > x",
        "[<] [t] [>] a b a [S] [<] [/] [t] [>] < / t > x",
        "[<] [t] [>] a q</ [t] [>] t>! x",
        "< t > a < / t > x",
    ]
    assert lengths == [0, 2, 5, 2, 3, 1, 1]


def test_a_tag_cut_otherwise_closes():
    texts, lengths = _run(["5+halt"], ["a q</ t>! x"], tags=SPELLED)
    assert texts == ["[<] [t] [>] a q</ t>! x"]
    assert lengths == [1]


def test_without_a_wait_ends_are_banned():
    tags = ThinkingTags(open=(0,), close=(1,))
    budget = token_budgets(["3", "3+halt", "0"], tags, BYTES, cap=8, opened=True)
    state = begin_thoughts(budget)
    zeros = jnp.zeros(3, jnp.int32)
    banned = banned_ids(budget, state, None, zeros)
    assert np.argwhere(banned).tolist() == [[0, 1]]
    for _ in range(3):
        sampled = jnp.full(3, 2, jnp.int32)
        _, _, state = step_thoughts(budget, state, sampled, zeros)
    assert not banned_ids(budget, state, None, zeros).any()


def test_what_follows_and_fills_a_forced_thought():
    tags = ThinkingTags(open=(0,), close=(1,), empty=(2, 2), after=(3,))
    texts, _ = _run(["0", "1+halt"], ["x", "a x"], tags=tags)
    assert texts == ["[<t>] [a] [a] [</t>] [b] x", "[<t>] a [</t>] [b] x"]


@pytest.mark.parametrize("seed", range(4))
def test_no_thought_is_longer_than_its_bound(seed):
    rng = np.random.default_rng(seed)
    rows = 32
    spellings = ["0", "-1", "low", "medium", "high", "1", "5", "8", "1+halt", "7+halt"]
    budgets = rng.choice(spellings, rows).tolist()
    tags = SPELLED if seed % 2 else SINGLE
    opened = (rng.random(rows) < 0.5).tolist()
    budget = token_budgets(budgets, tags, BYTES, cap=8, opened=opened)
    state = begin_thoughts(budget)
    step = jax.jit(step_thoughts)
    for _ in range(40):
        sampled = jnp.asarray(rng.integers(0, len(WORDS), rows))
        _, _, state = step(budget, state, sampled, jnp.zeros(rows, jnp.int32))
        assert (np.asarray(state.length) <= np.asarray(budget.maximum)).all()
        exact = np.asarray((state.phase == 2) & (budget.minimum == budget.maximum))
        lengths = np.asarray(state.length)
        assert (lengths >= np.asarray(budget.minimum))[exact].all()


def test_other_budgets_compile_nothing():
    @jax.jit
    @partial(chex.assert_max_traces, n=1)
    def step(budget, state, sampled):
        return step_thoughts(budget, state, sampled, jnp.zeros_like(sampled))

    for budgets in (["0", "8"], ["-1", "low"], ["3+halt", "high"]):
        budget = token_budgets(budgets, SINGLE, BYTES, cap=8, minimum=0)
        step(budget, begin_thoughts(budget), jnp.array([2, 3]))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"budgets": ["9"]}, "beyond the cap of 8 tokens"),
        ({"budgets": ["3+halt"], "minimum": 4}, "minimum 4: accepted: 0 to"),
        ({"budgets": ["1", "2"], "opened": [True]}, "2 rows, but 1 values"),
        ({"budgets": [ThinkingBudget("3", "segments")]}, "unit 'segments'"),
        ({"tags": ThinkingTags((), (1,))}, "tag open: empty"),
        ({"tags": ThinkingTags((0,), (99,))}, "close: id 99 is not"),
        ({"token_bytes": [b""] * 14, "tags": SPELLED}, "writes no text"),
    ],
)
def test_wrong_budgets_are_refused(options, says):
    given = {"budgets": ["1"], "tags": SINGLE, "token_bytes": BYTES} | options
    with pytest.raises(UserError, match=says):
        token_budgets(cap=8, **given)
