# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""How fast a tree is searched when the model costs nothing, beside mctx.

Claim: at 64 trees, 64 simulations and 8 actions no slower than mctx's Gumbel policy on
the same machine. Of no paper.
Command: python -m experiments.bench_search [--samples 20] [--json]
Device: any; half a minute, most of it compilation. Needs mctx (the `dev` extra).
Expected: docs/measurements.md.

Both search the same endless problem (a few sines a node) in turn in one process after
a warm-up that compiles; the best and the median time of each count, and on a busy
machine only the ratios do.
"""

import argparse
import json
import statistics
import time

import jax
import jax.numpy as jnp

from lrm_jax.search.config import SearchConfig
from lrm_jax.search.mcts import search
from lrm_jax.search.tree import Expansion
from lrm_jax.types import UserError

DISCOUNT = 0.997


class Sines:
    """A tree of numbers: prior and value of a node are sines of its number."""

    def __init__(self, actions):
        self.num_actions = actions

    def say(self, number):
        angles = jnp.arange(1, self.num_actions + 1, dtype=jnp.float32)
        noise = jnp.sin(number[:, None] * angles[None] * 12.9898) * 43758.5453
        return noise - jnp.floor(noise), jnp.sin(number * 78.233)

    def move(self, number, action):
        return number * 1.37 + action * 0.61 + 0.1

    def node(self, number, discount):
        logits, value = self.say(number)
        zero = jnp.zeros_like(value)
        valid = jnp.ones_like(logits, bool)
        node = Expansion(
            zero, zero + discount, logits, valid, value, valid[:, 0] & False
        )
        return node, number

    def root(self, params, problem, keys):
        del params, keys
        return self.node(problem, 1.0)

    def step(self, params, view, action, keys):
        del params, keys
        return self.node(self.move(view.state(), action), DISCOUNT)


def ours(model, config):
    return jax.jit(lambda start, keys: search(model, None, start, keys, config))


def theirs(model, policy, simulations):
    """The same problem under one of mctx's policies."""
    try:
        import mctx
    except ImportError:
        raise UserError("bench_search needs mctx: pip install 'lrm-jax[dev]'") from None

    def recurrent(params, key, action, number):
        del params, key
        number = model.move(number, action)
        logits, value = model.say(number)
        zero = jnp.zeros_like(value)
        out = mctx.RecurrentFnOutput(
            reward=zero, discount=zero + DISCOUNT, prior_logits=logits, value=value
        )
        return out, number

    def run(start, keys):
        logits, value = model.say(start)
        root = mctx.RootFnOutput(prior_logits=logits, value=value, embedding=start)
        return getattr(mctx, policy)(None, keys[0], root, recurrent, simulations)

    return jax.jit(run)


def timed(programs, arguments, samples):
    """Seconds of each program, all in turn."""
    for program in programs.values():
        jax.block_until_ready(program(*arguments))
    times = {name: [] for name in programs}
    for _ in range(samples):
        for name, program in programs.items():
            began = time.perf_counter()
            jax.block_until_ready(program(*arguments))
            times[name].append(time.perf_counter() - began)
    return times


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trees", type=int, default=64)
    parser.add_argument("--simulations", type=int, default=64)
    parser.add_argument("--actions", type=int, default=8)
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    model = Sines(args.actions)
    config = lambda **fields: SearchConfig(simulations=args.simulations, **fields)
    programs = {
        "mctx gumbel": theirs(model, "gumbel_muzero_policy", args.simulations),
        "mctx muzero": theirs(model, "muzero_policy", args.simulations),
        "gumbel": ours(model, config(method="gumbel")),
        "gumbel count": ours(model, config(method="gumbel", solved="count")),
        "puct": ours(model, config()),
        "uct": ours(model, config(method="uct")),
        "puct 4 leaves": ours(model, config(leaves=4)),
    }
    start = jnp.linspace(0.1, 1, args.trees)
    arguments = (start, jax.random.split(jax.random.key(0), args.trees))
    times = timed(programs, arguments, args.samples)
    base = times["mctx gumbel"]
    rows = [
        {
            "program": name,
            "best_ms": min(row) * 1e3,
            "median_ms": statistics.median(row) * 1e3,
            "simulations_per_s": args.trees * args.simulations / min(row),
            "times_mctx_gumbel": min(base) / min(row),
            "times_mctx_gumbel_median": statistics.median(base)
            / statistics.median(row),
        }
        for name, row in times.items()
    ]
    if args.json:
        print(json.dumps({"results": rows}))
        return
    for row in rows:
        print(
            f"{row['program']:14s} {row['best_ms']:8.2f} ms best "
            f"{row['median_ms']:8.2f} ms median {row['simulations_per_s']:10.0f} "
            f"simulations/s {row['times_mctx_gumbel']:5.2f} times mctx gumbel "
            f"({row['times_mctx_gumbel_median']:.2f} by medians)"
        )


if __name__ == "__main__":
    main()
