# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The user's own reward function, called apart with a deadline and checked."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from lrm_jax.data.verify.pool import Pool
from lrm_jax.data.verify.reward_config import RewardError
from lrm_jax.types import UserError


class UserScores(NamedTuple):
    """Rewards of the user's function.

    Attributes:
      rewards: `[B]` float64; 0 where it failed.
      errors: rows that got 0 because it failed.
    """

    rewards: np.ndarray
    errors: int


class UserReward:
    """`def reward(prompts, completions, answers, **columns) -> list[float]`.

    It runs in one child process, which keeps its module's state between batches.
    """

    def __init__(self, path: str, deadline_s: float) -> None:
        """Import the function named `package.module:name` in the child.

        Raises:
          UserError: it cannot be imported.
        """
        self.path, self.deadline_s = path, deadline_s
        module, colon, name = path.partition(":")
        if not (module and colon and name.isidentifier()):
            raise UserError(f"reward.user={path!r}: expected package.module:name")
        target = "lrm_jax.data.verify.user_call:score"
        self._pool = Pool(
            target,
            workers=1,
            deadline_s=deadline_s,
            imports=[path],
            what=f"reward.user={path!r}",
        )
        self._pool.start()

    def score(
        self,
        prompts: Sequence[Any],
        completions: Sequence[str],
        answers: Sequence[str],
        columns: Mapping[str, Sequence[Any]],
        on_error: Literal["stop", "zero"] = "stop",
    ) -> UserScores:
        """Call the function once for a batch.

        Raises:
          RewardError: it failed, and `on_error` is `stop`.
        """
        call = {
            "path": self.path,
            "prompts": list(prompts),
            "completions": list(completions),
            "answers": list(answers),
            "columns": {name: list(values) for name, values in columns.items()},
        }
        outcome = self._pool.map([call])[0]
        fault = outcome.message
        if outcome.status == "ok":
            fault = find_fault(outcome.value, len(completions))
        if not fault:
            return UserScores(np.array(outcome.value, np.float64), 0)
        if on_error == "stop":
            raise RewardError(
                f"reward.user={self.path!r}: {fault}; reward.on_error=zero goes on "
                "with reward 0"
            )
        return UserScores(np.zeros(len(completions)), len(completions))

    def close(self) -> None:
        """End the child."""
        self._pool.close()


def find_fault(rewards: Any, count: int) -> str:
    """Say what is wrong with what a reward function returned; "" if nothing is."""
    if not isinstance(rewards, list):
        return f"returned a {type(rewards).__name__}, not a list of {count} numbers"
    if len(rewards) != count:
        return f"returned {len(rewards)} rewards for {count} completions"
    for i, reward in enumerate(rewards):
        if not isinstance(reward, int | float):
            return f"reward {i} is {reward!r:.80}, not a number"
        if not math.isfinite(reward):
            return f"reward {i} is {reward}"
    return ""
