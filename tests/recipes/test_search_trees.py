# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Trees that lrm search writes: what stands in them is what the search did."""

import jax
import numpy as np
import pytest

from lrm_jax import presets
from lrm_jax.cli.main import main
from lrm_jax.config import replace
from lrm_jax.data.step_files import read_steps
from lrm_jax.data.tasks.registry import TaskConfig, make_task
from lrm_jax.evaluation.step_tree import read_trees, write_trees
from lrm_jax.models.latent import latent_core
from lrm_jax.models.policy import token_policy
from lrm_jax.models.policy_config import PolicyConfig
from lrm_jax.recipes.latent_build import make_source
from lrm_jax.recipes.run import Run
from lrm_jax.recipes.token_run import TokenRun
from lrm_jax.recipes.token_search import TokenSearchConfig
from lrm_jax.recipes.token_search_run import open_bench
from lrm_jax.recipes.token_search_vote import verdicts
from lrm_jax.steps import StepRule, tokenize_steps
from lrm_jax.types import UserError
from tests.evaluation.trees import sum_tree

LATENT = {
    "data.train_size": 32, "data.test_size": 3, "model.d_model": 8, "model.n_heads": 2,
    "model.ff_multiple": 8, "model.l_layers": 1, "model.h_cycles": 1,
    "model.l_cycles": 1, "eval.batch_size": 2, "halting.max_steps": 4, "mesh.data": 1,
}  # fmt: skip
TEXT = {"k": 3, "budgets": (6,), "max_depth": 3, "max_new": 12, "step_tokens": 6}


@pytest.fixture(scope="module")
def latent():
    config = replace(presets.get("sudoku4_tiny"), LATENT)
    params = latent_core(config.model).init(jax.random.key(0))
    return Run(config, params, source=make_source(config.data))


@pytest.fixture(scope="module")
def policy():
    model = PolicyConfig(
        vocab_size=19, d_model=16, n_layers=1, n_heads=2, d_ff=16, max_seq_len=48
    )
    config = replace(presets.get("sft_addition_cold"), {"data.test_size": 5})
    config = replace(config, {"model": model})
    weights = jax.jit(token_policy(model).init)(jax.random.key(0))
    return TokenRun(config, weights)


@pytest.fixture(scope="module")
def boards(latent, tmp_path_factory):
    path = tmp_path_factory.mktemp("latent") / "trees.jsonl"
    said = latent.search(methods=("mcts",), k=2, budgets=(6,), trees=str(path))
    return said, path, list(read_trees(path))


def test_a_latent_tree_has_a_board_at_every_node(boards, latent):
    said, path, trees = boards
    page = path.with_suffix(".html")
    assert said["trees"] == [str(path), str(page)]
    assert 'class="trees"' in page.read_text(encoding="utf-8")
    view = latent.source.view
    test_set = latent.source.test_set()
    assert len(trees) == 3
    for tree, inputs, labels in zip(
        trees, test_set["inputs"], test_set["labels"], strict=True
    ):
        assert tree.prompt == view.render(inputs)
        assert tree.gold == view.render(labels)
        assert {len(board) for board in tree.boards} == {16}
        assert tree.boards[0] == tree.prompt
        assert tree.steps[0] == "" and tree.steps[1].startswith("noise ")
        for node, end in enumerate(tree.terminal):
            assert (tree.answers[node] == tree.boards[node]) == end
            assert tree.right[node] == (
                (tree.answers[node] == tree.gold) if end else None
            )


def test_what_the_tree_spent_is_what_the_row_says(boards):
    said, _, trees = boards
    (row,) = [r for r in said["results"] if r["method"] == "mcts"]
    made = np.mean([len(tree) - 1 for tree in trees])
    assert 1 <= made <= row["segments"]
    assert [tree.visits[0] for tree in trees] == [
        1 + sum(tree.visits[i] for i in tree.children()[0]) for tree in trees
    ]


def test_a_written_tree_holds_the_texts_that_were_judged(policy, tmp_path):
    path = tmp_path / "trees.jsonl"
    policy.search(methods=("mcts",), trees=str(path), batch=3, **TEXT)
    trees = list(read_trees(path))
    examples = policy.source.test
    assert [tree.prompt for tree in trees] == [e.prompt for e in examples]
    assert [tree.gold for tree in trees] == [e.answer for e in examples]
    assert trees[0].method == "puct, 6 simulations, k 3"
    for tree, example in zip(trees, examples, strict=True):
        for node in range(1, len(tree)):
            if tree.answers[node] is None and tree.right[node] is None:
                continue
            (judged,) = policy.source.judge([tree.text(node)], [example])
            assert tree.terminal[node]
            assert tree.right[node] == (judged.strict >= 1)


def test_finished_nodes_are_the_solutions_that_were_visited(policy):
    settings = TokenSearchConfig(methods=("mcts",), **TEXT)
    bench = open_bench(policy, settings, None)
    found = bench.search("mcts", 6, 0)
    kept = TokenSearchConfig(methods=("mcts",), trees="kept.jsonl", **TEXT)
    keeping = open_bench(policy, kept, None)
    again = keeping.search("mcts", 6, 0)
    assert again.solutions == found.solutions
    trees = keeping.trees[6, 0]
    said = verdicts(bench, found)
    ended = 0
    for tree, solutions, right in zip(trees, found.solutions, said.right, strict=True):
        visited = [
            (one.visits, bool(r))
            for one, r in zip(solutions, right, strict=True)
            if one.visits
        ]
        nodes = [i for i in range(1, len(tree)) if tree.right[i] is not None]
        assert sorted(visited) == sorted((tree.visits[i], tree.right[i]) for i in nodes)
        ended += len(nodes)
    assert ended, "no tree has a finished solution: the test shows nothing"


def test_trees_without_mcts_are_refused(policy, latent):
    for run in (policy, latent):
        with pytest.raises(UserError, match="only the method mcts grows trees"):
            run.search(methods=("one_pass",), trees="x.jsonl")


def test_lrm_data_trees_reads_what_lrm_search_writes(boards, tmp_path, capfd):
    _, path, trees = boards
    out = tmp_path / "value.jsonl"
    words = ["data", "trees", "value", str(path), str(out), "--min-visits", "1"]
    assert main(words) == 0
    nodes = sum(len(tree) - 1 for tree in trees)
    assert len(out.read_text(encoding="utf-8").splitlines()) == nodes
    assert f"{nodes} rows of 3 trees" in capfd.readouterr().out


def test_verified_trees_say_so_and_reward_what_is_right(policy, tmp_path):
    path = tmp_path / "trees.jsonl"
    policy.search(
        methods=("mcts",), outcome="gold", split="train", n=3, trees=str(path), **TEXT
    )
    trees = list(read_trees(path))
    assert [tree.worth for tree in trees] == ["gold"] * 3
    assert [tree.separator for tree in trees] == [","] * 3
    assert [tree.prompt for tree in trees] == [
        policy.source.train_example(i).prompt for i in range(3)
    ]
    ends = [(t, i) for t in trees for i, r in enumerate(t.right) if r is not None]
    assert ends
    for tree, node in ends:
        assert tree.rewards[node] == float(tree.right[node])


def test_labels_of_a_tree_are_read_as_steps(policy, tmp_path):
    """What is exported has no separator inside a step: a reward model learns it."""
    path, out = tmp_path / "trees.jsonl", tmp_path / "labels.jsonl"
    steps = [step.replace("\n", ",") for step in sum_tree().steps]
    write_trees(path, [sum_tree(steps=steps, separator=",")])
    assert main(["data", "trees", "prm", str(path), str(out)]) == 0
    tokenizer = make_task(TaskConfig(name="arithmetic")).tokenizer()
    rule = StepRule(",", last="text")
    for record in read_steps(out)[0]:
        found = tokenize_steps(tokenizer.encode, record.prompt, record.steps, rule)
        assert len(found.ends) == len(record.labels) > 1


def test_trees_that_cannot_be_kept_or_do_not_fit_are_refused(policy, latent, tmp_path):
    for run in (policy, latent):
        with pytest.raises(UserError, match="is no folder"):
            run.search(methods=("mcts",), trees=str(tmp_path / "none" / "x.jsonl"))
    with pytest.raises(UserError, match="memory_limit_bytes"):
        policy.search(methods=("mcts",), memory_gib=1e-6, **TEXT)
    with pytest.raises(UserError, match="say how many"):
        policy.search(methods=("one_pass",), split="train")
