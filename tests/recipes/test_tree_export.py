# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from lrm_jax.data.jsonl import Columns, read_jsonl
from lrm_jax.evaluation.step_tree import write_trees
from lrm_jax.recipes.tree_export import KINDS, ExportConfig, export_trees, tree_rows
from lrm_jax.types import UserError
from tests.evaluation.trees import sum_tree

RIGHT = "12+30=42\n42+5=47\n=47"


def rows(kind, tree=None, **options):
    return list(tree_rows([tree or sum_tree()], kind, ExportConfig(**options)))


def test_fine_tuning_learns_right_paths_only():
    assert rows("sft") == [{"prompt": "12+30+5=", "solution": RIGHT, "answer": "47"}]


def test_wrong_paths_come_last_and_only_when_asked_for():
    found = rows("sft", wrong_paths=True)
    assert [r["solution"] for r in found] == [RIGHT, "12+30=42\n42+5=48\n"]


def test_a_text_that_two_nodes_wrote_is_learned_once():
    steps = ["", "a\n", "a\n", "b", "b", "b", "b"]
    found = rows("sft", sum_tree(steps=steps), wrong_paths=True)
    assert [r["solution"] for r in found] == ["a\nbb", "a\nb"]


def test_pairs_are_siblings_far_enough_apart_the_widest_first():
    found = rows("dpo")
    assert [(r["prompt"], r["chosen"], r["rejected"]) for r in found] == [
        ("12+30+5=12+30=42\n", "42+5=47\n", "42+5=48\n"),
        ("12+30+5=", "12+30=42\n", "12+30=43\n"),
    ]
    assert [round(r["margin"], 6) for r in found] == [0.95, 0.7]
    assert len(rows("dpo", margin=0.8)) == 1
    assert len(rows("dpo", per_tree=1)) == 1


def test_a_step_hardly_visited_is_no_comparison():
    tree = sum_tree(closed=[False] * 7)
    assert [r["chosen"] for r in rows("dpo", tree)] == ["12+30=42\n"]


def test_step_labels_are_values_and_stay_soft():
    assert rows("prm") == [
        {
            "prompt": "12+30+5=",
            "completions": ["12+30=42", "42+5=47", "=47"],
            "labels": [0.8, 0.95, 1.0],
        },
        {
            "prompt": "12+30+5=",
            "completions": ["12+30=42", "42+5=48"],
            "labels": [0.8, 0.0],
        },
    ]


def test_labels_end_where_visits_do():
    tree = sum_tree(closed=[False] * 7)
    found = rows("prm", tree)
    assert [r["labels"] for r in found] == [[0.8, 0.95], [0.8]]


def test_values_that_are_no_probabilities_are_no_labels():
    tree = sum_tree(rewards=[0.0] * 6 + [2.0])
    with pytest.raises(UserError, match="node 6 has value 2"):
        rows("prm", tree)


def test_value_targets_have_their_visits():
    found = rows("value")
    assert [(r["visits"], r["value"]) for r in found][:3] == [
        (5, 0.8),
        (3, 0.95),
        (2, 0.1),
    ]
    assert found[1]["completions"] == ["12+30=42", "42+5=47"]


def test_what_is_exported_is_what_fine_tuning_reads(tmp_path):
    src, dst = tmp_path / "trees.jsonl", tmp_path / "sft.jsonl"
    write_trees(src, [sum_tree(), sum_tree(right=[None] * 7)])
    said = export_trees("sft", src, dst)
    assert said == {"kind": "sft", "trees": 2, "rows": 1, "file": str(dst)}
    (row,) = read_jsonl(str(dst), Columns(), needs="completion")
    assert (row.prompt, row.solution) == ("12+30+5=", RIGHT)


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_kind_is_json_a_line(tmp_path, kind):
    src, dst = tmp_path / "trees.jsonl", tmp_path / "out.jsonl"
    write_trees(src, [sum_tree()])
    count = export_trees(kind, src, dst)["rows"]
    lines = dst.read_text().splitlines()
    assert len(lines) == count and all(json.loads(x)["prompt"] for x in lines)


def test_nothing_to_export_and_wrong_options_are_refused(tmp_path):
    src = tmp_path / "trees.jsonl"
    write_trees(src, [sum_tree(right=[None] * 7)])
    with pytest.raises(UserError, match="no row of kind sft"):
        export_trees("sft", src, tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()
    with pytest.raises(UserError, match="expected one of sft, dpo, prm, value"):
        rows("ppo")
    with pytest.raises(UserError, match="--min-visits 0: expected 1 or more"):
        ExportConfig(min_visits=0)
    with pytest.raises(UserError, match="--margin nan"):
        ExportConfig(margin=float("nan"))


def test_labels_need_verified_answers_or_a_word_for_it():
    tree = sum_tree(worth="score")
    with pytest.raises(UserError, match="by score; step labels need those of lrm"):
        rows("prm", tree)
    assert rows("prm", tree, scored=True) == rows("prm")
    assert rows("value", tree) == rows("value")


def test_steps_lose_the_separator_that_the_search_had():
    steps = [step.replace("\n", ",") for step in sum_tree().steps]
    tree = sum_tree(steps=steps, separator=",")
    assert rows("prm", tree)[0]["completions"] == ["12+30=42", "42+5=47", "=47"]
    kept = rows("prm", tree, separator="")[0]["completions"]
    assert kept == ["12+30=42,", "42+5=47,", "=47"]
