# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Alarms of reinforcement learning: four ways a run goes wrong without crashing.

Each alarm is a pure function of the log's records, so that a resumed run and one
that was never stopped raise the same ones at the same steps. Thresholds and what
they were seen on: `AlarmConfig`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lrm_jax.training.watch import Notice
from lrm_jax.types import UserError

Record = Mapping[str, Any]

GREEDY = "eval/greedy_accuracy"
BEST_CONSTANT = "eval/best_constant"
ANSWER_ENTROPY = "eval/answer_entropy"
TRUE_ENTROPY = "eval/true_answer_entropy"
NO_SIGNAL = "groups/no_signal_mean"
ACCURACY = "reward/accuracy"
ENTROPY = "entropy/mean"
LENGTH = "completions/mean_length"
CLIPPED = "completions/clipped_ratio"


@dataclass(frozen=True)
class AlarmConfig:
    """When an alarm is raised.

    Attributes:
      window: records in a row that must agree; the first so many are what a run is
        compared with.
      no_signal: share of groups without signal.
      solved: accuracy from which neither missing signal nor low entropy is a fault.
      modal_margin: what greedy accuracy must have beyond the best constant answer.
      modal_entropy: share of the true answers' entropy below which answers count as
        concentrated.
      entropy_share: share of the first records' entropy.
      length_factor: times the first records' length.
      length_gain: accuracy gained since then that excuses longer completions.
    """

    window: int = 5
    no_signal: float = 0.95
    solved: float = 0.85
    modal_margin: float = 0.02
    modal_entropy: float = 0.5
    entropy_share: float = 0.1
    length_factor: float = 2.0
    length_gain: float = 0.05

    def __post_init__(self) -> None:
        """Refuse an empty window."""
        if self.window < 1:
            raise UserError(f"grpo.alarms.window={self.window}: expected 1 or more")


def no_signal(records: Sequence[Record], cfg: AlarmConfig) -> str | None:
    """Say so where nearly all groups score alike and the task is not solved."""
    newest = _window(records, cfg, NO_SIGNAL, ACCURACY)[1]
    if not newest:
        return None
    share, accuracy = _mean(newest, NO_SIGNAL), _mean(newest, ACCURACY)
    if min(r[NO_SIGNAL] for r in newest) < cfg.no_signal or accuracy >= cfg.solved:
        return None
    return (
        f"no signal: in {share:.0%} of the groups all completions scored the same "
        f"(accuracy {accuracy:.1%}), so there is nothing to learn from; easier "
        "prompts, a longer cold start or larger groups help"
    )


def modal_collapse(records: Sequence[Record], cfg: AlarmConfig) -> str | None:
    """Say so where the policy gives one answer to everything.

    Letter counting, under-trained before: greedy accuracy stayed at the share of the
    most frequent count, and outcome rewards preferred that to counting.
    """
    keys = (GREEDY, BEST_CONSTANT, ANSWER_ENTROPY, TRUE_ENTROPY)
    found = [r for r in records if all(r.get(key) is not None for key in keys)]
    if not found:
        return None
    last = found[-1]
    greedy, constant = last[GREEDY], last[BEST_CONSTANT]
    concentrated = last[ANSWER_ENTROPY] <= cfg.modal_entropy * last[TRUE_ENTROPY]
    if greedy > constant + cfg.modal_margin or not concentrated:
        return None
    if last[TRUE_ENTROPY] <= 0:
        return None
    return (
        f"modal answer: greedy accuracy {greedy:.1%} is not above the {constant:.1%} "
        "of always giving the most frequent answer, and answers are concentrated "
        f"({last[ANSWER_ENTROPY]:.2f} nats; the true ones have "
        f"{last[TRUE_ENTROPY]:.2f}): the policy guesses instead of reasoning; a longer "
        "cold start or balanced answers help"
    )


def entropy_collapse(records: Sequence[Record], cfg: AlarmConfig) -> str | None:
    """Say so where the policy stopped exploring before it was right."""
    first, newest = _window(records, cfg, ENTROPY, ACCURACY)
    if len(first) < cfg.window or len(newest) < cfg.window:
        return None
    before, now = _mean(first, ENTROPY), _mean(newest, ENTROPY)
    accuracy = _mean(newest, ACCURACY)
    if now > cfg.entropy_share * before or accuracy >= cfg.solved:
        return None
    return (
        f"entropy collapse: {now:.3f} nats a token, {before:.3f} at first, while "
        f"accuracy is {accuracy:.1%}: the policy hardly explores any more; an entropy "
        "bonus, a higher upper clip or a lower learning rate help"
    )


def length_blowup(records: Sequence[Record], cfg: AlarmConfig) -> str | None:
    """Say so where completions grow and accuracy does not."""
    first, newest = _window(records, cfg, LENGTH, ACCURACY)
    if len(first) < cfg.window or len(newest) < cfg.window:
        return None
    before, now = _mean(first, LENGTH), _mean(newest, LENGTH)
    gain = _mean(newest, ACCURACY) - _mean(first, ACCURACY)
    if now < cfg.length_factor * before or gain >= cfg.length_gain:
        return None
    clipped = _mean([r for r in newest if r.get(CLIPPED) is not None], CLIPPED)
    return (
        f"length blow-up: {now:.0f} tokens a completion, {before:.0f} at first "
        f"({clipped:.0%} cut off), and accuracy moved by {100 * gain:+.1f} points; a "
        "length reward, or another aggregation than per-sequence means, help"
    )


ALARMS: Mapping[str, Callable[[Sequence[Record], AlarmConfig], str | None]] = {
    "no_signal": no_signal,
    "modal_collapse": modal_collapse,
    "entropy_collapse": entropy_collapse,
    "length_blowup": length_blowup,
}


class AlarmWatch:
    """Reads a run's records as they come and raises each alarm once."""

    def __init__(self, cfg: AlarmConfig) -> None:
        """Start with an empty log."""
        self._cfg = cfg
        self._records: list[Record] = []
        self._raised: set[str] = set()

    def see(self, record: Record) -> list[Notice]:
        """Take note of a record and return the alarms that it raises."""
        self._records.append(record)
        notices = []
        for name, alarm in ALARMS.items():
            text = None if name in self._raised else alarm(self._records, self._cfg)
            if text is not None:
                self._raised.add(name)
                notices.append(Notice(name, text))
        return notices


def _window(
    records: Sequence[Record], cfg: AlarmConfig, *keys: str
) -> tuple[list[Record], list[Record]]:
    """The first and the newest records that have all keys; no newest if too few."""
    found = [r for r in records if all(r.get(key) is not None for key in keys)]
    if len(found) < cfg.window:
        return found, []
    return found[: cfg.window], found[-cfg.window :]


def _mean(records: Sequence[Record], key: str) -> float:
    return sum(r[key] for r in records) / len(records) if records else 0.0
