# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is handed out of a search's solutions: spellings of a number vote together."""

from types import SimpleNamespace

from lrm_jax.recipes.token_search_vote import Said, vote_scores


def test_spellings_of_an_answer_are_one_class():
    answers = ["1/2", "3", "0.5", "4", None]
    said = Said([answers], [[1.0, 0.0, 1.0, 0.0, 0.0]])
    solutions = [SimpleNamespace(visits=v) for v in (1, 2, 0, 0, 0)]
    found = SimpleNamespace(solutions=[solutions])
    scores = [[0.3, 0.4, 0.3, 0.1, 0.9]]
    finals = ("majority", "vote", "score", "visits")
    said_of = {final: vote_scores(found, said, final, scores) for final in finals}
    assert said_of == {"majority": [1], "vote": [1], "score": [0], "visits": [0]}
