# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.evaluation.step_tree import StepTree, read_trees, step_tree, write_trees
from lrm_jax.search.tree import Tree
from lrm_jax.types import UserError
from tests.evaluation.trees import sum_tree


def arrays():
    """Two trees of four slots; in the second one slot 2 was never made."""
    column = lambda *rows: jnp.asarray(rows)
    parents = column([-1, 0, 0, 1], [-1, 0, -1, 1])
    logits = jnp.log(jnp.asarray([[0.75, 0.25], [0.5, 0.5]]))[:, None].repeat(4, 1)
    return Tree(
        parents=parents,
        actions=column([-1, 0, 1, 1], [-1, 1, -1, 0]),
        children=jnp.full((2, 4, 2), -1),
        prior_logits=logits,
        rewards=column([0.0, 0, 0, 1], [0.0, 0, 0, -1]),
        discounts=column([1.0, 1, 1, 0], [1.0, 0.5, 0, 0]),
        raw_values=jnp.zeros((2, 4)),
        values=column([0.5, 0.75, 0.25, 0], [0.25, 0.5, 9, 9]),
        visits=column([4, 2, 1, 1], [3, 2, 0, 1]),
        open_actions=column([1, 1, 2, 0], [1, 1, 0, 0]),
        proven=jnp.zeros((2, 4)),
        terminal=column([False, False, False, True], [False, False, False, True]),
        bad=jnp.zeros((2, 4), bool),
        keys=jax.vmap(jax.vmap(jax.random.key))(jnp.zeros((2, 4), jnp.uint32)),
        states=(),
    )


def read(lane, **options):
    return step_tree(
        arrays(), lane, prompt="p", step=lambda slot: f"<{slot}>", **options
    )


def test_a_tree_of_a_batch_keeps_what_was_made_and_closes_the_gaps():
    tree = read(1, answer=lambda slot: str(slot), right=lambda slot: slot == 3)
    assert tree.parents == [-1, 0, 1]
    assert tree.steps == ["", "<1>", "<3>"]
    assert tree.visits == [3, 2, 1]
    assert tree.answers == [None, None, "3"] and tree.right == [None, None, True]
    assert tree.qvalue(1) == 0.5 * 0.5 and tree.qvalue(2) == -1
    assert tree.closed == [False, False, True]


def test_priors_are_those_of_the_parents_actions():
    np.testing.assert_allclose(read(0).priors, [1, 0.75, 0.25, 0.25], rtol=1e-6)


def test_paths_and_texts():
    tree = sum_tree()
    assert tree.path(6) == [1, 3, 6] and tree.path(0) == []
    assert tree.text(6) == "12+30=42\n42+5=47\n=47"
    assert tree.children() == [[1, 2], [3, 4], [5], [6], [], [], []]


def test_a_file_of_trees_reads_back_the_same(tmp_path):
    trees = [sum_tree(), read(0, board=lambda slot: "12\u2028" + str(slot))]
    write_trees(tmp_path / "trees.jsonl", trees)
    assert list(read_trees(tmp_path / "trees.jsonl")) == trees
    assert [p.name for p in tmp_path.iterdir()] == ["trees.jsonl"]


def test_numbers_that_json_has_not_come_back_as_nan():
    back = StepTree.from_json(sum_tree(values=[math.inf, *[0.0] * 6]).to_json())
    assert math.isnan(back.values[0]) and back.values[1] == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d | {"version": 2}, "version 2; this release reads 1"),
        (lambda d: d | {"kind": "run"}, "not a search tree"),
        (lambda d: {k: v for k, v in d.items() if k != "gold"}, "missing ['gold']"),
        (lambda d: d | {"more": 1}, "unknown ['more']"),
        (lambda d: d | {"worth": "gut"}, "worth 'gut'"),
        (lambda d: d | {"visits": [1]}, "visits has 1 entries, parents 7"),
        (lambda d: d | {"visits": ["x"] * 7}, "invalid literal"),
        (lambda d: d | {"parents": [-1, 5, 0, 1, 1, 2, 3]}, "node 1 has parent 5"),
        (lambda d: d | {"parents": [0] * 7}, "node 0 must be the root"),
    ],
)
def test_what_is_no_tree_is_refused_with_its_line(tmp_path, change, says):
    path = tmp_path / "trees.jsonl"
    good = sum_tree().to_json()
    path.write_text(good + "\n" + json.dumps(change(json.loads(good))) + "\n")
    with pytest.raises(UserError) as caught:
        list(read_trees(path))
    assert says in str(caught.value)
    assert f"{path}:2" in str(caught.value)


def test_a_torn_line_and_a_missing_file_are_refused(tmp_path):
    (tmp_path / "torn").write_text(sum_tree().to_json()[:-9])
    for name in ("torn", "none"):
        with pytest.raises(UserError, match=name):
            list(read_trees(tmp_path / name))
