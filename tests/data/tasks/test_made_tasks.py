# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What every made-up task promises: pure examples, splits apart, right solutions."""

import pytest

from lrm_jax.data.tasks.addition import Addition
from lrm_jax.data.tasks.arithmetic import Arithmetic
from lrm_jax.data.tasks.base import MadeTask, distinct_examples
from lrm_jax.data.tasks.countdown import Countdown
from lrm_jax.data.tasks.counting import Counting
from lrm_jax.data.tasks.draws import Draws, hash_words
from lrm_jax.data.tasks.maze_text import MazeText
from lrm_jax.data.tasks.registry import TASKS, TaskConfig, make_task
from lrm_jax.data.tasks.sudoku_text import SudokuText
from lrm_jax.types import UserError

MADE = [
    *(Addition(2, 3), Addition(1, 1), Counting(), Counting(letters=3, length=12)),
    *(Arithmetic(), Arithmetic(terms=6, largest=20)),
    *(Countdown(), Countdown(4, 25, 300, "+-*/", "some")),
    *(SudokuText(4), MazeText(5)),
]
SLOW = (SudokuText, MazeText)  # to draw


def _name(task: MadeTask) -> str:
    return repr(task)


@pytest.mark.parametrize("task", MADE, ids=_name)
def test_every_clean_solution_is_right(task):
    for index in range(20 if isinstance(task, SLOW) else 200):
        for split in ("train", "test"):
            example = task.example(3, index, split)
            verdict = task.verify(example.solution, example)
            assert verdict.status == "right", (example, verdict)
            assert verdict.strict == verdict.lenient == 1.0
            assert verdict.parts == {"format": 1.0, "thought": 1.0}


@pytest.mark.parametrize("task", MADE, ids=_name)
def test_an_example_is_a_pure_function(task):
    first = [task.example(5, i, "train") for i in range(20)]
    again = [task.example(5, i, "train") for i in reversed(range(20))]
    assert first == again[::-1]
    assert first != [task.example(6, i, "train") for i in range(20)]


@pytest.mark.parametrize("task", MADE, ids=_name)
def test_splits_share_no_prompt_over_any_seed(task):
    prompts = {
        split: {
            str(task.example(seed, i, split).prompt)
            for seed in range(4)
            for i in range(10 if isinstance(task, SLOW) else 300)
        }
        for split in ("train", "test")
    }
    assert not prompts["train"] & prompts["test"]


@pytest.mark.parametrize("task", MADE, ids=_name)
def test_texts_are_written_in_the_vocabulary(task):
    tokenizer = task.tokenizer()
    assert tokenizer is not None
    for index in range(50):
        example = task.example(0, index, "train")
        for text in (str(example.prompt), example.solution):
            assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("task", MADE, ids=_name)
def test_noise_changes_the_solution_only(task):
    noisy = type(task)(**{**vars(task), "noise": 1.0})
    for index in range(20):
        clean, wrong = task.example(0, index, "train"), noisy.example(0, index, "train")
        assert (clean.prompt, clean.answer) == (wrong.prompt, wrong.answer)
        assert clean.solution != wrong.solution


def test_addition_by_hand():
    task = Addition(2, 2)
    solved = task.write((47, 85), _no_slips())
    assert solved.prompt == "47+85="
    assert solved.thought == "7+5=12,4+8+1=13"
    assert solved.final == solved.answer == "132"
    assert Addition(1, 3).write((3, 904), _no_slips()).thought == (
        "3+4=7,0+0+0=0,0+9+0=9"
    )


def test_a_quickstart_thought_has_twelve_tokens():
    task = Addition(2, 2)
    tokenizer = task.tokenizer()
    assert tokenizer is not None
    assert 20 >= tokenizer.vocab_size - 1 >= 16
    for index in range(300):
        thought = task.example(0, index, "train").solution
        thought = thought.partition("<think>")[2].partition("</think>")[0]
        assert len(tokenizer.encode(thought)) >= 12


def test_addition_splits_do_not_tell_commuted_sums_apart():
    task = Addition(2, 2)
    for a in range(10, 100, 7):
        for b in range(10, 100, 3):
            assert task.split_of((a, b)) == task.split_of((b, a))


def test_a_thousand_unseen_additions_are_there():
    examples = distinct_examples(Addition(2, 2), 0, "test", 1000)
    assert len({str(e.prompt) for e in examples}) == 1000
    with pytest.raises(UserError, match="only .* of 200 different test problems"):
        distinct_examples(Addition(1, 1), 0, "test", 200)


def test_addition_noise_is_the_share_of_wrong_columns():
    task = Addition(3, 3, noise=0.2)
    count, right = 4000, 0
    for index in range(count):
        example = task.example(0, index, "train")
        right += task.verify(example.solution, example).strict
    # (1 - p)^3 and a few slips that leave digit and carry as they were.
    assert 0.8**3 - 0.02 < right / count < 0.8**3 + 0.03


def test_counting_by_hand():
    solved = Counting().write(("abcabd", "a"), _no_slips())
    assert solved.prompt == "abcabd:a="
    assert solved.thought == "a1b1c1a2b2d2"
    assert solved.final == solved.answer == "2"


def test_counting_noise_follows_the_binomial():
    task = Counting(letters=2, length=6, noise=0.1)
    count, right = 4000, 0
    expected = 0.0
    for index in range(count):
        example = task.example(1, index, "train")
        right += task.verify(example.solution, example).strict
        expected += _chance_of_balance(int(example.answer), 6, 0.1)
    assert abs(right - expected) / count < 0.025


def _chance_of_balance(hits: int, length: int, p: float) -> float:
    """As many letters missed as wrongly counted."""
    from math import comb

    def binomial(n: int, k: int) -> float:
        return comb(n, k) * p**k * (1 - p) ** (n - k)

    return sum(
        binomial(hits, k) * binomial(length - hits, k)
        for k in range(min(hits, length - hits) + 1)
    )


def _no_slips():
    from lrm_jax.data.tasks.base import Slips

    return Slips(0.0, Draws("none"))


def test_draws_are_fixed_for_ever():
    assert hash_words("a", 1) == 0xE8E0C32F7A4C0253
    draws = Draws("x", 0)
    assert [draws.below(1000) for _ in range(5)] == [90, 200, 221, 622, 234]
    assert hash_words("ab", "c") != hash_words("a", "bc")


def test_draws_are_even():
    draws = Draws("even")
    counts = [0] * 7
    for _ in range(7000):
        counts[draws.below(7)] += 1
    assert sum((c - 1000) ** 2 / 1000 for c in counts) < 22.5  # chi2, 6, p = 0.001
    assert {draws.other(0, 3, 2) for _ in range(200)} == {0, 1, 3}
    assert {draws.other(0, 3, 9) for _ in range(200)} == {0, 1, 2, 3}
    assert 0 <= draws.below(10**50) < 10**50


def test_tasks_by_name():
    task = make_task(TaskConfig(name="addition", max_digits=4, noise=0.5))
    assert task == Addition(2, 4, 0.5)
    for name in ("addition", "arithmetic", "countdown", "counting", "maze", "sudoku"):
        assert name in TASKS and make_task(TaskConfig(name=name)).name == name
    with pytest.raises(UserError, match="task.name='sums': accepted are addition"):
        make_task(TaskConfig(name="sums"))
    with pytest.raises(UserError, match="task.letters=3 has no meaning"):
        make_task(TaskConfig(name="addition", letters=3))
    with pytest.raises(UserError, match="task.min_digits=5, task.max_digits=3"):
        make_task(TaskConfig(name="addition", min_digits=5))
    with pytest.raises(UserError, match="task.noise=2"):
        Addition(noise=2.0)
