# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""OmegaPRM: where a solution goes wrong, by halving it (arXiv 2406.06592).

If completions from a prefix are ever right, so may they be from every shorter one: the
first prefix without a right completion is found in log2(steps) questions. Rollouts
that went wrong are taken in turn, those first that are worth the most (section 3.3):
Q(s, r) = alpha^(1 - MC(s)) * beta^(len(r) / L), U(s) = c sqrt(sum_i N(s_i)) / (1 +
N(s)). `ask` is whoever writes completions: a generator here yields its questions, so
that those of many problems are asked at once.
"""

import dataclasses
import math
from collections.abc import Generator, Sequence
from typing import NamedTuple

from lrm_jax.types import UserError


class Rollout(NamedTuple):
    """A completion of a prefix.

    Attributes:
      steps: tokens of each of its steps.
      right: its verdict.
    """

    steps: tuple[tuple[int, ...], ...]
    right: bool

    @property
    def length(self) -> int:
        """Tokens."""
        return sum(map(len, self.steps))


Prefix = tuple[tuple[int, ...], ...]
"""Steps so far, as tokens."""
Questions = Generator[Prefix, Sequence[Rollout], list["Labelled"]]


@dataclasses.dataclass(frozen=True)
class OmegaConfig:
    """The constants of the selection, and how much is asked.

    Attributes:
      searches: rollouts that are halved.
      alpha: of prefixes that are seldom completed rightly.
      beta: of long rollouts.
      length: L, tokens.
      exploration: c.
    """

    searches: int = 4
    alpha: float = 0.5
    beta: float = 0.9
    length: int = 500
    exploration: float = 0.125

    def __post_init__(self) -> None:
        """Refuse what selects nothing."""
        if self.searches < 1 or self.length < 1:
            raise UserError(
                f"omega.searches={self.searches}, omega.length={self.length}: "
                "expected 1 or more"
            )
        if not (0 < self.alpha <= 1 and 0 < self.beta <= 1 and self.exploration >= 0):
            raise UserError(
                f"omega.alpha={self.alpha}, beta={self.beta}, exploration="
                f"{self.exploration}: expected (0, 1], (0, 1] and 0 or more"
            )


class Labelled(NamedTuple):
    """A prefix, and the share of its completions that were right.

    Attributes:
      steps: of the prefix; its last step is the one that is labelled.
      value: MC.
    """

    steps: Prefix
    value: float


@dataclasses.dataclass
class _State:
    steps: Prefix
    value: float
    rollouts: list[Rollout]
    visits: int = 0


def omega_questions(config: OmegaConfig) -> Questions:
    """Label prefixes of one problem.

    Yields:
      A prefix to be completed; is sent its rollouts, one or more.

    Returns:
      Every prefix that was asked about, the empty one left out, in order.
    """
    first = _state((), (yield ()))
    states = {first.steps: first}
    for _ in range(config.searches):
        chosen = select_rollout(list(states.values()), config)
        if chosen is None:
            break
        state, rollout = chosen
        state.visits += 1
        state.rollouts.remove(rollout)
        low, high = 0, len(rollout.steps)  # low: may be right; high: is not
        while high - low > 1:
            middle = (low + high) // 2
            steps = state.steps + rollout.steps[:middle]
            if steps not in states:
                states[steps] = _state(steps, (yield steps))
            if states[steps].value > 0:
                low = middle
            else:
                high = middle
        whole = state.steps + rollout.steps[:high]
        # The text that ended wrongly is a prefix too, and nothing comes of it.
        states.setdefault(whole, _State(whole, 0.0, []))
    return [Labelled(s.steps, s.value) for s in states.values() if s.steps]


def _state(steps: Prefix, rollouts: Sequence[Rollout]) -> _State:
    value = sum(r.right for r in rollouts) / len(rollouts)
    return _State(steps, value, [r for r in rollouts if not r.right and r.steps])


def select_rollout(
    states: Sequence[_State], config: OmegaConfig
) -> tuple[_State, Rollout] | None:
    """Return the wrong rollout of the highest Q + U, the first of equals.

    Only prefixes that some completion was right from are halved on: elsewhere the
    error lies before.
    """
    total = sum(state.visits for state in states)
    best, found = -math.inf, None
    for state in states:
        if not 0 < state.value < 1:
            continue
        bonus = config.exploration * math.sqrt(total) / (1 + state.visits)
        for rollout in state.rollouts:
            share = config.beta ** (rollout.length / config.length)
            score = config.alpha ** (1 - state.value) * share + bonus
            if score > best:
                best, found = score, (state, rollout)
    return found
