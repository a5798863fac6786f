# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reading positions, by models that know the label at one token only."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.data.tokenizer import SymbolTokenizer
from lrm_jax.prm.readers import READERS, ReaderConfig, SignReader, sign_id
from lrm_jax.prm.scorer import score_steps
from lrm_jax.steps import StepRule, tokenize_steps
from lrm_jax.types import UserError

TOKENIZER = SymbolTokenizer(["g", "b", "x", "T", "\n", "+", "-"])
RULE = StepRule("T", between="\n")
PLUS, MINUS = TOKENIZER.encode("+-")


class _Hidden(NamedTuple):
    hidden: Any


class _Planted:
    """Says the step's label at one offset from its tag, and noise at other tokens.

    A step is "g" or "b", then three "x"; the label is that of its first letter.
    """

    vocab_size = TOKENIZER.vocab_size

    def __init__(self, offset: int) -> None:
        self.offset = offset

    def forward(self, params, ids, positions, mask, segment_ids=None):
        (tag,), letters = TOKENIZER.encode("T"), TOKENIZER.encode("gb")
        ids = np.asarray(ids)
        said = np.random.default_rng(0).choice([-2.0, 2.0], ids.shape)
        for b, t in np.argwhere(ids == tag):
            said[b, t + self.offset] = 2.0 if ids[b, t - 4] == letters[0] else -2.0
        return _Hidden(jnp.asarray(said, jnp.float32)[..., None])  # [B, T, 1]

    def lm_head(self, params):
        return jnp.zeros((1, self.vocab_size)).at[0, PLUS].set(1.0)


def _batch(count: int = 40):
    rng = np.random.default_rng(1)
    rows, labels = [], []
    for _ in range(count):
        good = rng.integers(0, 2, 10)
        steps = [f"{'bg'[one]}xxx" for one in good]
        rows.append(tokenize_steps(TOKENIZER.encode, "xx", steps, RULE))
        labels.append(good)
    ids = jnp.asarray([row.ids for row in rows])
    ends = jnp.asarray([row.ends for row in rows])
    return ids, ends, np.asarray(labels)


def _accuracy(offset: int, early: int, shift: int = 0) -> float:
    ids, ends, labels = _batch()
    ends, labels = ends[:, :-1], labels[:, :-1]  # no token follows the last
    model: Any = SignReader(_Planted(offset), PLUS, MINUS, early)  # pyright: ignore
    mask = jnp.ones_like(ids, bool)
    scores = score_steps(model, {}, ids, mask, ends + shift)
    return float(np.mean((np.asarray(scores) > 0.5) == labels))


@pytest.mark.parametrize(
    ("offset", "early"), [(0, 0), (-1, 1)], ids=["at the tag", "one earlier"]
)
def test_only_the_true_position_knows(offset, early):
    assert _accuracy(offset, early) == 1.0
    for shift in (-2, -1, 1):
        assert 0.4 < _accuracy(offset, early, shift) < 0.6
    assert 0.4 < _accuracy(offset, 1 - early) < 0.6


def test_a_score_is_the_softmax_over_two_signs():
    logits = jnp.asarray([1.5, -0.5])
    kernel = jnp.zeros((2, 9)).at[0, PLUS].set(1.0).at[1, MINUS].set(1.0)

    class _Two(_Planted):
        def forward(self, params, ids, positions, mask, segment_ids=None):
            return _Hidden(jnp.broadcast_to(logits, (*ids.shape, 2)))

        def lm_head(self, params):
            return kernel

    ids, ends, _ = _batch(1)
    model: Any = SignReader(_Two(0), PLUS, MINUS)  # pyright: ignore
    scores = score_steps(model, {}, ids, jnp.ones_like(ids, bool), ends)
    expected = np.exp(1.5) / (np.exp(1.5) + np.exp(-0.5))
    np.testing.assert_allclose(scores, np.full((1, 10), expected), rtol=1e-6)


def test_steps_are_written_as_they_were_taught():
    assert READERS["math_shepherd"].write(["a", "b"]) == ["Step 1: a", "Step 2: b"]
    assert READERS["qwen"].write(["a {i}"]) == ["a {i}"]
    assert READERS["rlhflow"].early == 1
    assert READERS["trl"].rule.pieces == "apart"


def test_what_no_reader_can_mean():
    with pytest.raises(UserError, match=r"reader.early=2: expected 0 or 1"):
        ReaderConfig(early=2)
    with pytest.raises(UserError, match=r"reader.step='x': expected"):
        ReaderConfig(step="x")
    with pytest.raises(UserError, match=r"reader.plus='yes' is 2 tokens"):
        sign_id([3, 4], "yes", "plus")
    assert sign_id([3], "+", "plus") == 3
