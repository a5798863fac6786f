# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Measure a run at one or several thinking budgets in one pass."""

import argparse
from typing import Any

from lrm_jax.cli.common import Outcome, table, warning_of

NAME = "eval"
SUMMARY = "accuracy of a run at one or several thinking budgets"
EXAMPLE = "lrm eval runs/mlp --data puzzles.csv --budget 0 4 16+halt"
TAKES_OVERRIDES = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("run", metavar="RUN", help="run folder; RUN@STEP for a step")
    parser.add_argument(
        "--data", metavar="PATH", help="CSV or dataset folder (default: the run's own)"
    )
    parser.add_argument(
        "--budget",
        nargs="+",
        action="extend",
        metavar="B",
        help="0 (least), N, N+halt, -1 (the recipe's own rule), low, medium, high",
    )
    parser.add_argument(
        "--cap",
        type=int,
        metavar="N",
        help="the most segments a budget may mean (default: the run's own)",
    )
    parser.add_argument(
        "--halting",
        metavar="RULE",
        help="rule of budget -1: q_learning, halt_only, fixed or package.module:name",
    )
    parser.add_argument(
        "--compact",
        action="store_true",
        help="let solved puzzles leave their lane and waiting ones enter; one pass a "
        "budget, which costs what the budget says and not its cap",
    )
    parser.add_argument(
        "--lanes",
        type=int,
        metavar="N",
        help="puzzles in flight (--compact); of a policy, completions at work at a "
        "time (default: the run's eval.lanes; 0: all of them)",
    )
    parser.add_argument(
        "--min-thinking",
        type=int,
        default=0,
        metavar="N",
        help="of a policy: least tokens of thought, as lrm sample has it",
    )
    parser.add_argument(
        "--benchmark",
        metavar="NAME",
        help="of a reward model: process_bench, prmbench, big_bench_mistake or "
        "mr_gsm8k, whose files --data names",
    )
    parser.add_argument(
        "--threshold",
        metavar="X",
        help="--benchmark: a step that scores below it is judged wrong (0.5), or "
        "`tuned` on a part of the items that is then left out",
    )
    parser.add_argument(
        "--limit", type=int, default=0, metavar="N", help="--benchmark: items to use"
    )


def run(args: argparse.Namespace) -> Outcome:
    """Do it."""
    from lrm_jax.recipes.imported_reward import ImportedReward
    from lrm_jax.recipes.prm_run import RewardRun
    from lrm_jax.recipes.registry import load
    from lrm_jax.recipes.token_run import TokenRun
    from lrm_jax.types import UserError

    for name, value, least in (
        *(("--cap", args.cap, 1), ("--lanes", args.lanes, 0)),
        ("--min-thinking", args.min_thinking, 0),
        ("--limit", args.limit, 0),
    ):
        if value is not None and value < least:
            raise UserError(f"{name} {value}: expected {least} or more")
    trained = load(args.run)
    if isinstance(trained, RewardRun | ImportedReward):
        return _eval_reward(trained, args)
    for name in ("benchmark", "threshold", "limit"):
        if getattr(args, name):
            raise UserError(f"--{name}: for reward models; {args.run} is none")
    if isinstance(trained, TokenRun):
        return _eval_policy(trained, args)
    if args.min_thinking:
        raise UserError(
            f"--min-thinking: for token policies; {args.run} is a latent reasoner"
        )
    if args.lanes is not None and not args.compact:
        raise UserError("--lanes: needs --compact; without it all puzzles go at once")
    how: dict[str, Any] = {"cap": args.cap, "halting": args.halting}
    if args.compact:
        found = [
            trained.evaluate_compact(args.data, budget=b, lanes=args.lanes or 0, **how)
            for b in args.budget or ["-1"]
        ]
        results = [one.report for one in found]
        data = {"n": results[0]["n"], "results": results, "step": trained.step}
    else:
        data = trained.evaluate(args.data, budgets=args.budget, **how)
    rows = [
        [r["budget"], r["exact_accuracy"], *r["ci95"], r["mean_steps"]]
        for r in data["results"]
    ]
    header = ["budget", "exact accuracy", "ci95 low", "ci95 high", "mean steps"]
    data |= warning_of(trained)
    title = f"{data['n']} puzzles, checkpoint of step {data['step']}"
    return Outcome(data, f"{title}\n{table(header, rows)}")


def _eval_policy(trained: Any, args: argparse.Namespace) -> Outcome:
    """Measure a token policy: greedy accuracy, budgets in tokens of thought."""
    from lrm_jax.types import UserError

    for name in ("halting", "compact"):
        if getattr(args, name):
            raise UserError(f"--{name}: for latent reasoners; {args.run} is a policy")
    data = trained.evaluate(
        args.data,
        budgets=args.budget,
        cap=args.cap,
        min_thinking=args.min_thinking,
        lanes=args.lanes,
    )
    columns = ("exact_accuracy", "lenient_accuracy", "mean_steps", "mean_tokens")
    rows = [[r["budget"], *(r[c] for c in columns)] for r in data["results"]]
    header = ["budget", "exact accuracy", "lenient", "mean thought", "mean tokens"]
    data |= warning_of(trained)
    title = f"{data['n']} prompts, checkpoint of step {data['step']}"
    return Outcome(data, f"{title}\n{table(header, rows)}")


def _eval_reward(trained: Any, args: argparse.Namespace) -> Outcome:
    """Measure a reward model on labelled steps, or on a benchmark."""
    from lrm_jax.recipes.imported_reward import ImportedReward
    from lrm_jax.recipes.step_benchmark import evaluate_labelled
    from lrm_jax.types import UserError

    for name in ("budget", "cap", "halting", "compact", "lanes", "min_thinking"):
        if getattr(args, name):
            raise UserError(
                f"--{name.replace('_', '-')}: {args.run} is a reward model, which "
                "thinks nothing; it is measured on labelled steps (--data)"
            )
    if args.benchmark:
        return _benchmark(trained, args)
    for name in ("threshold", "limit"):
        if getattr(args, name):
            raise UserError(f"--{name}: needs --benchmark")
    if isinstance(trained, ImportedReward):
        if not args.data:
            raise UserError(f"{args.run}: an import has no data; name --data")
        data = evaluate_labelled(trained, args.data)
    else:
        data = trained.evaluate(args.data)
    data |= warning_of(trained)
    rows = [[name, value] for name, value in data["metrics"].items()]
    title = (
        f"{data['n']} solutions, scores of {data['semantics']}, checkpoint of step "
        f"{data['step']}"
    )
    return Outcome(data, f"{title}\n{table(['metric', 'value'], rows)}")


def _benchmark(trained: Any, args: argparse.Namespace) -> Outcome:
    """Measure a reward model on the files of a benchmark."""
    from lrm_jax.evaluation.step_benchmarks import benchmark_rows
    from lrm_jax.recipes.step_benchmark import evaluate_benchmark
    from lrm_jax.types import UserError

    if not args.data:
        raise UserError(f"--benchmark {args.benchmark}: name its files with --data")
    data = evaluate_benchmark(
        trained,
        args.benchmark,
        args.data,
        threshold=args.threshold,
        limit=args.limit,
    )
    data |= warning_of(trained)
    header, rows = benchmark_rows(data)
    title = (
        f"{data['title']}: {data['n']} solutions, threshold {data['threshold']:.4g}"
        f"{', tuned on ' + str(data['tuned_on']) if data.get('tuned_on') else ''}, "
        f"checkpoint of step {data['step']}"
    )
    lines = [title, table(header, rows)]
    if data["unreadable"]:
        why = data["first_unreadable"]
        lines.append(f"{data['unreadable']} could not be read, the first: {why}")
    return Outcome(data, "\n".join(lines))
