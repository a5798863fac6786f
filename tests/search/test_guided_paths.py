# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A text has the same steps and scores, whether searched for or sampled whole."""

import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.models.policy_config import PolicyConfig
from lrm_jax.models.reward import reward_model, with_head
from lrm_jax.reasoning.stops import stop_table
from lrm_jax.recipes.token_search_samples import cut_steps, score_texts
from lrm_jax.search.beam import BeamConfig, beam_search
from lrm_jax.search.guided_answers import beam_solutions, without_blank_ends
from lrm_jax.search.guided_scores import StepScorer
from lrm_jax.search.guided_steps import Drawing, StepWriter, step_ends
from lrm_jax.steps import StepRule, step_table
from tests.search import planted
from tests.search.planted import END, PAD, SEP, A, B

CONFIG = BeamConfig(candidates=16, expand=8, rounds=4, max_new_tokens=8)
SCORER = reward_model(
    PolicyConfig(
        vocab_size=6, d_model=16, n_layers=1, n_heads=2, d_ff=16, max_seq_len=16
    ),
    "future_success",
)


class _Marked:
    """A vocabulary whose separator is a token that writes nothing."""

    def encode(self, text):
        return planted.LETTERS.encode(text)

    def token_bytes(self):
        return [b"" if token == SEP else one for token, one in enumerate(planted.BYTES)]


@functools.cache
def _weights():
    weights = jax.jit(SCORER.init)(jax.random.key(1))
    return with_head(weights, jax.random.normal(jax.random.key(2), (16,)))


@jax.jit
def _beams(table, ends, weights, ids, mask, keys):
    writer = StepWriter(planted.POLICY, table, ends, 2)
    scorer = StepScorer(SCORER, weights, ends)
    return beam_search(writer, scorer, ids, mask, keys, Drawing(), CONFIG)


def _bench(rule, letters=planted.LETTERS):
    tokenizer = SimpleNamespace(pad_id=PAD, eos_ids=(END,))
    return SimpleNamespace(
        table=step_table(letters, rule),
        lengths=np.asarray([2]),
        max_new=CONFIG.max_new_tokens,
        run=SimpleNamespace(tokenizer=tokenizer),
        scorer=SimpleNamespace(scorer=SCORER, params=_weights()),
    )


@pytest.mark.parametrize(
    "last, letters",
    [
        ("separator", planted.LETTERS),
        ("text", planted.LETTERS),
        ("separator", _Marked()),
    ],
)
def test_a_beams_steps_are_scored_as_those_of_the_same_text_when_sampled(last, letters):
    rule = StepRule(separator=";", last=last)
    table = planted.table().at[SEP, END].set(jnp.log(0.5))  # also after a separator
    ids, mask = planted.prompts([A, B])
    keys = jax.vmap(jax.random.key)(jnp.arange(2, dtype=jnp.uint32))
    bench, written = _bench(rule, letters), letters.token_bytes()
    ends = step_ends(bench.table, stop_table(written, [END]), written)
    beams = _beams(table, ends, _weights(), ids, mask, keys)
    solid = np.asarray([bool(one.strip()) for one in written])
    found = without_blank_ends(beam_solutions(beams), solid)
    ways = set()
    for q, solutions in enumerate(found):
        texts = [[*ids[q].tolist(), *one.ids] for one in solutions]
        sampled = score_texts(bench, texts, [2] * len(texts))
        for one, scores in zip(solutions, sampled, strict=True):
            assert one.steps == cut_steps(bench.table, one.ids)
            assert len(one.scores) == len(scores)
            np.testing.assert_allclose(one.scores, scores, atol=1e-5)
            ways.add((min(len(one.scores), 2), one.ids[-2:-1] == [SEP]))
    # Nothing said, one step and more, with and without a separator at the end.
    assert ways >= {(0, False), (1, False), (1, True), (2, False), (2, True)}


def test_a_text_that_has_not_ended_has_no_last_step_without_its_separator():
    for last, count in (("separator", 1), ("text", 2)):
        bench = _bench(StepRule(separator=";", last=last))
        scores = score_texts(bench, [[A, SEP, A, SEP, B]], [2])
        assert len(scores[0]) == count
