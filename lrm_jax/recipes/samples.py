# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Completions for people to read: `samples.jsonl` in the run folder.

One JSON object a completion: what was asked and written, token by token with its
log-probability, the verdict, the reward and what it is above the group's mean.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax import processes
from lrm_jax.data.tasks.base import Example
from lrm_jax.data.text_source import TextSource
from lrm_jax.recipes.grpo_eval import Judged
from lrm_jax.recipes.grpo_rollout import Rolled
from lrm_jax.rl.advantages import group_centred, group_std
from lrm_jax.rl.config import RlConfig
from lrm_jax.storage import logs
from lrm_jax.training import files
from lrm_jax.training.metrics import json_line, kept_lines
from lrm_jax.training.run_folder import SAMPLES

STOPS = ("length", "id", "string")
"""Why a completion ended, by `Completions.stop`."""


class SampleLog:
    """The file of a run; cut back to the step that a resumed run begins with.

    Of several processes the first one alone touches it.
    """

    def __init__(self, run_dir: str, step: int) -> None:
        """Drop what was written after `step`, and torn lines."""
        self._path = files.as_path(run_dir) / SAMPLES
        self._parts: logs.PartLog | None = None
        if not processes.is_first():
            return
        with files.user_errors(f"samples of {run_dir} cannot be cut back"):
            logs.trim_log(self._path, lambda text: kept_lines(text, step))
            if files.is_remote(self._path):
                self._parts = logs.PartLog(self._path)

    def write(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Append completions."""
        if not processes.is_first() or not records:
            return
        with files.user_errors(f"samples {self._path} cannot be written"):
            if self._parts is not None:
                self._parts.write("".join(json_line(record) for record in records))
                return
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
        scored = rolled.rewards
        written = Written(
            *(x[q, g] for x in (first.ids, first.mask, first.logps, first.forced)),
            stop=rolled.stop[row],
            text=rolled.texts[row],
        )
        said = {
            "advantage": float(advantages[q, g]),
            "reward": float(first.rewards[q, g]),
            "parts": {name: float(x[row]) for name, x in scored.parts.items()},
            "verdict": {
                "strict": float(scored.strict[row]),
                "lenient": float(scored.lenient[row]),
                "status": scored.status[row],
                "extracted": scored.extracted[row],
            },
        }
        record = _record(written, rolled.examples[q], source)
        records.append({"step": step, "split": "train", **record, **said})
    return records


def eval_records(
    judged: Judged, source: TextSource, *, step: int, count: int
) -> list[dict[str, Any]]:
    """Return the first held-out completions, always of the same prompts.

    No reward is computed of them: `reward` is the strict score.

    Args:
      judged: of one completion a prompt.
      source: of its prompts.
      step: optimizer steps behind the weights.
      count: how many.
    """
    records = []
    first = judged.first
    shown = min(count, len(judged.texts), len(first.stop))
    for q, example in enumerate(source.test[:shown]):
        verdict = judged.verdicts[q][0]
        written = Written(
            *(x[q] for x in (first.ids, first.mask, first.logps, first.forced)),
            stop=first.stop[q],
            text=judged.texts[q][0],
        )
        said = {
            "advantage": None,
            "reward": float(verdict.strict),
            "parts": {name: float(x) for name, x in verdict.parts.items()},
            "verdict": {
                "strict": float(verdict.strict),
                "lenient": float(verdict.lenient),
                "status": verdict.status,
                "extracted": verdict.extracted,
            },
        }
        record = _record(written, example, source)
        records.append({"step": step, "split": "eval", **record, **said})
    return records


class Written(NamedTuple):
    """One completion, token by token.

    Attributes:
      ids: `[C]`.
      mask: `[C]` bool, the tokens there are.
      logps: `[C]`.
      forced: `[C]` bool.
      stop: place in `STOPS`.
      text: without the end token.
    """

    ids: Any
    mask: Any
    logps: Any
    forced: Any
    stop: Any
    text: str


def _record(written: Written, example: Example, source: TextSource) -> dict[str, Any]:
    """Return what was asked and written."""
    mask = written.mask
    pieces = [source.tokenizer.decode([int(i)]) for i in written.ids[mask]]
    return {
        "prompt": source.encode.text(example.prompt),
        "answer": example.answer,
        "completion": written.text,
        "tokens": pieces,
        "logps": [round(float(x), 4) for x in written.logps[mask]],
        "forced": written.forced[mask].tolist(),
        "stop": STOPS[int(written.stop)],
    }


def _advantages(rewards: np.ndarray, rl: RlConfig) -> np.ndarray:
    cfg = rl.advantage
    if cfg.kind == "group_std":
        options = {"ddof": cfg.ddof, "eps": cfg.eps, "equal_atol": cfg.equal_atol}
        return np.asarray(group_std(jnp.asarray(rewards), **options))
    return np.asarray(group_centred(jnp.asarray(rewards), equal_atol=cfg.equal_atol))
