# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Stops against string search on the decoded text."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.reasoning.stops import (
    STOP_ID,
    STOP_LENGTH,
    STOP_STRING,
    cut_at_stop,
    stop_table,
)
from lrm_jax.types import UserError


def _read(table, ids):
    """Where the table ends a sequence, and why; (None, STOP_LENGTH) if never."""
    state = jnp.zeros(1, jnp.int32)
    step = jax.jit(table.read)
    for i, token in enumerate(ids):
        state, stop = step(state, jnp.array([token]))
        if int(stop[0]) != STOP_LENGTH:
            return i, int(stop[0])
    return None, STOP_LENGTH


def _search(token_bytes, ids, stop_strings):
    for i in range(len(ids)):
        text = b"".join(token_bytes[token] for token in ids[: i + 1])
        if any(stop.encode() in text for stop in stop_strings):
            return i
    return None


@pytest.mark.parametrize("seed", range(6))
def test_equals_string_search(seed):
    rng = np.random.default_rng(seed)
    # Two letters only: stops straddle, overlap, nest and restart all the time.
    word = lambda most: "".join(rng.choice(list("ab"), rng.integers(1, most + 1)))
    token_bytes = [b"", b"a", b"b"] + [word(5).encode() for _ in range(9)]
    stop_strings = [word(7) for _ in range(3)]
    table = stop_table(token_bytes, [], stop_strings)
    for _ in range(30):
        ids = rng.integers(0, len(token_bytes), 12).tolist()
        found, why = _read(table, ids)
        assert found == _search(token_bytes, ids, stop_strings)
        assert why == (STOP_LENGTH if found is None else STOP_STRING)


def test_cases_by_hand():
    token_bytes = [b"ab", b"c", b"xstopx", b"\xe2\x82", b"\xac", b"st", b"op", b"<e>"]
    table = stop_table(token_bytes, [7], ["stop", "\u20ac", "bc"])
    assert _read(table, [0, 2]) == (1, STOP_STRING)  # inside one token
    assert _read(table, [5, 6]) == (1, STOP_STRING)  # across two
    assert _read(table, [5, 0, 6]) == (None, STOP_LENGTH)
    assert _read(table, [3, 4]) == (1, STOP_STRING)  # ends a multi-byte character
    assert _read(table, [3, 3, 4]) == (2, STOP_STRING)
    assert _read(table, [5, 5, 6]) == (2, STOP_STRING)  # a false start
    assert _read(table, [0, 1]) == (1, STOP_STRING)
    assert _read(table, [0, 7]) == (1, STOP_ID)


def test_the_cut_does_not_depend_on_the_tokens():
    # "bc" ends before "abcd" does, and of two that end together the longer counts.
    assert cut_at_stop("xabcdy", ["abcd", "bc"]) == "xa"
    assert cut_at_stop("xabcdy", ["d", "abcd"]) == "x"
    assert cut_at_stop("xabcdy", ["d", "abcd"], keep_stop=True) == "xabcd"
    assert cut_at_stop("5 \u20ac, 6 \u20ac", ["\u20ac"]) == "5 "
    assert cut_at_stop("nothing", ["x"]) == "nothing"


def test_other_strings_keep_the_shape():
    shape = lambda *strings: stop_table([b"a"] * 5, [], strings).automaton.flags.shape
    assert shape("a") == shape("stop", "or else") == (16, 5)
    assert shape("x" * 40) == (64, 5)


@pytest.mark.parametrize(
    ("stop_ids", "strings", "says"),
    [
        ([], [], "names no end token"),
        ([4], [], "stop id 4: not in the vocabulary; accepted: 0 to 3"),
        ([-1], [], "stop id -1"),
        ([1], [""], "empty"),
    ],
)
def test_wrong_stops_are_refused(stop_ids, strings, says):
    with pytest.raises(UserError, match=says):
        stop_table([b"a"] * 4, stop_ids, strings)


def test_endless_is_asked_for():
    table = stop_table([b"a"] * 4, endless=True)
    assert _read(table, [0, 1, 2, 3]) == (None, STOP_LENGTH)
