# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Stored samples scored again: every form of file, by hand, and what is refused."""

import itertools
import json
import math
import random
import re
from fractions import Fraction

import numpy as np
import pytest

from lrm_jax.data.jsonl import read_objects
from lrm_jax.recipes.rescore import METHODS, rescore
from lrm_jax.recipes.stored_samples import read_stored
from lrm_jax.search import voting
from lrm_jax.search.domains.countdown import exact_value
from lrm_jax.types import UserError


def _file(tmp_path, rows, name="samples.jsonl"):
    path = tmp_path / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _own(prompt, said, right, logp=-1.0, **changes):
    """A line as runs write them; four tokens."""
    row = {"step": 5, "split": "train", "prompt": prompt, "answer": "7"}
    row |= {"completion": f"<answer>{said}</answer>", "tokens": list("abcd")}
    row |= {"logps": [logp] * 4, "forced": [False] * 4, "reward": 0.0}
    verdict = {"strict": float(right), "lenient": 1.0, "extracted": said}
    return row | {"verdict": verdict | {"status": "right"}} | changes


# Of problem a 7 has two of four votes; of problem b the likeliest one is right.
ROWS = [
    *(_own("a", "7", 1, -0.5), _own("a", "3", 0, -0.1), _own("a", "7.0", 1, -2.0)),
    *(_own("a", "", 0, -3.0), _own("b", "1", 0, -1.0), _own("b", "1", 0, -1.5)),
    *(_own("b", "7", 1, -0.2), _own("b", "2", 0, -4.0)),
]


def _row(results, method, n):
    return next(r for r in results if (r.method, r.budget) == (method, n))


def test_all_methods_of_a_runs_own_file_by_hand(tmp_path):
    results = rescore(_file(tmp_path, ROWS))
    methods = dict.fromkeys(r.method for r in results)
    without_scores = [m for m, need in METHODS.items() if need != "score"]
    assert list(methods) == without_scores
    assert [r.budget for r in results if r.method == "majority"] == [1, 2, 4]
    assert _row(results, "majority", 4).scores.tolist() == [1, 0]
    assert _row(results, "best_of_n_logprob", 4).scores.tolist() == [0, 1]
    # e^-0.5 + e^-2 = 0.742 < e^-0.1 = 0.905; e^-1 + e^-1.5 = 0.591 < e^-0.2
    assert _row(results, "weighted_logprob", 4).scores.tolist() == [0, 1]
    assert _row(results, "pass", 4).scores.tolist() == [1, 1]
    assert _row(results, "pass", 2).scores == pytest.approx([5 / 6, 1 / 2])
    # One candidate: its own accuracy; one of the four of `a` has no answer.
    for method in methods:
        assert _row(results, method, 1).scores == pytest.approx([0.5, 0.25])
    assert _row(results, "majority", 4).tokens == 16
    extra = _row(results, "best_of_n_logprob", 4).extra
    assert extra["stored"] == 4 and extra["answered"] == 7 / 8
    assert extra["above_majority"]["difference"] == 0
    assert "aggregation" not in extra


def test_the_order_of_lines_changes_nothing(tmp_path):
    first = [r.to_json() for r in rescore(_file(tmp_path, ROWS))]
    rng = np.random.default_rng(0)
    for _ in range(3):
        a, b = rng.permutation(4), 4 + rng.permutation(4)
        moved = [ROWS[i] for i in [*a, *b]]
        assert [r.to_json() for r in rescore(_file(tmp_path, moved))] == first


def test_every_n_is_the_mean_over_subsets(tmp_path):
    results = rescore(_file(tmp_path, ROWS), budgets=["1", "2", "3", "high"])
    problems = read_stored(_file(tmp_path, ROWS))
    for n, (q, problem) in itertools.product((2, 3), enumerate(problems)):
        found = []
        for rows in itertools.combinations(problem.candidates, n):
            ids = voting.classes(
                [r.answer for r in rows], lambda a, b: float(a) == float(b)
            )
            found.append(voting.majority(ids).expected([r.right for r in rows]))
        want = np.mean(found)
        assert _row(results, "majority", n).scores[q] == pytest.approx(want)


def test_steps_of_responses_with_their_scores(tmp_path):
    rows = [
        {"prompt": "a", "answer": "7", "completions": ["2+5", "so 7"], "scores": s}
        for s in ([0.9, 0.2], [0.1, 0.3])
    ] + [{"prompt": "a", "answer": 7, "completions": ["it is 8"], "scores": [0.25]}]
    path = _file(tmp_path, rows)
    results = rescore(path)
    # last: 0.2, 0.3 for 7 and 0.25 for 8
    best = _row(results, "best_of_n", 3)
    assert best.scores.tolist() == [1] and best.extra["aggregation"] == "last"
    assert best.extra["lowest_at_last_step"] == 0.5  # of the two with two steps
    assert best.tokens is None
    assert "lowest_at_last_step" not in _row(results, "majority", 3).extra
    # min: 0.2, 0.1 and 0.25, but together 7 has 0.3
    by_min = rescore(path, aggregation="min")
    assert _row(by_min, "best_of_n", 3).scores.tolist() == [0]
    assert _row(by_min, "weighted", 3).scores.tolist() == [1]


@pytest.mark.parametrize("scores", [[0.9, 0.1], [[0.4, 0.9], [0.8, 0.1]]])
def test_responses_of_a_problem_on_one_line(tmp_path, scores):
    row = {"problem": "2+5", "answer": "7", "completions": [r"\boxed{7}", "8"]}
    other = row | {"problem": "3+4"}
    results = rescore(
        _file(tmp_path, [row | {"scores": scores}, other | {"scores": scores}])
    )
    assert _row(results, "best_of_n", 2).scores.tolist() == [1, 1]
    assert _row(results, "majority", 2).scores.tolist() == [0.5, 0.5]


def test_what_is_stored_of_each_response_is_believed(tmp_path):
    row = {"prompt": "a", "completions": ["7", "7", "x"], "correct": [0, 1, 1]}
    row |= {"extracted": ["b", "b", None], "tokens": [1, 2, 6]}
    results = rescore(_file(tmp_path, [row, row | {"prompt": "b"}]))
    assert _row(results, "majority", 3).scores.tolist() == [0.5, 0.5]
    assert _row(results, "pass", 1).accuracy == pytest.approx(2 / 3)
    assert _row(results, "pass", 3).tokens == 9
    short = _file(tmp_path, [row | {"correct": [1]}])
    with pytest.raises(UserError, match="line 1, correct: expected a list of 3"):
        rescore(short)


class ExactSteps:
    """Scores a step of the Game of 24 by the true value of the numbers left."""

    semantics = "step_correctness"

    def step_scores(self, solutions):
        return [self._of(text) for _, text, _ in solutions]

    def _of(self, text):
        left = [m.split() for m in re.findall(r"\(left: ([^)]*)\)", text)]
        plain = re.compile(r"-?\d+(/[1-9]\d*)?").fullmatch
        return [
            exact_value([Fraction(x) for x in numbers], 24)
            if numbers and all(map(plain, numbers)) and len(numbers) <= 4
            else 0.0
            for numbers in left
        ]


@pytest.mark.nightly
def test_real_samples_of_the_game_of_24(lrm_data, tmp_path):
    file = lrm_data / "countdown" / "game24_gpt4_cot_samples.jsonl.gz"
    rows = []
    for _, stored in read_objects(file):
        said = [x.rpartition("Answer:")[2] for x in stored["outputs"]]
        answers = [x.partition("=")[0].strip() for x in said]
        rows.append(
            {
                **{"prompt": str(stored["numbers"]), "completions": stored["outputs"]},
                **{"correct": stored["rewards"], "extracted": answers},
            }
        )
    results = rescore(_file(tmp_path, rows), scorer=ExactSteps())
    print([(r.method, r.budget, round(r.accuracy, 4)) for r in results])
    # Known of these samples: 368 of 9,000 right, 46 of 90 problems ever solved.
    assert _row(results, "pass", 1).accuracy == pytest.approx(368 / 9000)
    assert _row(results, "pass", 100).accuracy == pytest.approx(46 / 90)
    for method in ("majority", "best_of_n", "weighted"):
        assert _row(results, method, 1).accuracy <= 368 / 9000 + 1e-9
    # Steps scored by the truth choose better than votes do.
    above = _row(results, "best_of_n", 100).extra["above_majority"]
    assert above["ci95"][0] > 0


class Planted:
    """A reward model that likes texts with a 7 in their last step."""

    semantics = "step_correctness"

    def __init__(self, bad=math.inf):
        self.asked, self.bad = [], bad

    def step_scores(self, solutions):
        self.asked += solutions
        found = [[0.5, 0.9 if "7" in text else 0.1] for _, text, _ in solutions]
        if self.bad < len(found):
            found[self.bad][1] = math.nan
        return found


def test_a_reward_model_takes_the_place_of_stored_scores(tmp_path):
    scorer = Planted()
    results = rescore(_file(tmp_path, ROWS), scorer=scorer)
    assert _row(results, "best_of_n", 4).scores.tolist() == [1, 1]
    assert _row(results, "best_of_n", 4).extra["aggregation"] == "product"
    assert _row(results, "best_of_n", 4).extra["lowest_at_last_step"] == 5 / 8
    assert scorer.asked[0] == ("a", "<answer>7</answer>", None)
    with pytest.raises(UserError, match="line 6, step 2: the score is NaN"):
        rescore(_file(tmp_path, ROWS), scorer=Planted(bad=5))


def test_tokens_that_a_budget_wrote_are_left_out_of_the_mean(tmp_path):
    row = _own("a", "7", 1, logps=[-1.0, -9.0, -2.0, -3.0])
    row["forced"] = [False, True, False, False]
    assert read_stored(_file(tmp_path, [row]))[0].candidates[0].logprob == -2


def test_steps_and_splits_are_apart_and_single_ones_left_out(tmp_path):
    greedy = [_own(p, "7", 1, split="eval") for p in "abc"]
    later = [row | {"step": 10} for row in ROWS]
    path = _file(tmp_path, [*ROWS, *greedy, *later])
    result = rescore(path)[0]
    assert result.n == 4 and result.extra["left_out"] == 3
    assert rescore(path, step=10)[0].n == 2
    only = rescore(path, split="eval")
    assert only[0].n == 3 and {r.budget for r in only} == {1}


def test_a_lenient_reading_is_another_accuracy(tmp_path):
    results = rescore(_file(tmp_path, ROWS), reading="lenient", methods=["pass"])
    assert _row(results, "pass", 1).scores.tolist() == [1, 1]


def test_a_strict_reading_finds_no_answer_without_tags(tmp_path):
    broken = {"strict": 0.0, "lenient": 1.0, "status": "no_tag", "extracted": "7"}
    path = _file(tmp_path, [ROWS[0], ROWS[1] | {"verdict": broken}])
    answers = lambda reading: [
        row.answer for row in read_stored(path, reading=reading)[0].candidates
    ]
    assert answers("strict") == ["7", None] and answers("lenient") == ["7", "7"]


def test_drawn_subsets_are_said(tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        _own("a", str(rng.integers(0, 3)), i % 2, -float(rng.random()))
        for i in range(20)
    ]
    results = rescore(
        _file(tmp_path, rows), methods=["weighted_logprob"], budgets=["8", "high"]
    )
    assert _row(results, "weighted_logprob", 8).extra["subsets"] == 256
    assert "subsets" not in _row(results, "weighted_logprob", 20).extra


STEPS = {"prompt": "a", "answer": "7", "completions": ["x", "7"], "scores": [0.1, 0.2]}
NEVER = [_own("a", "", 0), _own("a", "", 0)]


@pytest.mark.parametrize(
    ("rows", "options", "said"),
    [
        ([], {}, "no completions"),
        (ROWS, {"step": 6}, "no completions of step 6"),
        (ROWS, {"budgets": ["16"]}, "budget 16: only 4 completions are stored of the "),
        (ROWS, {"budgets": ["0"]}, "budget '0': expected a number of candidates"),
        (ROWS, {"budgets": ["2+halt"]}, r"budget '2\+halt': expected"),
        (ROWS, {"methods": ["vote"]}, "method 'vote': expected one of majority"),
        (ROWS, {"methods": ["weighted"]}, r"line 1 has no scores.*--prm"),
        (
            [{"prompt": "a", "completion": "7", "answer": "7"}] * 2,
            {"methods": ["best_of_n_logprob"]},
            "line 1 has no logps",
        ),
        (NEVER, {}, "no answer was found in any of 2 completions"),
        ([STEPS, STEPS | {"scores": [0.1]}], {}, "line 2: 1 scores of 2 steps"),
        (
            [STEPS | {"scores": [0.1, 0.2, 0.3]}],
            {},
            "line 1: 3 scores of 2 completions",
        ),
        (
            [STEPS, STEPS | {"scores": [0.1, math.nan]}],
            {},
            "line 2, step 2: the score is NaN",
        ),
        (
            [STEPS, STEPS | {"labels": [True, None], "scores": None}],
            {},
            "line 2, step 2: the score is null",
        ),
        (
            [STEPS | {"scores": [[0.1, math.nan], [0.5]]}],
            {},
            "line 1, completion 1, step 2: the score is NaN",
        ),
        (
            [STEPS | {"scores": [0.1, math.nan]}],
            {},
            "line 1, completion 2, score: the score is NaN",
        ),
        ([_own("a", "7", 1, logps=3)], {}, "line 1, logps: expected a list"),
        ([_own("a", "7", 1, logps=[0.5] * 4)], {}, "logps: 0.5 is no log-prob"),
        ([_own("a", "7", 1, forced=[True])], {}, "line 1, forced: expected a list"),
        ([_own("a", "7", 1, tokens="x")], {}, "line 1, tokens: expected a list"),
        ([STEPS, STEPS | {"scores": [10**400, 1]}], {}, "line 2, step 1: the score is"),
        (ROWS, {"aggregation": "min"}, "aggregation 'min': .* has no scores of steps"),
        ([STEPS, STEPS], {"aggregation": "max"}, "aggregation 'max': expected one of"),
        ([STEPS | {"scores": 3}], {}, "line 1: scores: expected a list, got 3"),
        ([{"prompt": "a", "completion": "7"}], {}, "line 1: no true answer"),
        ([{"completion": "7"}], {}, "line 1: no prompt"),
        ([{"prompt": "a"}], {}, "line 1: no text in completion"),
        ([STEPS | {"scores": [-0.1, 0.2]}], {"methods": ["weighted"]}, "score below 0"),
    ],
)
def test_what_is_refused(tmp_path, rows, options, said):
    path = _file(tmp_path, rows)
    with pytest.raises(UserError, match=said) as caught:
        rescore(path, **options)
    assert "\n" not in str(caught.value)


ODD = [None, "x", 3, -1.5, [], {}, [None], [[1]], True, math.nan, math.inf, 10**400]
ODD += [-math.inf, "", [0.1, "b"], {"strict": "x"}, {"extracted": [1]}, [1e308]]


def test_damaged_rows_are_read_or_refused_in_one_line(tmp_path):
    rng = random.Random(0)
    nested = STEPS | {"scores": [[0.1], [0.2]], "correct": [0, 1], "tokens": [1, 2]}
    refused = 0
    for _ in range(150):
        row = dict(rng.choice([ROWS[0], STEPS, nested]))
        for _ in range(rng.randint(1, 2)):
            row[rng.choice([*row, "score", "labels", "extracted"])] = rng.choice(ODD)
        try:
            rescore(_file(tmp_path, [row, ROWS[1]]))
        except UserError as error:
            refused += 1
            assert "line 1" in str(error) or "no answer" in str(error)
            assert "\n" not in str(error)
    assert 30 < refused < 140


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        rescore(tmp_path / "none.jsonl")


def test_scores_below_zero_leave_the_weighted_vote_out(tmp_path):
    rows = [STEPS | {"scores": [-0.1, 0.2]}]
    methods = {r.method for r in rescore(_file(tmp_path, rows))}
    assert "best_of_n" in methods and "weighted" not in methods
