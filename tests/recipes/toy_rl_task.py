# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A task with signal for a policy that knows nothing: begin with a digit."""

import dataclasses
import os
import signal
from typing import ClassVar

from lrm_jax.data.tasks.addition import Addition
from lrm_jax.data.verify.reward_config import RewardError
from lrm_jax.data.verify.verdict import Verdict


@dataclasses.dataclass(frozen=True)
class FirstDigit(Addition):
    """Right is what begins with a digit; prompts of several lengths."""

    name: ClassVar[str] = "first_digit"
    min_digits: int = 1
    max_digits: int = 2

    def verify(self, completion, example):
        del example
        right = float(completion[:1].isdigit())
        status = "right" if right else "wrong"
        return Verdict(right, right, status, completion[:1], {"format": 1.0})


class Interrupting(FirstDigit):
    """Asks this process to stop in the middle of its third rollout."""

    calls: ClassVar[int] = 0

    def verify_batch(self, completions, examples):
        type(self).calls += 1
        if type(self).calls == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().verify_batch(completions, examples)


class Failing(FirstDigit):
    """Cannot score its third rollout, once."""

    calls: ClassVar[int] = 0

    def verify_batch(self, completions, examples):
        type(self).calls += 1
        if type(self).calls == 3:
            raise RewardError("reward.user='mine:reward': it raised ValueError: no")
        return super().verify_batch(completions, examples)


def first_digit(cfg):
    del cfg
    return FirstDigit()


def interrupting(cfg):
    del cfg
    return Interrupting()


def failing(cfg):
    del cfg
    return Failing()
