# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""`ThinkingBudget` in tokens: a state machine of each row inside the decoding loop.

Budget forcing after s1 (arXiv 2501.19393: "Wait" in place of an early end) and
Qwen3 (2505.09388, section 4.7: a stop sentence and the end tag at the bound). What
the machine writes is flagged as forced: it was not sampled and bears no loss.

| budget | the thought |
| --- | --- |
| `0` | empty: open and close tags are forced |
| `N` | exactly N tokens: an earlier end is replaced, the end is forced at N |
| `N+halt` | at most N tokens, ended by the model or forced at N |
| `-1` | free within the cap; not even the open tag is forced |
| `low`, `medium`, `high` | at most 1/4, 1/2, all of the cap |

A thought's tokens are those between its tags, waits included; tags, partial tags
and the stop sentence at the bound are not counted. Where no wait is given, the ids
that would end the thought are taken out of the distribution instead. N is a bound
on what the row may think, not a promise that its `max_new` tokens suffice.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax.reasoning.budget import LEVELS, ThinkingBudget
from lrm_jax.reasoning.stops import (
    STOP_LENGTH,
    StopTable,
    TokenAutomaton,
    build_trie,
    compile_automaton,
)
from lrm_jax.types import Array, UserError

BEFORE, THINK, ANSWER = 0, 1, 2
"""Phases of a row: no thought yet, in it, after it."""
NO_SCRIPT, OPEN, EMPTY, CLOSE, END, WAIT = -1, 0, 1, 2, 3, 4
"""Scripts: forced sequences of ids. END is the stop sentence and CLOSE."""
_PHASE_AFTER = (THINK, ANSWER, ANSWER, ANSWER, THINK)
_OPEN_FLAG, _CLOSE_FLAG = 1, 2
_SCRIPT_WIDTH_MIN = 32


@dataclasses.dataclass(frozen=True)
class ThinkingTags:
    """What marks a thought, as ids of one vocabulary.

    Attributes:
      open: opens a thought.
      close: closes it.
      stop: written before `close` at the bound ("Time is up, I answer now").
      wait: written in place of an early end ("Wait").
      empty: what an empty thought holds (Qwen3: two newlines).
      after: written after a forced `close`.
    """

    open: tuple[int, ...]
    close: tuple[int, ...]
    stop: tuple[int, ...] = ()
    wait: tuple[int, ...] = ()
    empty: tuple[int, ...] = ()
    after: tuple[int, ...] = ()


class TokenBudget(NamedTuple):
    """Budgets of a batch as traced arrays; made by `token_budgets`.

    Attributes:
      minimum: `[B]` int32, least tokens of a thought.
      maximum: `[B]` int32, most tokens of it.
      script: `[B]` int32, what is forced at the start, NO_SCRIPT for nothing.
      phase: `[B]` int32, where the prompt leaves the row.
      scripts: `[5, width]` int32 ids of the scripts.
      lengths: `[5]` int32 of the scripts.
      automaton: finds the tags in what was sampled.
      partial_bytes: `[states]` int32, bytes of a begun close tag in each state.
      partial_ids: `[states]` int32, ids of it where it was cut as in the script.
      token_bytes: `[V]` int32, bytes each id writes.
    """

    minimum: Array  # [B]
    maximum: Array  # [B]
    script: Array  # [B]
    phase: Array  # [B]
    scripts: Array  # [5, width]
    lengths: Array  # [5]
    automaton: TokenAutomaton
    partial_bytes: Array  # [states]
    partial_ids: Array  # [states]
    token_bytes: Array  # [V]

    def take(self, rows: Array) -> "TokenBudget":
        """Return the budgets of `rows` `[B']`."""
        return self._replace(
            minimum=self.minimum[rows],
            maximum=self.maximum[rows],
            script=self.script[rows],
            phase=self.phase[rows],
        )


class ThoughtState(NamedTuple):
    """Where each row of a batch is in its thought.

    Attributes:
      phase: `[B]` int32, BEFORE, THINK or ANSWER.
      script: `[B]` int32, what is being forced, NO_SCRIPT for nothing.
      offset: `[B]` int32 into it.
      length: `[B]` int32, tokens of the thought so far.
      partial: `[B]` int32, how many of those began a close tag just now.
      search: `[B]` int32, state of the search for tags.
    """

    phase: Array  # [B]
    script: Array  # [B]
    offset: Array  # [B]
    length: Array  # [B]
    partial: Array  # [B]
    search: Array  # [B]


def begin_thoughts(budget: TokenBudget) -> ThoughtState:
    """Return the state before the first token."""
    zeros = jnp.zeros_like(budget.phase)
    return ThoughtState(budget.phase, budget.script, zeros, zeros, zeros, zeros)


def banned_ids(
    budget: TokenBudget, state: ThoughtState, stops: StopTable | None, stop_state: Array
) -> Array:
    """Return `[B, V]`: ids that would end a thought too early, where none can wait."""
    early = (state.script == NO_SCRIPT) & (state.phase == THINK)
    early &= (state.length - state.partial) < budget.minimum
    early &= budget.lengths[WAIT] == 0

    def ends() -> Array:
        flags = budget.automaton.flags[state.search] & _CLOSE_FLAG > 0  # [B, V]
        if stops is not None:
            flags |= stops.automaton.flags[stop_state] > 0
        return flags & early[:, None]

    shape = (*early.shape, budget.automaton.flags.shape[1])
    return jax.lax.cond(early.any(), ends, lambda: jnp.zeros(shape, bool))


def step_thoughts(
    budget: TokenBudget, state: ThoughtState, sampled: Array, stop: Array
) -> tuple[Array, Array, ThoughtState]:
    """Let the budget have its say on the tokens just sampled.

    Args:
      budget: of each row.
      state: before the token.
      sampled: `[B]` int32 ids.
      stop: `[B]` int32, why the sampled id would end the completion.

    Returns:
      ids `[B]` to write, forced `[B]` bool where they are the budget's and not the
      sampled ones, and the state after them.
    """
    search, flags = budget.automaton.read(state.search, sampled)
    thinking = state.phase == THINK
    closes = thinking & (flags & _CLOSE_FLAG > 0)
    opens = (state.phase == BEFORE) & (flags & _OPEN_FLAG > 0)
    running = state.script != NO_SCRIPT
    early = (state.length - state.partial) < budget.minimum
    can_wait = budget.lengths[WAIT] > 0
    waits = ~running & thinking & early & can_wait & (closes | (stop != STOP_LENGTH))
    script = jnp.where(waits, WAIT, state.script)
    offset = jnp.where(running, state.offset, 0)
    forced = running | waits
    row = jnp.maximum(script, 0)
    ids = jnp.where(forced, budget.scripts[row, offset], sampled)

    written = thinking & jnp.where(forced, script == WAIT, ~closes)
    length = state.length + written
    length -= jnp.where(closes & ~forced, state.partial, 0)
    depth = jnp.where(forced, 0, budget.partial_bytes[search])
    within = budget.token_bytes[sampled] >= depth  # begun inside this token
    partial = jnp.where(depth == 0, 0, jnp.where(within, 1, state.partial + 1))
    partial = jnp.where(thinking & ~closes, partial, 0)

    ended = forced & (offset + 1 >= budget.lengths[row])
    phase = jnp.where(ended, jnp.asarray(_PHASE_AFTER)[row], state.phase)
    phase = jnp.where(closes & ~forced, ANSWER, phase)
    phase = jnp.where(opens & ~forced, THINK, phase)
    script = jnp.where(ended, NO_SCRIPT, script)
    search = jnp.where(forced, 0, search)
    after = ThoughtState(
        phase, script, jnp.where(ended, 0, offset + 1), length, partial, search
    )
    return ids, forced, _bound(budget, after)


def _bound(budget: TokenBudget, state: ThoughtState) -> ThoughtState:
    """Force the end of every thought that has reached its bound."""
    free = (state.script == NO_SCRIPT) | (state.script == WAIT)
    full = free & (state.phase == THINK) & (state.length >= budget.maximum)
    # A close tag the model has begun is finished, not begun again, unless the
    # thought would then be too short.
    begun = jnp.where(state.script == WAIT, 0, budget.partial_ids[state.search])
    finishes = full & (begun > 0)
    finishes &= state.length - state.partial >= budget.minimum
    begun = jnp.where(finishes, begun, 0)
    return state._replace(
        script=jnp.where(full, jnp.where(finishes, CLOSE, END), state.script),
        offset=jnp.where(full, begun, state.offset),
        length=state.length - jnp.where(finishes, state.partial, 0),
        partial=jnp.where(full, 0, state.partial),
    )


def token_budgets(
    budgets: Sequence[str | int | ThinkingBudget],
    tags: ThinkingTags,
    token_bytes: Sequence[bytes],
    *,
    cap: int,
    opened: bool | Sequence[bool] = False,
    closed: bool | Sequence[bool] = False,
    minimum: int | Sequence[int] = 0,
) -> TokenBudget:
    """Compile one budget a row.

    Args:
      budgets: `[B]`, mixed as you like.
      tags: of the vocabulary.
      token_bytes: what each id writes.
      cap: the most tokens any thought may have.
      opened: rows whose prompt ends inside a thought (the template opens it).
      closed: rows whose prompt ends with a whole thought (an empty one, where a
        template switches thinking off): nothing is left to bound.
      minimum: least tokens of a thought, of rows whose budget is not exact.
    """
    rows = len(budgets)
    least = [int(n) for n in _rows(minimum, rows)]
    _check_tags(tags, len(token_bytes))
    each = zip(budgets, _rows(opened, rows), least, strict=True)
    found = [_row(*one, cap) for one in each]
    for i, over in enumerate(_rows(closed, rows)):
        found[i] = (0, found[i][1], NO_SCRIPT, ANSWER) if over else found[i]
    low, high, script, phase = np.asarray(found, np.int32).reshape(rows, 4).T
    scripts = _scripts(tags)
    lengths = [len(s) for s in scripts]
    width = max(_SCRIPT_WIDTH_MIN, 1 << (max(lengths) - 1).bit_length())
    table = np.zeros((len(scripts), width), np.int32)
    for i, ids in enumerate(scripts):
        table[i, : len(ids)] = ids
    search = jax.tree.map(jnp.asarray, _tag_search(tags, tuple(token_bytes)))
    return TokenBudget(
        minimum=jnp.asarray(low),
        maximum=jnp.asarray(high),
        script=jnp.asarray(script),
        phase=jnp.asarray(phase),
        scripts=jnp.asarray(table),
        lengths=jnp.asarray(lengths, jnp.int32),
        automaton=search[0],
        partial_bytes=search[1],
        partial_ids=search[2],
        token_bytes=search[3],
    )


def _row(
    budget: str | int | ThinkingBudget, opened: bool, minimum: int, cap: int
) -> tuple[int, int, int, int]:
    """Return minimum, maximum, first script and first phase of a row."""
    parsed = ThinkingBudget.parse(budget, unit="tokens")
    if parsed.unit != "tokens":
        raise UserError(f"budget unit {parsed.unit!r}: accepted: tokens")
    maximum, early_stop = parsed.resolve(cap)
    phase = THINK if opened else BEFORE
    if maximum == 0:
        return 0, 0, CLOSE if opened else EMPTY, phase
    exact = early_stop is None and parsed.spelling not in LEVELS
    minimum = maximum if exact else minimum
    if not 0 <= minimum <= maximum:
        raise UserError(
            f"thinking minimum {minimum}: accepted: 0 to the budget's {maximum} tokens"
        )
    free = early_stop == "rule" and minimum == 0
    return minimum, maximum, NO_SCRIPT if opened or free else OPEN, phase


def _rows(value: int | bool | Sequence, count: int) -> list:
    rows = list(value) if isinstance(value, Sequence) else [value] * count
    if len(rows) != count:
        raise UserError(f"thinking budgets: {count} rows, but {len(rows)} values given")
    return rows


def _check_tags(tags: ThinkingTags, vocab_size: int) -> None:
    for field in dataclasses.fields(tags):
        ids = getattr(tags, field.name)
        if field.name in ("open", "close") and not ids:
            raise UserError(f"thinking tag {field.name}: empty; accepted: ids")
        for token in ids:
            if not 0 <= token < vocab_size:
                raise UserError(
                    f"thinking tag {field.name}: id {token} is not in the vocabulary; "
                    f"accepted: 0 to {vocab_size - 1}"
                )


def _scripts(tags: ThinkingTags) -> list[tuple[int, ...]]:
    """Return the ids of OPEN, EMPTY, CLOSE, END and WAIT."""
    close = tags.close + tags.after
    return [
        tags.open,
        tags.open + tags.empty + close,
        close,
        tags.stop + close,
        tags.wait,
    ]


@functools.lru_cache(maxsize=4)
def _tag_search(
    tags: ThinkingTags, token_bytes: tuple[bytes, ...]
) -> tuple[TokenAutomaton, np.ndarray, np.ndarray, np.ndarray]:
    """Return the search for tags, how much of a close tag each state has, and widths.

    Kept, because it takes a second for a large vocabulary; on the host, since an
    array made while a mesh is in use lies on that mesh, and others ask here too.

    Tags are found as bytes, however they were cut into tokens; one that is a single
    id is found as that id too (special tokens may write nothing).
    """
    written = {
        flag: b"".join(token_bytes[token] for token in ids)
        for flag, ids in ((_OPEN_FLAG, tags.open), (_CLOSE_FLAG, tags.close))
    }
    for name, ids, flag in (
        ("open", tags.open, _OPEN_FLAG),
        ("close", tags.close, _CLOSE_FLAG),
    ):
        if len(ids) > 1 and not all(token_bytes[token] for token in ids):
            raise UserError(
                f"thinking tag {name}: {list(ids)[:8]}: an id that writes no text; "
                f"accepted: one such id alone, or ids with text ({written[flag]!r})"
            )
    trie = build_trie([(text, flag) for flag, text in written.items() if text])
    id_flags: dict[int, int] = {}
    for flag, ids in ((_OPEN_FLAG, tags.open), (_CLOSE_FLAG, tags.close)):
        if len(ids) == 1:
            id_flags[ids[0]] = id_flags.get(ids[0], 0) | flag
    with jax.ensure_compile_time_eval():  # what is kept must be no tracer
        automaton = compile_automaton(trie, token_bytes, id_flags)
    lengths = np.cumsum([0] + [len(token_bytes[token]) for token in tags.close])
    cuts = {int(n): i for i, n in enumerate(lengths[:-1]) if len(tags.close) > 1}
    depths = np.zeros(automaton.flags.shape[0], np.int32)
    ids = np.zeros_like(depths)
    close = written[_CLOSE_FLAG]
    for state, prefix in enumerate(trie.prefixes):
        longest = range(min(len(prefix), len(close) - 1), 0, -1)
        depth = next((n for n in longest if prefix.endswith(close[:n])), 0)
        depths[state], ids[state] = depth, cuts.get(depth, 0)
    widths = np.asarray([len(b) for b in token_bytes], np.int32)
    return jax.tree.map(np.asarray, automaton), depths, ids, widths
