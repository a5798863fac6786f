# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which scores of a completion make up its reward, and with which weight."""

import dataclasses
import math
from typing import Any, Literal

from lrm_jax.data.verify.language import check_language
from lrm_jax.types import UserError

LengthRule = Literal["none", "kimi", "l1_exact", "l1_max", "cosine", "adactrl"]


class RewardError(UserError):
    """A reward could not be computed; the run saves its state and stops."""


def _refuse_infinite(config: Any, where: str) -> None:
    """Refuse numbers that no sum of scores can bear."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{where}.{field.name}={value}: expected a finite number")


@dataclasses.dataclass(frozen=True)
class LengthConfig:
    """How length is rewarded, in tokens (`data/verify/length.py` has the formulas).

    Attributes:
      rule: `kimi` and `adactrl` compare within a group; `l1_exact` and `l1_max`
        with the row's thinking budget, or with `target`; `cosine` and `l1_max`
        hold the accuracy too, so `reward.accuracy` is usually 0 beside them.
      counts: the tokens of the whole `completion`, or of its `thought`.
      weight: of this part.
      warmup_steps: the weight grows from 0 to its value over so many steps.
      target: tokens asked for where the row has no budget of its own (`l1_*`).
      alpha: slope per token of `l1_exact` and `l1_max`.
      delta: what `l1_max` gives at the target itself.
      max_length: longest completion (`cosine`).
      right_from: tokens from which right answers lose (`cosine`).
      wrong_until: tokens up to which wrong answers gain (`cosine`).
      easy_above: group accuracy above which a prompt is easy (`adactrl`).
      calibration: weight of naming the difficulty (`adactrl`).
    """

    rule: LengthRule = "none"
    counts: Literal["completion", "thought"] = "completion"
    weight: float = 1.0
    warmup_steps: int = 0
    target: int = 0
    alpha: float = 0.0003
    delta: float = 0.5
    max_length: int = 0
    right_from: int = 0
    wrong_until: int = 0
    easy_above: float = 0.625
    calibration: float = 0.5

    def __post_init__(self) -> None:
        """Refuse a rule without the lengths it needs."""
        _refuse_infinite(self, "reward.length")
        if self.rule == "cosine" and not (
            0 < self.right_from < self.max_length and self.wrong_until > 0
        ):
            raise UserError(
                "reward.length.rule=cosine needs 0 < right_from < max_length and "
                f"wrong_until > 0; given right_from={self.right_from}, max_length="
                f"{self.max_length}, wrong_until={self.wrong_until}"
            )
        if self.warmup_steps < 0 or self.target < 0:
            raise UserError(
                f"reward.length: warmup_steps={self.warmup_steps}, target="
                f"{self.target}; both must be 0 or more"
            )


@dataclasses.dataclass(frozen=True)
class RewardConfig:
    """A weighted sum of scores; a weight of 0 leaves a part out.

    Attributes:
      accuracy: weight of the verifier's score.
      reading: which score counts: `strict`, the whole completion has the asked
        form, or `lenient`, the right answer can be found in it.
      format: weight of the form alone; an empty thought has it only where the
        row's thinking budget was 0.
      gate: `format` gives 0 in all where the form is broken.
      partial: given to an answer that was read but is wrong (ReFT: 0.1).
      language: weight of the share of words in `language_code`.
      language_code: letters of `en`, `zh`, ... (`language.LANGUAGES`).
      repetition: weight of minus the share of repeated runs of five words.
      length: the length reward.
      user: `package.module:name` of a function `(prompts, completions, answers,
        **columns) -> list[float]`; empty for none.
      user_weight: its weight.
      user_deadline_s: seconds for one batch.
      verify_deadline_s: seconds for one answer of a verifier that runs in processes
        of its own (math-verify).
      on_error: what a failing `user` function does: `stop` the run with its state
        saved, or count as `zero` for the batch.
    """

    accuracy: float = 1.0
    reading: Literal["strict", "lenient"] = "strict"
    format: float = 0.0
    gate: Literal["none", "format"] = "none"
    partial: float = 0.0
    language: float = 0.0
    language_code: str = "en"
    repetition: float = 0.0
    length: LengthConfig = LengthConfig()
    user: str = ""
    user_weight: float = 1.0
    user_deadline_s: float = 30.0
    verify_deadline_s: float = 5.0
    on_error: Literal["stop", "zero"] = "stop"

    def __post_init__(self) -> None:
        """Refuse a reward that is always 0, and unknown languages."""
        check_language(self.language_code)
        _refuse_infinite(self, "reward")
        weights = [self.accuracy, self.format, self.language, self.repetition]
        weights += [self.user_weight] if self.user else []
        weights += [self.length.weight] if self.length.rule != "none" else []
        if not any(weights):
            raise UserError(
                "reward: every part has weight 0; set reward.accuracy or another"
            )
        for name in ("user_deadline_s", "verify_deadline_s"):
            if getattr(self, name) <= 0:
                raise UserError(f"reward.{name}={getattr(self, name)}: must be above 0")
