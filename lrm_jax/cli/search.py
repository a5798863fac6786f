# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Test-time search over a run, method by method, with search off at equal compute.

Of a latent reasoner a budget is segments of a puzzle in all: K trajectories of depth
budget / K stand beside one pass of that depth and one pass of the whole budget. Of a
token policy it is candidates or simulations. --samples FILE scores stored samples
again, without a run.
"""

import argparse
import sys
import time
from typing import Any

from lrm_jax.cli.common import Outcome, table, warning_of

NAME = "search"
SUMMARY = "search at test time: accuracy against compute, method by method"
EXAMPLE = "lrm search runs/latent --method best_q mode augment --k 16 --budget 256"
TAKES_OVERRIDES = False

_LATENT_ONLY = ("sigma", "schedule", "noise", "window")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "run", metavar="RUN", nargs="?", help="run folder; RUN@STEP for a step"
    )
    parser.add_argument(
        "--method",
        nargs="+",
        action="extend",
        metavar="M",
        help="latent: one_pass, best_q, mode, weighted, residual, first_halt, augment, "
        "mcts; with commas or spaces between (default: one pass of noise, all "
        "selectors); --samples: majority, weighted, best_of_n, weighted_logprob, "
        "best_of_n_logprob, pass (default: all that the file has numbers for)",
    )
    parser.add_argument(
        "--budget",
        nargs="+",
        action="extend",
        metavar="B",
        help="compute of a problem: segments in all (latent), candidates or "
        "simulations (policy); a number, low, medium or high",
    )
    parser.add_argument(
        "--k", type=int, metavar="K", help="trajectories, views or actions (default 16)"
    )
    parser.add_argument(
        "--data",
        metavar="PATH",
        help="file or folder (default: the run's own test set)",
    )
    parser.add_argument(
        "--seed", type=int, metavar="N", help="of all draws (default 0)"
    )
    parser.add_argument(
        "--lanes", type=int, metavar="N", help="lanes of a device (default: the run's)"
    )
    parser.add_argument(
        "--samples", metavar="FILE", help="score the samples of a file; needs no RUN"
    )
    stored = parser.add_argument_group("stored samples")
    stored.add_argument(
        "--prm", metavar="RUN", help="reward model that scores the steps; RUN@STEP"
    )
    stored.add_argument(
        "--separator",
        metavar="TEXT",
        help="between steps, for --prm (default: the reward model's own, a blank line "
        "for an imported one)",
    )
    stored.add_argument(
        "--aggregation",
        metavar="HOW",
        help="how scores of steps are pooled: min, product, last, mean, sum (default: "
        "by what the reward model's mean; last for stored ones)",
    )
    stored.add_argument(
        "--layout",
        choices=("auto", "steps", "responses"),
        help="what `completions` of a line are (default: steps where prompts repeat)",
    )
    stored.add_argument(
        "--step", type=int, metavar="N", help="only samples written at a step"
    )
    stored.add_argument("--split", metavar="NAME", help="only samples of train or eval")
    noise = parser.add_argument_group("latent reasoners")
    noise.add_argument(
        "--sigma", type=float, metavar="S", help="noise before a segment (default 0.3)"
    )
    noise.add_argument(
        "--schedule",
        metavar="NAME",
        help="constant, linear or cosine (to 0 at the last segment), first (default "
        "constant)",
    )
    noise.add_argument(
        "--noise", metavar="STATES", help="z_h, z_l or z_h,z_l (default z_h)"
    )
    noise.add_argument(
        "--window", type=int, metavar="N", help="segments that residual averages over"
    )


def run(args: argparse.Namespace) -> Outcome:
    """Do it."""
    from lrm_jax.recipes.registry import load
    from lrm_jax.recipes.run import Run
    from lrm_jax.types import UserError

    if args.samples is not None:
        return _stored(args)
    if args.run is None:
        raise UserError("RUN is missing: name a run folder, or --samples FILE")
    trained = load(args.run)
    if isinstance(trained, Run):
        return _latent(trained, args)
    raise UserError(f"{args.run}: search over token policies")


def _latent(trained: Any, args: argparse.Namespace) -> Outcome:
    """Search over a latent reasoner."""
    from lrm_jax.search.latent_noise import NoiseConfig

    noise: dict[str, Any] = {"sigma": args.sigma, "schedule": args.schedule}
    noise["states"] = tuple(args.noise.split(",")) if args.noise else None
    settings: dict[str, Any] = {
        "methods": tuple(_words(args.method)),
        "budgets": tuple(_words(args.budget)),
        "k": args.k,
        "window": args.window,
        "lanes": args.lanes,
        "seed": args.seed,
        "noise": NoiseConfig(**_given(noise)),
    }
    data = trained.search(args.data, progress=Progress(), **_given(settings))
    data |= warning_of(trained)
    title = f"{data['n']} puzzles, checkpoint of step {data['step']}"
    lines = [title, results_text(data["results"])]
    oracle = [r for r in data["results"] if "oracle_accuracy" in r]
    if oracle:
        best = max(r["oracle_accuracy"] for r in oracle)
        lines.append(f"any of the candidates right, an upper bound: {best:.4g}")
    if data.get("calibration"):
        found = data["calibration"]
        lines.append(table(["halting head", "value"], _calibration_rows(found)))
    return Outcome(data, "\n".join(lines))


def _stored(args: argparse.Namespace) -> Outcome:
    """Score stored samples again."""
    from lrm_jax.recipes.rescore import rescore
    from lrm_jax.recipes.search_result import results_json
    from lrm_jax.types import UserError

    if args.run is not None:
        raise UserError(f"{args.run}: --samples needs no run; leave one of them out")
    if args.separator and not args.prm:
        raise UserError("--separator: for --prm, which splits completions into steps")
    scorer = None
    if args.prm:
        from lrm_jax.recipes.rescore_prm import open_scorer

        separator = (args.separator or "").replace("\\n", "\n")
        scorer = open_scorer(args.prm, separator)
    settings: dict[str, Any] = {
        "methods": tuple(_words(args.method)),
        "budgets": tuple(_words(args.budget)),
        "scorer": scorer,
        "aggregation": args.aggregation,
        "layout": args.layout,
        "step": args.step,
        "split": args.split,
        "seed": args.seed,
    }
    data = results_json(rescore(args.samples, **_given(settings)))
    first = data["results"][0]
    title = f"{data['n']} problems, {first['stored']} completions or more of each"
    if first["left_out"]:
        title += f"; left out: {first['left_out']} of a single completion"
    lines = [title, results_text(data["results"])]
    stepped = next((r for r in data["results"] if "lowest_at_last_step" in r), None)
    if stepped:
        share = stepped["lowest_at_last_step"]
        lines.append(
            f"scores of steps pooled by {stepped['aggregation']}; lowest at the last "
            f"step: {share:.1%} of the solutions"
        )
    return Outcome(data, "\n".join(lines))


def results_text(results: list[dict[str, Any]]) -> str:
    """Return the rows of `results` as a table."""
    header = ["method", "budget", "unit", "accuracy", "ci95 low", "ci95 high"]
    header += ["tokens", "flops", "time_s"]
    rows = [
        [*(r[key] for key in header[:4]), *r["ci95"], *(r[key] for key in header[6:])]
        for r in results
    ]
    return table(header, rows)


def _calibration_rows(found: dict[str, Any]) -> list[list[Any]]:
    return [["AUROC", found["auroc"]], ["ECE", found["ece"]]]


def _words(given: list[str] | None) -> list[str]:
    """Return words that stand between spaces or commas."""
    return [w for text in given or [] for w in text.split(",") if w]


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    """Return what was said; the rest keeps its defaults."""
    return {name: x for name, x in settings.items() if x not in (None, ())}


class Progress:
    """What runs and how far it is, on standard error: a line a pass, or a bar."""

    def __init__(self, every_s: float = 10.0) -> None:
        """Show at most so often where nobody looks on."""
        self._every_s = every_s
        self._last = time.monotonic()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show that `done` of `total` problems of a pass are through."""
        text = f"{what}: {done}/{total}"
        if sys.stderr.isatty():
            end = "\n" if done >= total else ""
            print(f"\r{text}", end=end, file=sys.stderr, flush=True)
            return
        if done >= total or time.monotonic() - self._last >= self._every_s:
            self._last = time.monotonic()
            print(text, file=sys.stderr, flush=True)
