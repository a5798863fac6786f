# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
from lrm_jax.evaluation.completions_text import draw_completion, draw_group
from lrm_jax.evaluation.samples import read_samples
from tests.evaluation.written import line, two_steps, write_lines


def groups(tmp_path, lines):
    return read_samples(write_lines(tmp_path / "samples.jsonl", lines)).groups


def test_a_group_without_colour(tmp_path):
    text = draw_group(groups(tmp_path, two_steps())[0])
    assert text.splitlines()[:4] == [
        "step 10, train: 17+28=  (answer 45)",
        "",
        "+ right: answered 45  advantage +0.75  reward 1  20 tokens",
        "<think>7+8=15,1+2+1=4</think><answer>45</answer><eos>",
    ]
    assert "- wrong: answered 35, not 45  advantage -0.25  reward 0" in text


def test_only_so_many(tmp_path):
    text = draw_group(groups(tmp_path, two_steps())[0], most=1)
    assert text.endswith("<eos>\n\n(3 more)") and "35" not in text


def test_colours_tell_parts_doubt_and_forced_tokens_apart(tmp_path):
    one = line(
        tokens=["<think>", "a", "b", "</think>", "7", "8"],
        logps=[0.0, -0.1, -2.0, -9.0, -0.1, 0.0],
    ) | {"forced": [i == 3 for i in range(6)]}
    (group,) = groups(tmp_path, [one])
    assert draw_completion(group.samples[0], color=True) == (
        "\x1b[2m<think>\x1b[0m"
        "a"
        "\x1b[4mb\x1b[0m"
        "\x1b[2m\x1b[7m</think>\x1b[0m"
        "\x1b[1m78\x1b[0m"
    )
    assert "advantage" not in draw_group(groups(tmp_path, [line(advantage=None)])[0])


def test_a_terminal_obeys_no_completion(tmp_path):
    (group,) = groups(tmp_path, [line(prompt="\x1b[2J", tokens=["\x1b]0;owned\x07\n"])])
    assert draw_completion(group.samples[0]) == "\ufffd]0;owned\ufffd\n"
    assert "\x1b[2J" not in draw_group(group, color=True)
