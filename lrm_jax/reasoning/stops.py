# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where a completion ends: stop ids, and stop strings that straddle tokens.

Strings are found by an Aho-Corasick automaton over bytes, compiled on the host to
one table per token, so that a decoding step is a look-up. Every use agrees on
which match counts: the one that ends first in the text, and of those the longest.
The way a text was cut into tokens therefore never moves its end.
"""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from lrm_jax.types import Array, UserError

STOP_LENGTH = 0
"""Out of tokens: the row's limit, not a stop."""
STOP_ID = 1
STOP_STRING = 2

_STATES_MIN = 16
_ID_FLAG, _STRING_FLAG = 1, 2


class TokenAutomaton(NamedTuple):
    """What reading a token does to a search for byte strings; state 0 is the start.

    Attributes:
      next_state: `[states, V]` int16, the state after the token.
      flags: `[states, V]` uint8, the flags of the patterns that end in the token.
    """

    next_state: Array  # [states, V]
    flags: Array  # [states, V]

    def read(self, state: Array, ids: Array) -> tuple[Array, Array]:
        """Return the states `[B]` and flags `[B]`, int32, after tokens `ids` `[B]`."""
        following = self.next_state[state, ids].astype(jnp.int32)
        return following, self.flags[state, ids].astype(jnp.int32)


class StopTable(NamedTuple):
    """What ends a completion, as arrays; made by `stop_table`."""

    automaton: TokenAutomaton

    def read(self, state: Array, ids: Array) -> tuple[Array, Array]:
        """Return the states `[B]` and why each row stops `[B]`; STOP_LENGTH if not."""
        state, flags = self.automaton.read(state, ids)
        by_string = jnp.where(flags & _STRING_FLAG > 0, STOP_STRING, STOP_LENGTH)
        return state, jnp.where(flags & _ID_FLAG > 0, STOP_ID, by_string)


class _Trie(NamedTuple):
    goto: np.ndarray  # [nodes, 256]
    flags: np.ndarray  # [nodes]
    prefixes: list[bytes]  # what each node has read


def build_trie(patterns: Sequence[tuple[bytes, int]]) -> _Trie:
    """Return the Aho-Corasick automaton of `(pattern, flag)` pairs over bytes."""
    children: list[dict[int, int]] = [{}]
    flags, prefixes = [0], [b""]
    for pattern, flag in patterns:
        node = 0
        for byte in pattern:
            if byte not in children[node]:
                children[node][byte] = len(children)
                children.append({})
                flags.append(0)
                prefixes.append(prefixes[node] + bytes([byte]))
            node = children[node][byte]
        flags[node] |= flag
    goto = np.zeros((len(children), 256), np.int32)
    queue = deque([(0, 0)])  # node, and the node of its longest proper suffix
    while queue:
        node, suffix = queue.popleft()
        flags[node] |= flags[suffix] if node else 0
        if node:
            goto[node] = goto[suffix]
        for byte, child in children[node].items():
            queue.append((child, int(goto[suffix, byte]) if node else 0))
            goto[node, byte] = child
    return _Trie(goto, np.asarray(flags, np.uint8), prefixes)


def compile_automaton(
    trie: _Trie, token_bytes: Sequence[bytes], id_flags: dict[int, int] | None = None
) -> TokenAutomaton:
    """Return the automaton over tokens of one over bytes.

    Args:
      trie: over bytes.
      token_bytes: what each id writes; an id without bytes leaves the state alone.
      id_flags: flags of ids that match whatever they write; the search restarts.

    Returns:
      Tables with the number of states rounded up to a power of two, at least 16,
      so that other strings seldom mean another compiled program.
    """
    states = len(trie.prefixes)
    rows = max(_STATES_MIN, 1 << (states - 1).bit_length())
    if rows > np.iinfo(np.int16).max:
        raise UserError(
            f"stop strings: {states} bytes in all; accepted: up to {2**14} bytes"
        )
    lengths = np.asarray([len(b) for b in token_bytes])
    width = int(lengths.max(initial=0))
    letters = np.zeros((len(token_bytes), width), np.uint8)
    for i, written in enumerate(token_bytes):
        letters[i, : len(written)] = np.frombuffer(written, np.uint8)
    now = np.repeat(np.arange(rows)[:, None], len(token_bytes), axis=1)
    now[states:] = 0
    seen = np.zeros(now.shape, np.uint8)
    for place in range(width):
        longer = np.flatnonzero(lengths > place)
        now[:, longer] = trie.goto[now[:, longer], letters[longer, place]]
        seen[:, longer] |= trie.flags[now[:, longer]]
    for token, flag in (id_flags or {}).items():
        seen[:, token] |= flag
        now[:, token] = 0
    return TokenAutomaton(jnp.asarray(now, jnp.int16), jnp.asarray(seen, jnp.uint8))


def stop_table(
    token_bytes: Sequence[bytes],
    stop_ids: Sequence[int] = (),
    stop_strings: Sequence[str] = (),
    *,
    endless: bool = False,
) -> StopTable:
    """Compile what ends a completion.

    Args:
      token_bytes: `[V]`, what each id of the vocabulary writes.
      stop_ids: ids that end it (an end token).
      stop_strings: texts that end it, wherever they lie in the tokens.
      endless: allow nothing to end a completion but its limit.
    """
    vocab_size = len(token_bytes)
    for token in stop_ids:
        if not 0 <= token < vocab_size:
            raise UserError(
                f"stop id {token}: not in the vocabulary; accepted: 0 to "
                f"{vocab_size - 1}"
            )
    for text in stop_strings:
        if not text:
            raise UserError("stop string '': empty; accepted: one byte or more")
    if not (stop_ids or stop_strings or endless):
        raise UserError(
            "stop ids: none, the vocabulary names no end token; accepted: one id or "
            "one stop string, or say endless to write until the limit"
        )
    trie = build_trie([(text.encode(), _STRING_FLAG) for text in stop_strings])
    id_flags = {int(token): _ID_FLAG for token in stop_ids}
    return StopTable(compile_automaton(trie, token_bytes, id_flags))


def find_stop(text: bytes, stop_strings: Sequence[str]) -> tuple[int, int] | None:
    """Return (start, end) of the match that ends first, the longest of those."""
    spans = []
    for stop in stop_strings:
        start = text.find(stop.encode())
        if start >= 0:
            spans.append((start + len(stop.encode()), start))
    return min(spans)[::-1] if spans else None


def cut_at_stop(
    text: str, stop_strings: Sequence[str], *, keep_stop: bool = False
) -> str:
    """Return `text` up to the stop string that ends first, without it by default.

    >>> cut_at_stop("6 x 7 = 42; so", [";"])
    '6 x 7 = 42'
    """
    written = text.encode()
    span = find_stop(written, stop_strings)
    if span is None:
        return text
    return written[: span[1] if keep_stop else span[0]].decode()
