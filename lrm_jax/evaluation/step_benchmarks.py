# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""One call for every benchmark of step judges, and its table."""

from pathlib import Path
from typing import Any, Literal, get_args

from lrm_jax.evaluation.prm_bench import evaluate_prm_bench, load_prm_bench
from lrm_jax.evaluation.process_bench import (
    ScoreFn,
    evaluate_first_errors,
    load_first_errors,
)
from lrm_jax.types import UserError

Benchmark = Literal["process_bench", "prmbench", "big_bench_mistake", "mr_gsm8k"]


def evaluate_prm(
    score_fn: ScoreFn,
    kind: Benchmark,
    path: str | Path,
    *,
    threshold: float | None = 0.5,
    redundancy: bool = False,
    limit: int = 0,
) -> dict[str, Any]:
    """Measure a judge of steps on the files of a benchmark.

    Args:
      score_fn: scores of the steps of solutions, rising with how right they are, or
        None for one that could not be judged.
      kind: of benchmark.
      path: file, or folder of subsets (PRMBench: one file).
      threshold: a step below it is judged wrong; None to tune it on a part of the
        items, which is left out of the result (not PRMBench).
      redundancy: see `evaluate_prm_bench`.
      limit: items to use, the first ones; 0 for all.

    Returns:
      See `evaluate_first_errors` and `evaluate_prm_bench`.

    Raises:
      UserError: no such benchmark, or a file that is not of it.
    """
    if kind not in get_args(Benchmark):
        raise UserError(
            f"benchmark {kind!r}: expected one of {', '.join(get_args(Benchmark))}"
        )
    if kind == "prmbench":
        if threshold is None:
            raise UserError(
                "prmbench: a threshold is not tuned there; give one (0.5 is usual)"
            )
        items = load_prm_bench(path)[: limit or None]
        return evaluate_prm_bench(
            score_fn, items, threshold=threshold, redundancy=redundancy
        )
    found = load_first_errors(path, kind)[: limit or None]
    return evaluate_first_errors(score_fn, found, kind, threshold=threshold)


def benchmark_rows(report: dict[str, Any]) -> tuple[list[str], list[list[Any]]]:
    """Return header and rows of a report's table, the whole in the last row."""
    if report["benchmark"] == "prmbench":
        names = ["n", "validity", "f1", "f1_neg", "prm_score", "first_error_acc"]
        parts = {**report["classes"], "all": report}
        return ["class", *names], [
            [k, *(p[n] for n in names)] for k, p in parts.items()
        ]
    names = ["n", "n_error", "acc_error", "acc_correct", "f1", "unparsable"]
    rows = [[k, *(p[n] for n in names)] for k, p in report["subsets"].items()]
    whole = {"n": report["n"], **{k: report[k] for k in names if k in report}}
    return ["subset", *names], [*rows, ["mean", *(whole.get(n) for n in names)]]
