# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rewards for the length of a completion, counted in tokens and never in characters.

All are functions of arrays over completions; those that compare within a group take
`[Q, G]`. `lengths` are numbers of generated tokens, end token included.
"""

import numpy as np

from lrm_jax.data.verify.tags import TAGS, THINK_OPEN

Floats = np.ndarray
"""float64."""


def kimi_length(lengths: Floats, correct: Floats) -> Floats:
    """Return the length reward of Kimi k1.5 (2501.12599, section 2.3.3), `[Q, G]`.

    lambda = 1/2 - (len - min) / (max - min) within the group; right answers get
    lambda, wrong ones min(0, lambda); 0 where all lengths are equal.
    """
    shortest = lengths.min(1, keepdims=True)
    spread = lengths.max(1, keepdims=True) - shortest
    scaled = (lengths - shortest) / np.where(spread > 0, spread, 1)
    reward = np.where(spread > 0, 0.5 - scaled, 0.0)
    return np.where(correct > 0, reward, np.minimum(reward, 0.0))


def l1_exact(lengths: Floats, targets: Floats, alpha: float) -> Floats:
    """Return -alpha |target - len|: the length part of LCPO-Exact (2503.04697)."""
    return -alpha * np.abs(targets - lengths)


def l1_max(
    lengths: Floats, targets: Floats, correct: Floats, alpha: float, delta: float = 0.5
) -> Floats:
    """Return the reward of LCPO-Max (2503.04697): correct * clip(slack, 0, 1).

    slack = alpha (target - len) + delta. It holds the accuracy too, so the accuracy
    part beside it is usually 0.
    """
    return correct * np.clip(alpha * (targets - lengths) + delta, 0.0, 1.0)


def cosine_length(
    lengths: Floats,
    correct: Floats,
    ended: Floats,
    thought_ok: Floats,
    *,
    max_length: int,
    right_from: int,
    wrong_until: int,
) -> Floats:
    """Return the length-aware accuracy of Phi-4-reasoning-plus (2504.21318, 4.1).

    Right: a cosine from 1 down to 0.5 between `right_from` and `max_length` tokens.
    Wrong: a cosine from -1 (short) up to -0.5 at `wrong_until` tokens and beyond.
    No end token: -0.5. A broken or missing thought: -1, whatever else holds.
    """
    late = np.clip((lengths - right_from) / max(1, max_length - right_from), 0, 1)
    right = 0.5 + 0.25 * (1 + np.cos(np.pi * late))
    wrong = -0.5 - 0.25 * (1 + np.cos(np.pi * np.clip(lengths / wrong_until, 0, 1)))
    reward = np.where(correct > 0, right, wrong)
    reward = np.where(ended > 0, reward, -0.5)
    return np.where(thought_ok > 0, reward, -1.0)


EASY, HARD = "[Easy]", "[Hard]"


def difficulty_tag(completion: str) -> str:
    """Return `[Easy]` or `[Hard]` where completion or thought begin with it, or ""."""
    text = completion.lstrip().removeprefix(THINK_OPEN).lstrip()
    return next((tag for tag in (EASY, HARD) if text.startswith(tag)), "")


def adactrl_labels(correct: Floats, threshold: float = 0.625) -> np.ndarray:
    """Return `[Q]` bool: a group is easy where its accuracy is above the threshold."""
    return correct.mean(1) > threshold


def adactrl_calibration(tags: np.ndarray, easy: np.ndarray) -> Floats:
    """Return 1 where the tag is the group's label, 0 where not, -1 without a tag.

    Args:
      tags: `[Q, G]` of `difficulty_tag`.
      easy: `[Q]` of `adactrl_labels`.

    AdaCtrl (2505.18822).
    """
    label = np.where(easy, EASY, HARD)[:, None]
    return np.where(tags == "", -1.0, np.where(tags == label, 1.0, 0.0))


def adactrl_length(lengths: Floats, tags: np.ndarray, easy: np.ndarray) -> Floats:
    """Return the length reward of AdaCtrl (2505.18822), `[Q, G]`.

    Only where the tag is the group's label, with T the group's longest completion:
    (1 + cos(pi t/T)) / 2 if easy (1 to 0), (1 - cos(pi t/T)) / 2 if hard (0 to 1).
    """
    longest = np.maximum(lengths.max(1, keepdims=True), 1)
    wave = np.cos(np.pi * lengths / longest)
    reward = np.where(easy[:, None], (1 + wave) / 2, (1 - wave) / 2)
    return np.where(adactrl_calibration(tags, easy) == 1.0, reward, 0.0)


def repetition(text: str, n: int = 5) -> float:
    """Return minus the share of n-word runs that were there before, in [-1, 0]."""
    for tag in TAGS:
        text = text.replace(tag, " ")
    words = text.split()
    runs = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return len(set(runs)) / len(runs) - 1.0 if runs else 0.0
