# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""`lrm quickstart --part policy`: a small policy learns to add, by trial and error.

A cold start on noisy worked solutions, stopped early, teaches the form; GRPO against
a verifier does the rest. Everything is measured on additions held out from both.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lrm_jax import presets, sharding
from lrm_jax.evaluation.metrics import wilson_interval
from lrm_jax.recipes import grpo, sft
from lrm_jax.recipes.clock import Clock
from lrm_jax.recipes.grpo_build import build
from lrm_jax.recipes.grpo_config import GrpoRunConfig
from lrm_jax.recipes.grpo_eval import Judged, PolicyEvaluation
from lrm_jax.recipes.policy_build import load_policy
from lrm_jax.recipes.policy_config import GREEDY
from lrm_jax.recipes.sft_config import SftRunConfig
from lrm_jax.recipes.token_run import open_run
from lrm_jax.training.progress import Style

SHOWN = 6
"""Held-out problems whose solutions are shown: the first ones."""
SAMPLES = 8
"""Completions sampled of each held-out problem, before and after."""
STOPPED = ("interrupted", "terminated")

Measured = tuple[dict[str, Any], Judged]


def run(
    out_dir: str,
    split: dict[str, float],
    *,
    cold_config: SftRunConfig | None = None,
    config: GrpoRunConfig | None = None,
    progress: Style = "auto",
) -> dict[str, Any]:
    """Train and measure; going on where an earlier call was stopped.

    Args:
      out_dir: folder of the run folders `policy_cold` and `policy`.
      split: gets the seconds of each stage.
      cold_config: of the cold start; None for the preset `sft_addition_cold`.
      config: of the run; None for the preset `grpo_addition`.
      progress: how training shows its progress.

    Returns:
      {n, before, after, examples, curve, cold_start, step, ...}; where a signal
      stopped it, what `train` returned, with `stopped`.
    """
    cold_config = cold_config or presets.sft_addition_cold()
    config = config or presets.grpo_addition()
    cold, folder = Path(out_dir) / "policy_cold", Path(out_dir) / "policy"
    with Clock(split, "cold_start_s", "cold start on noisy worked solutions"):
        started = sft.train(cold_config, str(cold), progress=progress)
    if started["reason"] in STOPPED:
        return {**started, "stopped": True}
    with Clock(split, "grpo_s", "GRPO against the verifier"):
        trained = grpo.train(
            config, str(folder), init_from=str(cold), progress=progress
        )
    if trained["reason"] in STOPPED:
        return {**trained, "stopped": True}
    with Clock(split, "measure_s", "measuring before and after"):
        before, after, examples = _compare(config, str(cold), str(folder))
        open_run(str(folder)).evaluate()  # report/eval.json
    if trained["resumed_from"] is None:  # else the time counts earlier calls too
        split["grpo_loop_s"] = trained["time_s"]
    records = [json.loads(s) for s in _lines(folder / "metrics.jsonl")]
    return {
        "n": before["n"],
        "before": before,
        "after": after,
        "examples": examples,
        "curve": [_point(r) for r in records if GREEDY in r],
        "alarms": [r["alarm"] for r in records if "alarm" in r],
        "cold_start": {"step": started["step"], "run_dir": str(cold)},
        "step": trained["step"],
        "reason": trained["reason"],
        "recompiles": trained["recompiles"],
        "run_dir": str(folder),
    }


def _compare(
    config: GrpoRunConfig, cold: str, trained: str
) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    """Both policies on the same held-out problems."""
    run = build(grpo.resolve(config, None, None))
    evaluation = PolicyEvaluation(run.config, run.source, run.sampler)
    with sharding.use_mesh(run.mesh):
        (before, said), (after, says) = (
            _measure(evaluation, load_policy(source).weights)
            for source in (cold, trained)
        )
    run.close()
    examples = [
        {
            "prompt": example.prompt,
            "answer": example.answer,
            "before": {
                "text": said.texts[i][0],
                "right": said.verdicts[i][0].strict >= 1,
            },
            "after": {
                "text": says.texts[i][0],
                "right": says.verdicts[i][0].strict >= 1,
            },
        }
        for i, example in enumerate(evaluation.examples[:SHOWN])
    ]
    return before, after, examples


def _measure(evaluation: PolicyEvaluation, weights: Any) -> Measured:
    weights = evaluation.place(weights)
    greedy = evaluation.write(weights)
    sampled = evaluation.write(weights, count=SAMPLES)
    found = evaluation.metrics(greedy, sampled)
    n = len(evaluation.examples)
    right = round(found[GREEDY] * n)
    named = {name.removeprefix("eval/"): value for name, value in found.items()}
    low, high = wilson_interval(right, n)
    return {"n": n, **named, "greedy_ci95": [low, high]}, greedy


def _point(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "step": record["step"],
        "time_s": record["time_s"],
        "greedy_accuracy": record[GREEDY],
    }


def _lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines()


def describe(found: Mapping[str, Any]) -> str:
    """Return what was found, for people: numbers, then solutions side by side."""
    before, after = found["before"], found["after"]
    rows = [
        ("right, most likely solution", "greedy_accuracy"),
        ("right, one sampled solution", "sampled_accuracy"),
        (f"right, one of {SAMPLES} sampled", f"pass_at_{SAMPLES}"),
        ("always the most frequent answer", "best_constant"),
    ]
    lines = [
        f"{found['n']} unseen additions, before and after {found['step']} steps of "
        "GRPO",
        *(f"  {label:<34}{before[k]:>7.1%} ->{after[k]:>7.1%}" for label, k in rows),
        f"  {'tokens of thought':<34}{before['thinking_tokens']:>7.1f} ->"
        f"{after['thinking_tokens']:>7.1f}",
        "the first of them, before | after:",
    ]
    width = max(len(e["before"]["text"]) for e in found["examples"])
    for example in found["examples"]:
        lines.append(f"  {example['prompt']}{example['answer']}")
        said, says = example["before"], example["after"]
        lines.append(
            f"    {_mark(said)} {said['text']:<{width}} | {_mark(says)} {says['text']}"
        )
    return "\n".join(lines)


def _mark(solution: Mapping[str, Any]) -> str:
    return "right" if solution["right"] else "wrong"
