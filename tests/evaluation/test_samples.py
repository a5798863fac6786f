# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import json
import math

import pytest

from lrm_jax.evaluation.samples import read_samples, reason, regions
from tests.evaluation.written import line, two_steps, write_lines


def one(tmp_path, **changes):
    file = write_lines(tmp_path / "samples.jsonl", [line(**changes)])
    return read_samples(file).groups[0].samples[0]


def test_consecutive_lines_of_a_prompt_are_a_group(tmp_path):
    file = write_lines(tmp_path / "samples.jsonl", two_steps())
    found = read_samples(tmp_path)  # the folder, or the file
    assert found == read_samples(file)
    heads = [(g.step, g.split, g.prompt, len(g.samples)) for g in found.groups]
    assert heads == [
        (10, "train", "17+28=", 4),
        (20, "train", "9+9=", 2),
        (20, "eval", "5+4=", 1),
    ]
    assert (found.total, found.shown, found.unreadable) == (7, 7, 0)
    first, _, forced, untagged = found.groups[0].samples
    assert first.advantage == 0.75 and first.verdict == "right"
    assert [i for i, x in enumerate(forced.forced) if x] == [12, 13]
    assert untagged.verdict == "no_tag"
    assert found.groups[2].samples[0].advantage is None


def test_a_folder_without_the_file_has_none(tmp_path):
    assert read_samples(tmp_path).groups == []


def test_torn_and_foreign_lines_are_counted_and_left_out(tmp_path):
    file = write_lines(tmp_path / "samples.jsonl", [line(), line(advantage=-0.5)])
    with file.open("ab") as out:
        out.write(b'\n[1]\n{"step": "x"}\n\xff\xfe\n{"step": 10, "prompt": "17')
    found = read_samples(file)
    assert (found.total, found.unreadable) == (2, 4)


def test_a_step_written_again_after_a_crash_replaces_itself(tmp_path):
    again = [line(advantage=0.5), line(step=20), line(advantage=0.25)]
    found = read_samples(write_lines(tmp_path / "samples.jsonl", again))
    assert [(g.step, g.samples[0].advantage) for g in found.groups] == [
        (20, 0.5),
        (10, 0.25),
    ]


def test_bounds_leave_out_whole_groups_evenly(tmp_path):
    lines = [line(step=s) for s in range(101) for _ in range(2)]
    file = write_lines(tmp_path / "samples.jsonl", lines)
    found = read_samples(file, max_groups=5)
    assert [g.step for g in found.groups] == [0, 25, 50, 75, 100]
    assert (found.total, found.shown) == (202, 10)
    size = file.stat().st_size // 101
    few = read_samples(file, max_bytes=4 * size)
    assert 2 <= len(few.groups) <= 4
    assert (few.groups[0].step, few.groups[-1].step) == (0, 100)
    assert [g.step for g in read_samples(file, max_bytes=1).groups] == [100]


def test_missing_and_infinite_numbers(tmp_path):
    bad = line(logps=[-math.inf, math.nan], forced=[], reward=math.nan)
    file = tmp_path / "samples.jsonl"
    file.write_text(json.dumps(bad | {"parts": None, "verdict": None}) + "\n")
    (sample,) = read_samples(file).groups[0].samples
    assert len(sample.logps) == len(sample.forced) == len(sample.tokens)
    assert sample.logps[0] == -math.inf and math.isnan(sample.logps[-1])
    assert sample.verdict == "unknown" and math.isnan(sample.reward)


def test_messages_are_a_prompt(tmp_path):
    prompt = [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": ""}]
    file = write_lines(tmp_path / "samples.jsonl", [line(prompt=prompt)])
    assert read_samples(file).groups[0].prompt == "user: 1+1?\nassistant: "


@pytest.mark.parametrize(
    ("tokens", "prompt", "expected"),
    [
        (
            ["<think>", "1", "</think>", "<answer>", "2", "</answer>", "!"],
            "",
            "gtggago",
        ),
        # A tag of several tokens: each belongs to it.
        (["<", "think", ">", "1", "</", "think>", "7"], "", "gggtgga"),
        # Without answer tags what follows the thought is the answer.
        (["<think>", "1", "</think>", "so", "2"], "", "gtgaa"),
        # The prompt's end may have opened the thought, or closed it at once.
        (["1", "</think>", "2"], "Q\n<think>\n", "tga"),
        (["1", "2"], "Q<think></think>", "oo"),
        (["no", "tags"], "", "oo"),
        (["<think>", "", "never", ""], "", "gtto"),
        ([], "", ""),
    ],
)
def test_regions(tmp_path, tokens, prompt, expected):
    assert regions(one(tmp_path, tokens=tokens), prompt) == expected


def test_reasons_in_words(tmp_path):
    assert reason(one(tmp_path), "45") == "right: answered 45"
    assert reason(one(tmp_path, said="44"), "45") == "wrong: answered 44, not 45"
    assert reason(one(tmp_path, said="44"), "") == "wrong: answered 44"
    broken = one(tmp_path, status="no_tag", said="44")
    assert reason(broken, "45").startswith("the tags of thought and answer are missing")
    verdict = {"strict": 0.0, "lenient": 1.0, "status": "no_tag", "extracted": ""}
    lenient = one(tmp_path, verdict=verdict)
    assert reason(lenient, "45").endswith("; leniently read it scores 1")
    partial = {"strict": 0.5, "lenient": 0.5, "status": "right", "extracted": "45"}
    assert reason(one(tmp_path, verdict=partial), "45") == "scored 0.5: answered 45"
