# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Completions for people to read: `samples.jsonl` in the run folder.

One JSON object a completion: what was asked and written, token by token with its
log-probability, the verdict, the reward and what it is above the group's mean.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax.data.text_source import TextSource
from lrm_jax.recipes.grpo_rollout import Rolled
from lrm_jax.rl.advantages import group_centred, group_std
from lrm_jax.rl.config import RlConfig
from lrm_jax.training import files
from lrm_jax.training.metrics import json_line, kept_lines
from lrm_jax.training.run_folder import SAMPLES

STOPS = ("length", "id", "string")
"""Why a completion ended, by `Completions.stop`."""


class SampleLog:
    """The file of a run; cut back to the step that a resumed run begins with."""

    def __init__(self, run_dir: str, step: int) -> None:
        """Drop what was written after `step`, and torn lines."""
        self._path = files.as_path(run_dir) / SAMPLES
        with files.user_errors(f"samples of {run_dir} cannot be cut back"):
            if not self._path.exists():
                return
            text = self._path.read_bytes().decode("utf-8", errors="replace")
            kept = kept_lines(text, step)
            if text.startswith(kept):
                os.truncate(self._path, len(kept.encode()))
            else:
                files.write_atomic(self._path, kept)

    def write(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Append completions."""
        with files.user_errors(f"samples {self._path} cannot be written"):
            for record in records:
                files.append_line(self._path, json_line(record))


def sample_records(
    rolled: Rolled, source: TextSource, rl: RlConfig, *, step: int, groups: int
) -> list[dict[str, Any]]:
    """Return the first groups of a rollout, one record a completion.

    `advantage` is a completion's within its group: its reward above the mean, over
    the standard deviation where the objective has that. Advantages of tokens (GAE)
    and across the batch are not written.

    Args:
      rolled: a rollout.
      source: of its prompts.
      rl: the objective.
      step: optimizer steps once it is learned from.
      groups: how many.
    """
    first = jax.tree.map(lambda x: np.asarray(x)[:groups], rolled.groups)
    advantages = _advantages(first.rewards, rl)
    records = []
    for q, g in np.ndindex(*first.rewards.shape):
        row = q * first.rewards.shape[1] + g
        mask = first.mask[q, g]
        scored = rolled.rewards
        records.append(
            {
                "step": step,
                "split": "train",
                "prompt": source.encode.text(rolled.examples[q].prompt),
                "answer": rolled.examples[q].answer,
                "completion": rolled.texts[row],
                "tokens": [
                    source.tokenizer.decode([int(i)]) for i in first.ids[q, g][mask]
                ],
                "logps": [round(float(x), 4) for x in first.logps[q, g][mask]],
                "forced": first.forced[q, g][mask].tolist(),
                "advantage": float(advantages[q, g]),
                "reward": float(first.rewards[q, g]),
                "parts": {name: float(x[row]) for name, x in scored.parts.items()},
                "verdict": {
                    "strict": float(scored.strict[row]),
                    "lenient": float(scored.lenient[row]),
                    "status": scored.status[row],
                    "extracted": scored.extracted[row],
                },
                "stop": STOPS[int(rolled.stop[row])],
            }
        )
    return records


def _advantages(rewards: np.ndarray, rl: RlConfig) -> np.ndarray:
    cfg = rl.advantage
    if cfg.kind == "group_std":
        options = {"ddof": cfg.ddof, "eps": cfg.eps, "equal_atol": cfg.equal_atol}
        return np.asarray(group_std(jnp.asarray(rewards), **options))
    return np.asarray(group_centred(jnp.asarray(rewards), equal_atol=cfg.equal_atol))
