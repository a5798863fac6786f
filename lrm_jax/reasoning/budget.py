# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""One interface to effort: `ThinkingBudget`, and the loops that spend it.

The loops know a reasoner by its Protocol only (`lrm_jax.types.Reasoner`), so the
same budget drives latent segments, tokens and simulations.
"""

import dataclasses
import difflib
import re
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from lrm_jax.reasoning.lanes import select_lanes
from lrm_jax.types import (
    Answer,
    Array,
    Key,
    Params,
    Problem,
    Reasoner,
    Signals,
    UserError,
)

Unit = Literal["segments", "tokens", "simulations"]
EarlyStop = Literal["halt", "rule"] | None
"""What may end a thought early: the halting signal, the recipe's rule, nothing."""

ACCEPTED = "-1, 0, N, N+halt, low, medium or high"
LEVELS = {"low": (1, 4), "medium": (1, 2), "high": (1, 1)}
"""Share of the cap, as a fraction; rounded up, so never nothing."""
LEAST = {"segments": 1, "tokens": 0, "simulations": 0}
"""The least a reasoner of each unit can do: what the budget `0` buys."""


class ResolvedBudget(NamedTuple):
    """A budget against a cap: at most `max_steps`, ended early by `early_stop`."""

    max_steps: int
    early_stop: EarlyStop


@dataclasses.dataclass(frozen=True)
class ThinkingBudget:
    """How long to think, spelled the same in Python, on the CLI and in configs.

    | spelling | meaning |
    | --- | --- |
    | `0` | the least the model can do (segments: one; tokens: an empty thought) |
    | `N` | exactly N steps |
    | `N+halt` | at most N steps, stopped by the halting signal |
    | `-1` | until the recipe's own rule stops, within the cap |
    | `low`, `medium`, `high` | 1/4, 1/2 (rounded up) and all of the cap |

    Attributes:
      spelling: one of the above; an int is accepted and turned into text.
      unit: what a step is.

    >>> ThinkingBudget("8+halt").resolve(cap=16)
    ResolvedBudget(max_steps=8, early_stop='halt')
    >>> ThinkingBudget("low").resolve(cap=16).max_steps
    4
    """

    spelling: str
    unit: Unit = "segments"

    def __post_init__(self) -> None:
        """Check the spelling and bring it to its canonical form."""
        if self.unit not in get_args(Unit):
            raise UserError(
                f"budget unit {self.unit!r}: unknown; accepted: "
                + ", ".join(get_args(Unit))
            )
        object.__setattr__(self, "spelling", _canonical(self.spelling))

    @classmethod
    def parse(
        cls,
        budget: "str | int | ThinkingBudget",
        *,
        unit: Unit = "segments",
        cap: int | None = None,
    ) -> "ThinkingBudget":
        """Return the budget meant by `budget`; with a `cap`, check it fits too."""
        parsed = (
            budget if isinstance(budget, ThinkingBudget) else cls(budget, unit)  # pyright: ignore[reportArgumentType]
        )
        if cap is not None:
            parsed.resolve(cap)
        return parsed

    def __str__(self) -> str:
        """Return the canonical spelling, which `parse` reads back."""
        return self.spelling

    def resolve(self, cap: int) -> ResolvedBudget:
        """Return the number of steps and what may stop earlier, within `cap`."""
        if cap < 1:
            raise UserError(f"budget cap {cap}: must be at least 1 of {self.unit}")
        if self.spelling in LEVELS:
            numerator, denominator = LEVELS[self.spelling]
            return ResolvedBudget(-(-cap * numerator // denominator), None)
        if self.spelling == "-1":
            return ResolvedBudget(cap, "rule")
        amount, _, halt = self.spelling.partition("+")
        if int(amount) > cap:
            raise UserError(
                f"budget {self.spelling!r}: beyond the cap of {cap} {self.unit}; "
                f"accepted: {ACCEPTED}, with N at most {cap}"
            )
        max_steps = int(amount) or LEAST[self.unit]
        return ResolvedBudget(max_steps, "halt" if halt else None)


def _canonical(budget: object) -> str:
    """Return the one spelling of a budget, or say what is wrong with it."""
    if isinstance(budget, int) and not isinstance(budget, bool):
        budget = str(budget)
    if not isinstance(budget, str):
        raise UserError(f"budget {budget!r}: not an integer; accepted: {ACCEPTED}")
    text = budget.strip().lower()
    if text in LEVELS:
        return text
    match = re.fullmatch(r"(-?[0-9]+)(\+halt)?", text)
    if match is None:
        raise UserError(f"budget {budget!r}: {_what_is_wrong(text)}")
    amount, halt = int(match[1]), match[2] or ""
    if amount < -1:
        raise UserError(f"budget {budget!r}: below -1; accepted: {ACCEPTED}")
    if halt and amount < 1:
        raise UserError(
            f"budget {budget!r}: N+halt needs N of at least 1; accepted: {ACCEPTED}"
        )
    return f"{amount}{halt}"


def _what_is_wrong(text: str) -> str:
    """Say why `text` is no budget, with the nearest one where there is one."""
    if "+" in text:
        near = "N+halt"
        amount = text.partition("+")[0]
        if re.fullmatch(r"[0-9]+", amount):
            near = f"{amount}+halt"
        return f"unknown early stop; did you mean {near!r}? accepted: {ACCEPTED}"
    if re.match(r"[-+.]?[0-9]", text) or not text:
        return f"not an integer; accepted: {ACCEPTED}"
    close = difflib.get_close_matches(text, LEVELS, n=1, cutoff=0.4)
    hint = f"; did you mean {close[0]!r}?" if close else ";"
    return f"unknown level{hint} accepted: {ACCEPTED}"


def stops(signals: Signals, early_stop: EarlyStop) -> Array:
    """Return `[B]`: which lanes `early_stop` ends after this step."""
    if early_stop == "halt":
        return signals.halt > 0
    if early_stop == "rule":
        return signals.done
    return jnp.zeros_like(signals.done)


def lane_keys(key: Key, indices: Array) -> Key:
    """Return one key per problem index, whatever lane or batch it runs in."""
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, indices)


def step_keys(keys: Key, steps: Array) -> Key:
    """Return the keys `[B]` of step `steps` `[B]`; 0 is `start`, 1 the first step."""
    return jax.vmap(jax.random.fold_in)(keys, steps)


class Thought(NamedTuple):
    """What a budget bought.

    Attributes:
      answer: the answer of each lane when its thought ended.
      steps: `[B]` int32, steps spent.
      halted: `[B]` bool, whether `early_stop` ended the lane (not the budget).
      carry: the carry of each lane when its thought ended.
      record: what `observe` returned, stacked over steps `[T, ...]`; else None.
    """

    answer: Answer
    steps: Array  # [B]
    halted: Array  # [B]
    carry: Any
    record: Any


class _LoopState(NamedTuple):
    carry: Any
    signals: Signals | None  # the last ones, kept where a lane may freeze
    steps: Array  # [B]
    halted: Array  # [B]


def _begin(
    reasoner: Reasoner,
    params: Params,
    problem: Problem,
    keys: Key,
    early_stop: EarlyStop,
) -> _LoopState:
    """Return the state before the first step; nothing is signalled yet."""
    no_steps = jnp.zeros(keys.shape, jnp.int32)  # [B]
    carry = reasoner.start(params, problem, step_keys(keys, no_steps))
    signals = None
    if early_stop is not None:
        shapes = jax.eval_shape(reasoner.think, params, carry, keys)[1]
        signals = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    return _LoopState(carry, signals, no_steps, jnp.zeros(keys.shape, bool))


def _step(
    reasoner: Reasoner,
    params: Params,
    keys: Key,
    early_stop: EarlyStop,
    state: _LoopState,
) -> tuple[_LoopState, Signals]:
    """Take one step in every lane that has not halted; the others stay frozen."""
    carry, signals = reasoner.think(
        params, state.carry, step_keys(keys, state.steps + 1)
    )
    if early_stop is None:
        return state._replace(carry=carry, steps=state.steps + 1), signals
    active = ~state.halted
    before: Any = (state.carry, state.signals)
    carry, signals = select_lanes(active, (carry, signals), before)
    halted = state.halted | stops(signals, early_stop)
    return _LoopState(carry, signals, state.steps + active, halted), signals


def think_for(
    reasoner: Reasoner,
    params: Params,
    problem: Problem,
    keys: Key,
    *,
    max_steps: int,
    early_stop: EarlyStop = None,
    observe: Callable[[Any, Signals], Any] | None = None,
) -> Thought:
    """Think `max_steps` steps in one `lax.scan`; halted lanes keep their answer.

    Args:
      reasoner: the reasoner.
      params: its parameters.
      problem: arrays with a leading lane axis `[B, ...]`.
      keys: `[B]`, one per lane; consumed. The draws of a step depend on its lane's
        key and count only, so a lane thinks as it would alone.
      max_steps: static number of steps, at least 0.
      early_stop: what may freeze a lane before.
      observe: called with (carry, signals) after each step; what it returns is
        stacked over steps.

    Returns:
      The thought, with `record` `[T, ...]` where `observe` is given.
    """

    def body(state: _LoopState, _: None) -> tuple[_LoopState, Any]:
        state, signals = _step(reasoner, params, keys, early_stop, state)
        return state, None if observe is None else observe(state.carry, signals)

    first = _begin(reasoner, params, problem, keys, early_stop)
    last, record = jax.lax.scan(body, first, None, length=max_steps)
    answer = reasoner.answer(params, last.carry)
    return Thought(answer, last.steps, last.halted, last.carry, record)


def think_until(
    reasoner: Reasoner,
    params: Params,
    problem: Problem,
    keys: Key,
    *,
    max_steps: int,
    early_stop: EarlyStop,
) -> Thought:
    """Think as `think_for` does, but leave the loop once every lane has halted."""

    def wants_more(loop: tuple[Array, _LoopState]) -> Array:
        step, state = loop
        return (step < max_steps) & ~state.halted.all()

    def body(loop: tuple[Array, _LoopState]) -> tuple[Array, _LoopState]:
        step, state = loop
        return step + 1, _step(reasoner, params, keys, early_stop, state)[0]

    first = _begin(reasoner, params, problem, keys, early_stop)
    _, last = jax.lax.while_loop(wants_more, body, (jnp.int32(0), first))
    answer = reasoner.answer(params, last.carry)
    return Thought(answer, last.steps, last.halted, last.carry, None)
