# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Whole solutions, sampled side by side and scored: what votes and best-of-N need."""

import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax.prm.aggregate import check_scores
from lrm_jax.prm.scorer import score_steps
from lrm_jax.recipes.token_sampler import GREEDY, Sampling
from lrm_jax.recipes.token_search_found import Found
from lrm_jax.search.guided_answers import Solution
from lrm_jax.steps import StepTable, find_step_ends
from lrm_jax.types import UserError

_SCORED_MOST = 256
"""Rows that the reward model scores in one call, at most."""
_SAMPLES_MOST = 2**12
"""Sequence ids that a problem has to itself: its samples are nested over budgets."""


def sample(bench: Any, budget: int, first: int, *, greedy: bool) -> Found:
    """Write `budget` solutions of each problem from `first` on, and score them."""
    config, sampler = bench.config, bench.run.sampler
    prompts = bench.prompts[first : first + bench.batch]
    if budget > _SAMPLES_MOST:
        raise UserError(f"budget {budget}: accepted: up to {_SAMPLES_MOST} samples")
    index = np.arange(first, first + bench.batch)[:, None] * _SAMPLES_MOST
    decoding = sampler.start(
        bench.run.weights,
        prompts,
        jax.random.key(config.seed),
        max_new=bench.max_new,
        group_size=budget,
        sampling=GREEDY if greedy else Sampling(config.temperature, 0, config.top_p),
        lanes=config.lanes,
        rows=bench.batch,
        width=int(bench.lengths.max()),
        sequence_ids=(index + np.arange(budget)).reshape(-1),
    )
    found = sampler.collect(decoding)
    rows = [ids[:n].tolist() for ids, n in zip(found.ids, found.length, strict=True)]
    logps = np.asarray(found.logps).sum(1)
    parts = [cut_steps(bench.table, row) for row in rows]
    scores: list[list[float]] = [[] for _ in rows]
    scored = np.zeros(len(prompts), np.int64)
    start = time.perf_counter()  # what was decoded is on the host by now
    if bench.scorer is not None and not greedy:
        texts = [[*prompts[i // budget], *row] for i, row in enumerate(rows)]
        starts = [len(prompts[i // budget]) for i in range(len(rows))]
        most = min(bench.batch * budget, _SCORED_MOST)
        scores = score_texts(bench, texts, starts, rows=most)
        scored = np.asarray(found.length).reshape(-1, budget).sum(1)
    scoring_s = time.perf_counter() - start
    solutions = [
        Solution(row, steps, one, float(logp), 0, 0.0)
        for row, steps, one, logp in zip(rows, parts, scores, logps, strict=True)
    ]
    length = np.asarray(found.length).reshape(-1, budget)
    total = bench.batch * budget
    lanes = config.lanes if 0 < config.lanes < total else total
    steps = int(decoding.steps) if decoding.steps is not None else int(length.max()) - 1
    return Found(
        [solutions[i : i + budget] for i in range(0, len(solutions), budget)],
        length.sum(1),
        scored,
        budget,
        steps,
        int(np.maximum(length - 1, 0).sum()),
        lanes,
        scoring_s,
    )


def closed_ends(
    table: StepTable, ids: list[int], start: int, *, ended: bool
) -> list[int]:
    """Return where steps end in `ids` from `start` on: where each score is read.

    The last step of a text that has ended is read at its last token that writes text
    where no separator follows, whatever the rule teaches: it holds the answer. One
    that has not ended is a step only where the rule says so.
    """
    last = np.asarray(bool(table.last_is_text) or ended)
    ends = find_step_ends(ids, start, table._replace(last_is_text=last))
    # Behind a separator that writes nothing, the text before it is no new step.
    return ends[:-1] if len(ends) > 1 and ends[-1] < ends[-2] else ends


def cut_steps(table: StepTable, ids: list[int]) -> list[int]:
    """Return the tokens of each step; what writes nothing more belongs to the last."""
    if not ids:
        return []
    ends = closed_ends(table, ids, 0, ended=True)
    cuts = [0, *(end + 1 for end in ends[:-1]), len(ids)]
    return [b - a for a, b in zip(cuts, cuts[1:], strict=False)]


def score_texts(
    bench: Any, texts: list[list[int]], starts: list[int], *, rows: int = 0
) -> list[list[float]]:
    """Score whole texts by the reward model, `rows` in a call (0: all).

    The last call is padded: one program serves all batches of a budget.
    """
    eos = bench.run.tokenizer.eos_ids
    ends = [
        closed_ends(bench.table, text, start, ended=text[-1] in eos)
        for text, start in zip(texts, starts, strict=True)
    ]
    width = int(bench.lengths.max()) + bench.max_new
    most = bench.max_new
    size = rows or max(len(texts), 1)
    total = -(-len(texts) // size) * size
    ids = np.full((total, width), bench.run.tokenizer.pad_id, np.int32)
    mask = np.zeros(ids.shape, bool)
    mask[:, 0] = True  # a row of padding alone would have nothing to attend to
    begins = np.zeros(total, np.int32)
    begins[: len(starts)] = starts
    places = np.full((total, most), -1, np.int32)
    for i, (text, found) in enumerate(zip(texts, ends, strict=True)):
        ids[i, : len(text)], mask[i, : len(text)] = text, True
        places[i, : len(found)] = found[:most]
    scorer, arrays = bench.scorer, (ids, mask, places, begins)
    scores = [
        _score_jit(scorer.scorer, scorer.params, *(x[i : i + size] for x in arrays))
        for i in range(0, total, size)
    ]
    found = np.concatenate([np.asarray(one) for one in scores])
    check_scores(jnp.asarray(found), jnp.asarray(places >= 0), "reward model")
    return [found[i, : len(one)].tolist() for i, one in enumerate(ends)]


@functools.partial(jax.jit, static_argnames=("model",))
def _score_jit(model, params, ids, mask, ends, starts):  # noqa: ANN001, ANN202
    return score_steps(model, params, ids, mask, ends, starts=starts)
