# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Test-time search over a run, method by method, with search off at equal compute.

Of a latent reasoner a budget is segments of a puzzle in all: K trajectories of depth
budget / K stand beside one pass of that depth and one pass of the whole budget. Of a
token policy it is candidates (votes, beams) or simulations (mcts) of a prompt.
--samples FILE votes over stored samples for every N, with a reward model or without.
"""

import argparse
from typing import Any

from lrm_jax.cli.common import Outcome, Progress, table, warning_of

NAME = "search"
SUMMARY = "search at test time: accuracy against compute, method by method"
EXAMPLE = "lrm search runs/latent --method best_q mode augment --k 16 --budget 256"
TAKES_OVERRIDES = False

# Option -> field of LatentSearchConfig, TokenSearchConfig; None: not of that kind.
OPTIONS: dict[str, tuple[str | None, str | None]] = {
    "method": ("methods", "methods"),
    "budget": ("budgets", "budgets"),
    "k": ("k", "k"),
    "seed": ("seed", "seed"),
    "lanes": ("lanes", "lanes"),
    "max_depth": ("max_depth", "max_depth"),
    "tree": ("tree", "tree"),
    "final": ("answer", "final"),
    "sigma": ("sigma", None),
    "schedule": ("schedule", None),
    "noise": ("states", None),
    "window": ("window", None),
    "actions": ("actions", None),
    "prm": (None, "prm"),
    "aggregation": (None, "aggregation"),
    "separator": (None, "separator"),
    "step_tokens": (None, "step_tokens"),
    "temperature": (None, "temperature"),
    "lookahead": (None, "lookahead"),
    "n": (None, "n"),
    "outcome": (None, "outcome"),
    "split": (None, "split"),
    "trees": ("trees", "trees"),
    "memory_gib": ("memory_gib", "memory_gib"),
}
_NOISE = ("sigma", "schedule", "states")
_OF_SAMPLES = ("layout", "step")
_STORED = ("method", "budget", "seed", "prm", "aggregation", "separator", "split")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    add = parser.add_argument
    add("run", metavar="RUN", nargs="?", help="run folder; RUN@STEP for a step")
    add("--samples", metavar="FILE", help="score stored samples again; without RUN")
    add("--data", metavar="PATH", help="file or folder (default: the run's own)")
    add(
        *("--method", "--methods"),
        nargs="+",
        action="extend",
        metavar="M",
        help="by spaces or commas. latent: one_pass, best_q, mode, weighted, residual, "
        "first_halt (time_s is of all segments), augment, mcts. policy: one_pass, "
        "majority, weighted, best_of_n, beam, dvts, lookahead, mcts. samples: "
        "majority, weighted, best_of_n, weighted_logprob, best_of_n_logprob, pass",
    )
    add(
        "--budget",
        nargs="+",
        action="extend",
        metavar="B",
        help="of a problem: segments in all (latent), candidates or simulations; a "
        "number, low, medium or high",
    )
    add(
        "--k",
        type=int,
        metavar="K",
        help="trajectories or views (latent, default 16); candidates of a step "
        "(policy, default 4)",
    )
    add("--seed", type=int, metavar="N", help="of all draws (default 0)")
    add("--lanes", type=int, metavar="N", help="of a device (default: the run's)")
    add("--max-depth", type=int, metavar="N", help="of a tree")
    add("--tree", metavar="NAME", help="puct, uct or gumbel (mcts; default puct)")
    add(
        "--final",
        metavar="RULE",
        help="answer of a tree; latent: best, weighted or visits; policy: vote, score "
        "or visits",
    )
    add(
        "--trees",
        metavar="FILE",
        help="write the trees of mcts there, and beside it a page that opens them; "
        "lrm data trees makes training data of them",
    )
    add(
        "--memory-gib",
        type=float,
        metavar="G",
        help="of a device, for trees (default: nine tenths of what is free)",
    )
    _add_latent(parser.add_argument_group("latent reasoners"))
    _add_tokens(parser.add_argument_group("policies and samples"))
    _add_samples(parser.add_argument_group("samples"))


def _add_latent(group: Any) -> None:
    add = group.add_argument
    add("--sigma", type=float, metavar="S", help="noise of a segment (default 0.3)")
    add(
        "--schedule",
        metavar="NAME",
        help="constant (default), linear or cosine (to 0 at the last segment), first",
    )
    add("--noise", metavar="STATES", help="z_h (default), z_l or z_h,z_l")
    add("--window", type=int, metavar="N", help="segments that residual averages over")
    add("--actions", type=int, metavar="N", help="noises of a node (mcts; default 4)")


def _add_tokens(group: Any) -> None:
    add = group.add_argument
    add(
        "--prm", metavar="RUN", help="reward model (default: likelihood, stored scores)"
    )
    add("--aggregation", metavar="HOW", help="min, product, last, mean or sum of steps")
    add("--separator", metavar="TEXT", help="between steps")
    add("--step-tokens", type=int, metavar="N", help="of a step at most")
    add("--temperature", type=float, metavar="T", help="of the draws (default 1)")
    add("--lookahead", type=int, metavar="N", help="greedy steps behind a candidate")
    add("--n", type=int, metavar="N", help="problems (default: all)")
    add(
        "--split",
        metavar="NAME",
        help="policy: problems of test (default) or train; samples: only those of "
        "train or eval",
    )
    add(
        "--outcome",
        choices=("score", "gold"),
        help="what a tree's answer is worth: its score (default), or whether it is "
        "right, to learn from the tree",
    )


def _add_samples(group: Any) -> None:
    add = group.add_argument
    add(
        "--layout",
        choices=("auto", "steps", "responses"),
        help="what `completions` of a line are (default: steps where prompts repeat)",
    )
    add("--step", type=int, metavar="N", help="only samples written at a step")


def run(args: argparse.Namespace) -> Outcome:
    """Do it."""
    from lrm_jax.types import UserError

    if args.samples is not None:
        return _samples(args)
    for option in _OF_SAMPLES:
        if getattr(args, option) is not None:
            raise UserError(f"--{option}: needs --samples FILE")
    if args.run is None:
        raise UserError("RUN is missing: name a run folder, or --samples FILE")
    from lrm_jax.recipes.registry import load
    from lrm_jax.recipes.run import Run
    from lrm_jax.recipes.token_run import TokenRun

    trained = load(args.run)
    if isinstance(trained, Run):
        return _latent(trained, args)
    if isinstance(trained, TokenRun):
        return _tokens(trained, args)
    raise UserError(
        f"{args.run}: a run of recipe {trained.config.recipe!r} does not reason; "
        "expected a latent reasoner or a policy (a reward model goes to --prm)"
    )


def _settings(args: argparse.Namespace, kind: int, what: str) -> dict[str, Any]:
    """Return the fields that were given; refuses options of the other kind."""
    from lrm_jax.types import UserError

    settings: dict[str, Any] = {}
    for option, fields in OPTIONS.items():
        value = getattr(args, option)
        if value is None:
            continue
        field = fields[kind]
        if field is None:
            name = option.replace("_", "-")
            raise UserError(f"--{name}: not for {what}")
        listed = option in ("method", "budget", "noise")
        settings[field] = tuple(_words(value)) if listed else value
    return settings


def _latent(trained: Any, args: argparse.Namespace) -> Outcome:
    """Search over a latent reasoner."""
    from lrm_jax.search.latent_noise import NoiseConfig

    settings = _settings(args, 0, f"a latent reasoner, which {args.run} is")
    noise = {name: settings.pop(name) for name in _NOISE if name in settings}
    settings["noise"] = NoiseConfig(**noise)
    data = trained.search(args.data, progress=Progress(), **settings)
    data |= warning_of(trained)
    title = f"{data['n']} puzzles, checkpoint of step {data['step']}"
    lines = [title, results_text(data["results"])]
    upper = [r["oracle_accuracy"] for r in data["results"] if "oracle_accuracy" in r]
    if upper:
        lines.append(f"any candidate right, an upper bound: {max(upper):.4g}")
    if "calibration" in data:
        found = data["calibration"]
        rows = [["AUROC", found["auroc"]], ["ECE", found["ece"]]]
        lines.append(table(["halting head", "value"], rows))
    return Outcome(data, "\n".join(lines))


def _tokens(trained: Any, args: argparse.Namespace) -> Outcome:
    """Search over a policy."""
    settings = _settings(args, 1, f"a policy, which {args.run} is")
    if "separator" in settings:
        settings["separator"] = _line_ends(settings["separator"])
    data = trained.search(args.data, progress=Progress(), **settings)
    data |= warning_of(trained)
    title = f"{data['n']} problems, checkpoint of step {data['step']}"
    lines = [title, results_text(data["results"])]
    for row in data["results"]:
        if row.get("unanswered"):
            lines.append(
                f"{row['method']} {row['budget']}: {row['unanswered']} problems without"
                " any answer"
            )
    return Outcome(data, "\n".join(lines))


def _line_ends(separator: str) -> str:
    r"""Return a separator as typed in a shell, where `\n` is a line end."""
    return separator.replace("\\n", "\n")


def _samples(args: argparse.Namespace) -> Outcome:
    """Score stored samples again."""
    from lrm_jax.recipes.rescore import rescore, summary
    from lrm_jax.recipes.rescore_prm import open_scorer
    from lrm_jax.recipes.search_result import results_json
    from lrm_jax.types import UserError

    if args.run is not None:
        raise UserError(f"--samples reads a file, not a run: leave out {args.run}")
    given = [name for name in ("data", *OPTIONS) if getattr(args, name) is not None]
    for name in given:
        if name not in _STORED or (name == "separator" and args.prm is None):
            raise UserError(f"--{name.replace('_', '-')}: not with --samples")
    separator = _line_ends(args.separator or "")
    scorer = open_scorer(args.prm, separator) if args.prm else None
    reading = {name: getattr(args, name) for name in (*_OF_SAMPLES, "split")}
    results = rescore(
        args.samples,
        methods=_words(args.method),
        budgets=_words(args.budget),
        scorer=scorer,
        aggregation=args.aggregation,
        seed=args.seed or 0,
        **{name: value for name, value in reading.items() if value is not None},
    )
    data = results_json(results) | {"data": args.samples}
    title, notes = summary(results)
    return Outcome(data, "\n".join([title, results_text(data["results"]), *notes]))


def results_text(results: list[dict[str, Any]]) -> str:
    """Return the rows of `results` as a table."""
    names = (
        "method",
        "budget",
        "unit",
        "accuracy",
        "ci95",
        "tokens",
        "flops",
        "time_s",
    )
    header = [x for name in names for x in _columns(name)]
    rows = [
        [x for name in names for x in (r[name] if name == "ci95" else [r[name]])]
        for r in results
    ]
    return table(header, rows)


def _columns(name: str) -> list[str]:
    return ["ci95 low", "ci95 high"] if name == "ci95" else [name]


def _words(given: str | list[str] | None) -> list[str]:
    """Return words that stand between spaces or commas."""
    texts = [given] if isinstance(given, str) else given or []
    return [word for text in texts for word in text.split(",") if word]
