# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""How much of decoding's speed a search over written steps keeps.

Claim: with the policy of the quickstart (98,000 parameters), 128 problems of 4 to 64
tokens and 16 lanes, beam search and MCTS (no reward model) write at least 0.95 of the
tokens a second that decoding such rows 16 at a time writes (of decoding with lane
refill they do not), and lanes are busy at least 0.80 of the time. Of no paper.
Command: python -m experiments.bench_token_search [--samples 5] [--smoke]
Device: a CPU with nothing else to do; minutes.
Expected: docs/measurements.md.

All sides decode in turn in one process, after a call that compiles. `refilled` is
lane refill over the very same lengths, the fastest plain way; `batched` decodes the
same rows 16 at a time, each batch to its longest; `full` writes 64 tokens in all
lanes. A problem may have as many tokens as its length; its steps end where the
freshly initialised policy happens to write the separator, or at their limit.
"""

import argparse
import dataclasses
import functools
import json
import time

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax import presets
from lrm_jax.models.policy import count_params, token_policy
from lrm_jax.reasoning.decoding import generate_jit
from lrm_jax.reasoning.refill import generate_refilled_jit
from lrm_jax.reasoning.sampling import sampling_params
from lrm_jax.reasoning.stops import stop_table
from lrm_jax.search.beam import BeamConfig, beam_search
from lrm_jax.search.config import SearchConfig
from lrm_jax.search.guided import GuidedModel, GuidedParams
from lrm_jax.search.guided_answers import beam_spent, tree_spent
from lrm_jax.search.guided_scores import StepScorer
from lrm_jax.search.guided_steps import Drawing, StepWriter, step_ends
from lrm_jax.search.mcts import search
from lrm_jax.steps import StepRule, step_table

SHORTEST, LONGEST, PROMPT = 4, 64, 6


class Setting:
    """A policy, its problems, and what ends a step."""

    def __init__(self, problems, lanes, step_tokens, batch):
        self.problems, self.lanes, self.step_tokens = problems, lanes, step_tokens
        self.batch = min(batch, problems)
        config = presets.get("grpo_addition")
        model = dataclasses.replace(config.model, max_seq_len=PROMPT + LONGEST + 2)
        self.policy = token_policy(model)
        self.weights = jax.jit(self.policy.init)(jax.random.key(0))
        draw = np.random.default_rng(0)
        self.ids = draw.integers(2, 12, (problems, PROMPT)).astype(np.int32)
        self.lengths = draw.integers(SHORTEST, LONGEST + 1, problems).astype(np.int32)
        vocabulary = _Vocabulary(model.vocab_size)
        written = vocabulary.token_bytes()
        stops = stop_table(written, endless=True)
        rule = StepRule(separator=",", last="text")
        self.ends = step_ends(step_table(vocabulary, rule), stops, written)

    def parts(self):
        """Problems, a batch at a time."""
        for first in range(0, self.problems, self.batch):
            part = slice(first, first + self.batch)
            keys = jax.vmap(jax.random.key)(
                jnp.arange(first, first + self.batch, dtype=jnp.uint32)
            )
            yield self.ids[part], self.lengths[part], keys


class _Vocabulary:
    """Ids that write a letter each, `,` among them; none ends a text."""

    def __init__(self, size):
        self._bytes = [b","] + [bytes([97 + i % 26]) for i in range(size - 1)]

    def encode(self, text):
        return [self._bytes.index(letter.encode()) for letter in text]

    def token_bytes(self):
        return self._bytes


def plain(setting, group_size):
    """Return functions of a seed that decode; each returns tokens and lane steps."""
    rows = setting.problems * group_size
    limits = np.repeat(setting.lengths, group_size)
    mask = np.ones_like(setting.ids, bool)

    def refilled(seed):
        found = generate_refilled_jit(
            setting.policy,
            setting.weights,
            setting.ids,
            mask,
            group_size=group_size,
            max_new_tokens=LONGEST,
            lanes=setting.lanes,
            sampling=sampling_params(rows, max_new=limits.tolist()),
            key=jax.random.key(seed),
            refill_at=-(-setting.lanes // 4),
        )
        return int(found.completions.length.sum()), int(found.steps)

    def in_batches(seed, lengths=limits):
        tokens = steps = 0
        ids = np.repeat(setting.ids, group_size, 0)
        for first in range(0, len(lengths), setting.lanes):
            part = slice(first, first + setting.lanes)
            found = generate_jit(
                setting.policy,
                setting.weights,
                ids[part],
                mask[:1].repeat(setting.lanes, 0),
                group_size=1,
                max_new_tokens=LONGEST,
                sampling=sampling_params(setting.lanes, max_new=lengths[part].tolist()),
                key=jax.random.key(seed),
            )
            tokens += int(found.length.sum())
            steps += int(found.length.max()) - 1
        return tokens, steps

    full = np.full(rows, LONGEST, np.int32)
    return {
        "refilled": refilled,
        "batched": in_batches,
        "full": functools.partial(in_batches, lengths=full),
    }


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _beams(policy, config, sizes, arrays, ids, limits, keys):
    weights, ends = arrays
    writer = StepWriter(policy, weights, ends, *sizes)
    scorer = StepScorer(None, None, ends)
    mask = jnp.ones(ids.shape, bool)
    return beam_search(
        writer, scorer, ids, mask, keys, Drawing(), config, limits=limits
    )


@functools.partial(jax.jit, static_argnums=(0, 1))
def _trees(model, config, arrays, ids, limits, keys):
    weights, ends = arrays
    params = GuidedParams(weights, None, ends, Drawing())
    mask = jnp.ones(ids.shape, bool)
    problem = model.problem(params, ids, mask, limits=limits)
    result = search(model, params, problem, keys, config)
    states = result.tree.states._replace(pages=None, scored=None)
    return result._replace(tree=result.tree._replace(states=states))


def searches(setting, candidates, expand, simulations):
    """Return functions of a seed that search; each returns tokens, steps, on lanes."""
    rounds = -(-LONGEST // 4)
    beams = BeamConfig(candidates, expand, rounds=rounds, max_new_tokens=LONGEST)
    arrays = setting.weights, setting.ends
    lanes = setting.lanes
    model = GuidedModel(
        setting.policy,
        None,
        candidates=expand,
        step_tokens=setting.step_tokens,
        max_depth=rounds,
        max_new_tokens=LONGEST,
        lanes=lanes,
    )
    trees = SearchConfig(
        simulations=simulations, max_depth=rounds, q_transform="min_max"
    )

    def run(one, spent):
        def of_seed(seed):
            found = [
                spent(
                    one(ids, limits, jax.vmap(jax.random.fold_in, (0, None))(k, seed))
                )
                for ids, limits, k in setting.parts()
            ]
            tokens = sum(int(part.generated.sum()) for part in found)
            steps = sum(part.lane_steps for part in found)
            return tokens, steps, sum(part.lane_tokens for part in found)

        return of_seed

    sizes = (setting.step_tokens, lanes)
    return {
        "beam": run(
            lambda *x: _beams(setting.policy, beams, sizes, arrays, *x), beam_spent
        ),
        "mcts": run(
            lambda *x: _trees(model, trees, arrays, *x),
            lambda found: tree_spent(found, scored=False),
        ),
    }


def measure(setting, *, samples, candidates, expand, simulations):
    """Return tokens a second of every side, ratios and lane use."""
    sides = plain(setting, expand) | searches(setting, candidates, expand, simulations)
    speeds, work = ({name: [] for name in sides} for _ in range(2))
    busy, compile_s = {}, {}
    for name, side in sides.items():
        start = time.perf_counter()
        side(0)
        compile_s[name] = round(time.perf_counter() - start, 1)
    for seed in range(1, samples + 1):
        for name, side in sides.items():
            start, cpu = time.perf_counter(), time.process_time()
            tokens, steps, *on_lanes = side(seed)
            speeds[name].append(tokens / (time.perf_counter() - start))
            work[name].append(tokens / (time.process_time() - cpu))
            used = on_lanes[0] if on_lanes else tokens - rows_of(setting, expand)
            busy[name] = round(used / (steps * setting.lanes), 3)
    middle = {name: float(np.median(x)) for name, x in speeds.items()}
    each = lambda a, b: [
        round(float(np.median(np.divide(x[a], x[b]))), 3) for x in (speeds, work)
    ]
    return {
        "parameters": count_params(setting.weights),
        "problems": setting.problems,
        "lanes": setting.lanes,
        "batch": setting.batch,
        "step_tokens": setting.step_tokens,
        "tokens_per_s": {name: round(x) for name, x in middle.items()},
        # By the clock, and by processor time: fairer on a busy machine.
        **{
            f"of_{plain}": {name: each(name, plain) for name in ("beam", "mcts")}
            for plain in ("refilled", "batched", "full")
        },
        "lane_use": busy,
        "first_call_s": compile_s,
    }


def rows_of(setting, group_size):
    """Rows of plain decoding, whose first tokens take no lane."""
    return setting.problems * group_size


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--lanes", type=int, default=16)
    parser.add_argument("--problems", type=int, default=128)
    parser.add_argument("--batch", type=int, default=128, help="problems at a time")
    parser.add_argument("--step-tokens", type=int, default=32)
    parser.add_argument("--simulations", type=int, default=8)
    parser.add_argument("--smoke", action="store_true", help="a moment, no figures")
    args = parser.parse_args()
    if args.smoke:
        args.samples, args.problems, args.lanes, args.simulations = 1, 4, 4, 4
    setting = Setting(args.problems, args.lanes, args.step_tokens, args.batch)
    found = measure(
        setting,
        samples=args.samples,
        candidates=8,
        expand=4,
        simulations=args.simulations,
    )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
