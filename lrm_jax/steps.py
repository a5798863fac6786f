# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where the steps of a written solution end: one rule for training, scoring, search.

`tokenize_steps` writes steps as tokens and knows where they end; `step_end_mask` finds
the same places from token ids alone, by an automaton over the bytes that tokens write,
so it does not matter how a text was cut. A step of blanks alone does not exist.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax.types import Array, UserError

Encode = Callable[[str], list[int]]
"""Text to ids; nothing is added before or after it."""

_STATES_MIN = 16
_ENDS, _WRITES, _OPEN = 1, 2, 4  # of a token: ends a step, writes, leaves one open


@dataclasses.dataclass(frozen=True)
class StepRule:
    r"""How steps are written.

    Attributes:
      separator: text after a step; the score is read at its last token. It may be
        written by a special token of its own (`<extra_0>`).
      between: text after a separator and before the next step, which belongs to
        neither (`"\n"` after the tag of Math-Shepherd).
      last: what ends the last step: a `separator` as after the others, or its own
        last token (`text`).
      pieces: how steps become tokens: `joined`, the whole text at once, as a policy
        writes it; or `apart`, each step and each separator by itself (as TRL does).
    """

    separator: str = "\n"
    between: str = ""
    last: Literal["separator", "text"] = "separator"
    pieces: Literal["joined", "apart"] = "joined"

    def __post_init__(self) -> None:
        """Refuse a rule that finds no step."""
        if not self.separator:
            raise UserError("steps.separator is empty; accepted: one character or more")
        if self.between.strip():
            raise UserError(
                f"steps.between={self.between!r}: accepted: blanks and line ends"
            )


class StepTokens(NamedTuple):
    """Prompt and steps as tokens.

    Attributes:
      ids: of both.
      ends: index of the token at which each step's score is read, rising.
      start: index of the first token after the prompt.
    """

    ids: list[int]
    ends: list[int]
    start: int


class Vocabulary(Protocol):
    """What of a tokenizer is needed to find steps in its ids."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text."""
        ...

    def token_bytes(self) -> list[bytes]:
        """Return what each id adds to a text in UTF-8, `[vocab_size]`."""
        ...


class StepTable(NamedTuple):
    """The automaton that finds step ends in token ids; state 0 is the start.

    Attributes:
      next_state: `[states, V]` int16, the state after a token.
      flags: `[states, V]` uint8: whether the token ends a step, writes anything, and
        leaves a step open that has more than blanks.
      last_is_text: `[]` bool, whether the last step ends at its last token.
    """

    next_state: Array  # [states, V]
    flags: Array  # [states, V]
    last_is_text: Array  # []

    def read(self, state: Array, ids: Array) -> tuple[Array, Array]:
        """Return the states `[B]` after tokens `ids` `[B]`, and which end a step.

        For decoding, token by token from state 0 after the prompt. That a text ends
        is not seen here, so neither is a last step without a separator.
        """
        ends = self.flags[state, ids] & _ENDS > 0
        return self.next_state[state, ids].astype(jnp.int32), ends


def join_steps(steps: Sequence[str], rule: StepRule) -> str:
    """Return the text of steps as the rule writes them."""
    parts = []
    for i, step in enumerate(steps):
        last = i == len(steps) - 1
        parts.append(step)
        if not last or rule.last == "separator":
            parts.append(rule.separator)
        if not last:
            parts.append(rule.between)
    return "".join(parts)


def split_steps(text: str, rule: StepRule) -> list[str]:
    """Return the steps of a text, without separators.

    What follows the last separator is a step where `rule.last` is `text`, and else
    is unfinished and left out. Steps of blanks alone are left out.

    Raises:
      UserError: there is no step.
    """
    pieces = text.split(rule.separator)
    if rule.last == "separator":
        pieces.pop()
    steps = [piece.removeprefix(rule.between) for piece in pieces]
    steps = [step for step in steps if not _blank(step)]
    if not steps:
        raise UserError(
            f"no step separator {rule.separator!r} found in {_excerpt(text)}"
        )
    return steps


def tokenize_steps(
    encode: Encode,
    prompt: str | Sequence[int],
    steps: Sequence[str],
    rule: StepRule,
    table: StepTable | None = None,
) -> StepTokens:
    """Return prompt and steps as ids, and where each step ends.

    Args:
      encode: of the tokenizer.
      prompt: text, or ids where a template has written it already. It is always
        encoded by itself.
      steps: texts without their separators.
      rule: how they are written.
      table: of the rule, where device and host are to be seen to agree on these ids.

    Raises:
      UserError: no step, a step of blanks, one that holds the separator or makes one
        with its neighbour, or a tokenizer that writes a step's end otherwise when
        more follows. Never a guess.
    """
    text = _checked_text(steps, rule)
    head = encode(prompt) if isinstance(prompt, str) else [int(i) for i in prompt]
    pieces, before = [], ""
    for i, step in enumerate(steps):
        ended = i < len(steps) - 1 or rule.last == "separator"
        separator = rule.separator if ended else ""
        if rule.pieces == "apart":
            after = [*encode(separator)] if ended else []
            pieces.append([*_encode_if(encode, before), *encode(step), *after])
        else:
            pieces.append(encode(before + step + separator))
        if not pieces[-1]:
            raise UserError(f"step {i + 1} {_excerpt(step)} has no token")
        before = rule.between
    ends = (np.cumsum([len(piece) for piece in pieces]) - 1).tolist()
    ids = [i for piece in pieces for i in piece]
    if rule.pieces == "joined":
        whole = encode(text)
        if whole != ids:  # pieces are cut otherwise by themselves: look at prefixes
            ids, ends = whole, _prefix_ends(encode, whole, steps, rule)
    found = StepTokens([*head, *ids], [len(head) + end for end in ends], len(head))
    if table is not None:
        _check_ends(found, table)
    return found


def step_table(tokenizer: Vocabulary, rule: StepRule) -> StepTable:
    """Compile the automaton of a rule for a vocabulary.

    Args:
      tokenizer: `encode` and `token_bytes` are used.
      rule: what separates steps.

    Raises:
      UserError: the vocabulary cannot write the separator.
    """
    written = tokenizer.token_bytes()
    ids = tokenizer.encode(rule.separator)
    marker = None
    if b"".join(written[i] for i in ids).strip() != rule.separator.encode().strip():
        if len(ids) != 1 or written[ids[0]]:
            raise UserError(
                f"steps.separator={rule.separator!r}: the tokenizer cannot write it"
            )
        marker = ids[0]
    goto, ended, is_open = _byte_automaton(
        b"" if marker is not None else rule.separator.encode()
    )
    now, flags = _over_tokens(goto, ended, is_open, written)
    if marker is not None:
        flags[:, marker] = np.where(is_open, _ENDS, 0)
        now[:, marker] = 0
    last = np.asarray(rule.last == "text")
    return StepTable(*map(jnp.asarray, (now, flags, last)))


def step_end_mask(ids: Array, mask: Array, table: StepTable) -> Array:
    """Return where steps end, `[B, T]` bool; pure and jit-able.

    Args:
      ids: `[B, T]` int32.
      mask: `[B, T]` bool, true at the solution's tokens: not at the prompt's, nor in
        padding. The search starts anew after each stretch that is hidden.
      table: of the rule.
    """

    def forward(state: Array, token: tuple[Array, Array]) -> tuple[Array, Array]:
        ids, here = token
        flags = jnp.where(here, table.flags[state, ids], 0)
        state = jnp.where(here, table.next_state[state, ids].astype(jnp.int32), 0)
        return state, flags

    def backward(later: Array, token: tuple[Array, Array]) -> tuple[Array, Array]:
        flags, here = token
        writes = flags & _WRITES > 0
        return here & (later | writes), writes & ~later & (flags & _OPEN > 0)

    start = jnp.zeros(ids.shape[:1], jnp.int32)
    _, flags = jax.lax.scan(forward, start, (ids.T, mask.T))  # [T, B]
    _, last = jax.lax.scan(backward, start > 0, (flags, mask.T), reverse=True)
    return ((flags & _ENDS > 0) | (last & table.last_is_text)).T


def find_step_ends(ids: Sequence[int], start: int, table: StepTable) -> list[int]:
    """Return where steps end on the host: indices into `ids`, from `start` on."""
    next_state, flags = np.asarray(table.next_state), np.asarray(table.flags)
    state, found, open_at = 0, [], -1
    for place, token in enumerate(ids[start:], start):
        flag = flags[state, token]
        state = next_state[state, token]
        if flag & _ENDS:
            found.append(place)
        if flag & _WRITES:
            open_at = place if flag & _OPEN else -1
    if bool(table.last_is_text) and open_at >= 0 and found[-1:] != [open_at]:
        found.append(open_at)
    return found


def _checked_text(steps: Sequence[str], rule: StepRule) -> str:
    """Return the text of steps whose separators are all its own."""
    if not steps:
        raise UserError("no steps; expected one or more")
    at, expected = 0, []
    for i, step in enumerate(steps):
        if _blank(step):
            raise UserError(f"step {i + 1} of {len(steps)} is empty: {step!r}")
        if rule.separator in step:
            raise UserError(
                f"step {i + 1} of {len(steps)} holds the separator "
                f"{rule.separator!r}: {_excerpt(step)}"
            )
        expected.append(at + len(step))
        at = expected[-1] + len(rule.separator) + len(rule.between)
    text = join_steps(steps, rule)
    found, at = [], text.find(rule.separator)
    while at >= 0:
        found.append(at)
        at = text.find(rule.separator, at + len(rule.separator))
    if rule.last == "text":
        expected.pop()
    if found != expected:
        place = next(
            (i for i, one in enumerate(expected) if found[i : i + 1] != [one]),
            len(steps) - 1,
        )
        raise UserError(
            f"step {place + 1} of {len(steps)} makes a separator "
            f"{rule.separator!r} with its neighbour: {_excerpt(steps[place])}"
        )
    return text


def _prefix_ends(
    encode: Encode, whole: list[int], steps: Sequence[str], rule: StepRule
) -> list[int]:
    """Return the ends of steps by encoding all that is written up to each."""
    ends = []
    separated = dataclasses.replace(rule, last="separator")
    for i in range(1, len(steps) + 1):
        upto = rule if i == len(steps) else separated
        ids = encode(join_steps(steps[:i], upto))
        if not ids or ids != whole[: len(ids)] or ends[-1:] == [len(ids) - 1]:
            raise UserError(
                f"the tokenizer joins the end of step {i} of {len(steps)} with what "
                f"follows; no token ends it: {_excerpt(steps[i - 1])}"
            )
        ends.append(len(ids) - 1)
    return ends


def _check_ends(tokens: StepTokens, table: StepTable) -> None:
    """Refuse ids in which the automaton sees other steps than were written."""
    seen = find_step_ends(tokens.ids, tokens.start, table)
    if seen != tokens.ends:
        raise UserError(
            f"{len(tokens.ends)} steps end at tokens {tokens.ends}, but the bytes that "
            f"the tokens write end {len(seen)} at {seen}: the tokenizer does not write "
            "the text as it is"
        )


def _encode_if(encode: Encode, text: str) -> list[int]:
    return encode(text) if text else []


def _excerpt(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:40]}...{text[-17:]}")


def _blank(text: str) -> bool:
    """As the automaton has it: blanks are those of ASCII."""
    return not text.encode(errors="replace").strip()


def _byte_automaton(separator: bytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return goto `[states, 256]`, ended `[states, 256]` and open `[states]`.

    A state is how much of the separator has been read (Knuth, Morris, Pratt 1977) and
    whether the step before it has more than blanks: after the states where it has
    not. Their number is a power of two, so that another separator seldom means
    another compiled program.
    """
    width = max(1, len(separator))
    states = max(_STATES_MIN, 1 << (2 * width - 1).bit_length())
    goto = np.zeros((states, 256), np.int32)
    ended = np.zeros((states, 256), bool)
    is_open = np.zeros(states, bool)
    for full in (False, True):
        for read in range(width):
            state = full * width + read
            is_open[state] = full or bool(separator[:read].strip())
            for byte in range(256):
                seen = separator[:read] + bytes([byte])
                if separator and seen == separator:
                    ended[state, byte] = full  # and start anew
                    continue
                kept = min(len(seen), width - 1)
                while seen[len(seen) - kept :] != separator[:kept]:
                    kept -= 1
                content = full or bool(seen[: len(seen) - kept].strip())
                goto[state, byte] = content * width + kept
    return goto, ended, is_open


def _over_tokens(
    goto: np.ndarray, ended: np.ndarray, is_open: np.ndarray, written: Sequence[bytes]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the automaton over tokens of one over bytes: next state, and flags."""
    lengths = np.asarray([len(one) for one in written])
    letters = np.zeros((len(written), int(lengths.max(initial=0))), np.uint8)
    for i, one in enumerate(written):
        letters[i, : len(one)] = np.frombuffer(one, np.uint8)
    now = np.repeat(np.arange(len(goto))[:, None], len(written), axis=1)
    flags = np.where(lengths > 0, np.uint8(_WRITES), np.uint8(0))
    flags = np.repeat(flags[None], len(goto), axis=0)
    for place in range(letters.shape[1]):
        longer = np.flatnonzero(lengths > place)
        before = now[:, longer]
        flags[:, longer] |= ended[before, letters[longer, place]] * np.uint8(_ENDS)
        now[:, longer] = goto[before, letters[longer, place]]
    flags |= is_open[now] * np.uint8(_OPEN)
    return now.astype(np.int16), flags
