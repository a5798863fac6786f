# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Language score of fixed texts."""

import time

import pytest

from lrm_jax.data.verify.language import LANGUAGES, language_score
from lrm_jax.types import UserError


@pytest.mark.parametrize(
    ("text", "language", "score"),
    [
        ("hello world", "en", 1.0),
        ("hello \u4f60\u597d", "en", 1 / 3),
        ("hello \u4f60\u597d", "zh", 2 / 3),
        ("\u043f\u0440\u0438\u0432\u0435\u0442 hello", "ru", 0.5),
        ("ein \u00dcberma\u00df an Stra\u00dfen", "de", 1.0),
        ("\u3053\u308c\u306f\u6f22\u5b57", "ja", 1.0),
        ("\uc548\ub155 there", "ko", 0.5),
        ("", "en", 1.0),
        ("123 + 45", "zh", 1.0),
        (r"$\text{abc}$ \frac{1}{2} <think> \(xyz\)", "zh", 1.0),
        ("$$a b c$$ \u597d ```code``` \u5417", "zh", 1.0),
        ("so \u597d $5", "en", 0.5),
    ],
)
def test_scores(text, language, score):
    assert language_score(text, language) == pytest.approx(score)


def test_every_language_scores_and_others_are_refused():
    assert all(0 <= language_score("mixed \u597d", name) <= 1 for name in LANGUAGES)
    with pytest.raises(UserError, match="language_code='klingon': accepted are en"):
        language_score("x", "klingon")


@pytest.mark.parametrize(
    "piece", ["$", r"\[", r"\(", "```", "<a", "\\a", "$$", "\u597d"]
)
def test_long_texts_take_no_time(piece):
    start = time.process_time()
    language_score(piece * 100_000, "en")
    assert time.process_time() - start < 0.5
