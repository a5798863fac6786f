# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Write completions of one prompt with a token policy."""

import argparse

from lrm_jax.cli.common import Outcome, warning_of

NAME = "sample"
SUMMARY = "completions of one prompt by a token policy"
EXAMPLE = "lrm sample runs/sft --prompt '12+34=' --n 4 --temperature 0.7 --budget 32"
TAKES_OVERRIDES = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("run", metavar="RUN", help="run folder; RUN@STEP for a step")
    parser.add_argument(
        "--prompt", required=True, metavar="TEXT", help="what to answer"
    )
    parser.add_argument("--n", type=int, default=1, metavar="N", help="completions")
    parser.add_argument(
        "--max-new",
        type=int,
        metavar="N",
        help="the most tokens of a completion (default: the run's eval.max_new_tokens)",
    )
    parser.add_argument(
        "--temperature", type=float, default=1.0, metavar="T", help="0: most likely"
    )
    parser.add_argument("--top-k", type=int, default=0, metavar="K", help="0: all")
    parser.add_argument("--top-p", type=float, default=1.0, metavar="P")
    parser.add_argument("--min-p", type=float, default=0.0, metavar="P")
    parser.add_argument(
        "--budget",
        metavar="B",
        help="tokens of thought: 0 none, N, N+halt, -1 free, low, medium, high",
    )
    parser.add_argument(
        "--min-thinking", type=int, default=0, metavar="N",
        help="least tokens of thought; an earlier end is replaced by --wait",
    )  # fmt: skip
    parser.add_argument(
        "--wait", metavar="TEXT",
        help="in place of an end that comes too early (default: Wait; ends are not "
        "drawn where it is empty or the vocabulary cannot write it)",
    )  # fmt: skip
    parser.add_argument(
        "--lanes", type=int, default=0, metavar="N",
        help="completions at work at a time, the next taking the place of one that "
        "has ended; 0: all of them",
    )  # fmt: skip
    parser.add_argument(
        "--stop", nargs="+", action="extend", default=[], metavar="TEXT",
        help="texts that end a completion",
    )  # fmt: skip
    parser.add_argument(
        "--raw", action="store_true", help="the prompt as it stands, no chat template"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draws")


def run(args: argparse.Namespace) -> Outcome:
    """Do it."""
    from lrm_jax.recipes.imported_reward import ImportedReward
    from lrm_jax.recipes.prm_run import RewardRun
    from lrm_jax.recipes.registry import load
    from lrm_jax.recipes.token_run import TokenRun
    from lrm_jax.recipes.token_thinking import WAIT
    from lrm_jax.types import UserError

    for name, value, least in (
        *(("--n", args.n, 1), ("--max-new", args.max_new, 1)),
        *(("--lanes", args.lanes, 0), ("--min-thinking", args.min_thinking, 0)),
    ):
        if value is not None and value < least:
            raise UserError(f"{name} {value}: expected {least} or more")
    if args.wait is not None and not args.min_thinking:
        raise UserError("--wait: takes the place of an end before --min-thinking")
    if not 0 <= args.seed < 2**63:
        raise UserError(f"--seed {args.seed}: expected between 0 and {2**63 - 1}")
    trained = load(args.run)
    if isinstance(trained, RewardRun | ImportedReward):
        raise UserError(f"{args.run}: a reward model writes no text; see lrm eval")
    if not isinstance(trained, TokenRun):
        raise UserError(f"{args.run}: a latent reasoner writes no text; see lrm solve")
    found = trained.sample(
        args.prompt,
        n=args.n,
        max_new=args.max_new,
        temperature=args.temperature,
        top_k=args.top_k,
        top_p=args.top_p,
        min_p=args.min_p,
        budget=args.budget,
        min_thinking=args.min_thinking,
        wait=WAIT if args.wait is None else args.wait,
        lanes=args.lanes,
        stop=args.stop,
        raw=args.raw,
        seed=args.seed,
    )
    data = {"completions": [one.to_json() for one in found], "step": trained.step}
    data |= warning_of(trained)
    shown = [
        f"{one.text}\n({one.tokens} tokens, {one.thinking_tokens} of thought, "
        f"log-prob {one.logprob:.3f}, ended by {one.stop})"
        for one in found
    ]
    return Outcome(data, "\n\n".join(shown))
