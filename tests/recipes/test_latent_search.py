# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax import presets, sharding
from lrm_jax.config import replace
from lrm_jax.data import augment
from lrm_jax.data.pipeline import make_source
from lrm_jax.data.views import arc_view, maze_view, sudoku_view
from lrm_jax.evaluation.harness import gather
from lrm_jax.evaluation.judges import exact_match
from lrm_jax.models.latent import latent_core
from lrm_jax.reasoning.budget import lane_keys
from lrm_jax.reasoning.shards import on_parts, rows_spec
from lrm_jax.recipes.latent_search import search_run
from lrm_jax.recipes.latent_search_config import LatentSearchConfig
from lrm_jax.recipes.latent_search_pass import Views
from lrm_jax.recipes.latent_search_tree import TreePlan, node_bytes, run_trees
from lrm_jax.recipes.latent_search_tree import _batch as _tree_batch
from lrm_jax.recipes.run import Run
from lrm_jax.search.config import SearchConfig
from lrm_jax.search.latent_noise import NoiseConfig
from lrm_jax.search.latent_tree import LatentTree
from lrm_jax.search.mcts import search
from lrm_jax.types import UserError

TINY = {
    "data.train_size": 32, "data.test_size": 10, "model.d_model": 8, "model.n_heads": 2,
    "model.ff_multiple": 8, "model.l_layers": 1, "model.h_cycles": 1,
    "model.l_cycles": 1, "eval.batch_size": 8, "halting.max_steps": 4, "mesh.data": 1,
}  # fmt: skip
SMALL = {"k": 4, "budgets": (12,)}


@pytest.fixture(scope="module")
def config():
    return replace(presets.get("sudoku4_tiny"), TINY)


def run_of(config, kernel=0.05):
    """A run with random weights whose halting logits differ from cell to cell."""
    params = latent_core(config.model).init(jax.random.key(0))
    head = params["weights"]["q_head"]
    noise = jax.random.normal(jax.random.key(3), head["kernel"].shape)
    params["weights"]["q_head"] = {
        "kernel": kernel * noise, "bias": jnp.zeros_like(head["bias"]),
    }  # fmt: skip
    return Run(config, params, source=make_source(config.data))


@pytest.fixture(scope="module")
def run(config):
    return run_of(config)


@pytest.fixture(scope="module")
def found(run):
    return search_run(run, LatentSearchConfig(**SMALL))


def test_the_report_is_json_with_search_off_at_the_depth_and_at_all_segments(found):
    report = json.loads(json.dumps(found.report))
    assert report["n"] == 10
    shown = [(r["method"], r["budget"], r["depth"]) for r in report["results"]]
    assert shown[:2] == [("one_pass", 3, 3), ("one_pass", 12, 12)]
    assert {name for name, *_ in shown[2:]} == {
        "best_q", "mode", "weighted", "residual", "first_halt",
    }  # fmt: skip
    for row in report["results"]:
        assert row["unit"] == "segments" and row["tokens"] == 0
        assert row["ci95"][0] <= row["accuracy"] <= row["ci95"][1]
        assert row["time_s"] > 0


def test_equal_budgets_cost_equal_flops(found):
    rows = {(r.method, r.budget): r for r in found.rows}
    all_once, best = rows["one_pass", 12], rows["best_q", 12]
    readout = best.flops - all_once.flops  # 4 answers are read and not 1
    assert 0 < readout < 0.1 * best.flops
    segment = found.report["settings"]["segment_flops"]
    assert rows["one_pass", 12].flops - rows["one_pass", 3].flops == 9 * segment
    assert rows["first_halt", 12].extra["segments"] <= 12
    assert rows["first_halt", 12].extra["segments_run"] == 12
    assert "segments_run" not in rows["best_q", 12].extra


def test_one_clean_trajectory_is_one_pass_of_the_evaluation(run, found):
    rows = {(r.method, r.budget): r for r in found.rows}
    curve = run.evaluate(budgets=["3"], cap=12)
    assert curve["results"][0]["exact_accuracy"] == rows["one_pass", 3].accuracy
    quiet = LatentSearchConfig(
        methods=("best_q", "mode"), k=1, budgets=(3,), noise=NoiseConfig(0.0)
    )
    for row in search_run(run, quiet).rows:
        np.testing.assert_array_equal(row.scores, rows["one_pass", 3].scores)


def test_the_grid_holds_each_width_and_depth_of_the_pass(run, found):
    grid = {(g["k"], g["depth"]): g for g in found.report["grid"]}
    assert set(grid) == {(k, d) for k in (1, 2, 4) for d in (1, 2, 3)}
    rows = {r.method: r for r in found.rows}
    assert grid[4, 3]["mode"] == rows["mode"].accuracy
    assert grid[4, 3]["oracle"] == rows["mode"].extra["oracle_accuracy"]
    # The first trajectory is without noise: the plain reasoner at every depth.
    curve = run.evaluate(budgets=["3"], cap=3)["depth_curve"]
    for depth in (1, 2, 3):
        assert grid[1, depth]["best_q"] == curve[depth - 1]["exact_accuracy"]


def test_a_result_does_not_depend_on_the_lanes_or_the_rest_of_the_data(run, found):
    """Lanes a device stay 8: 4 trajectories of 2 problems."""
    some = dataclasses.replace(
        run.source, test=_first_rows(run.source.test, 3), test_ratings=None
    )
    alone = Run(run.config, run.params, source=some)
    few = search_run(alone, LatentSearchConfig(**SMALL))
    for row, whole in zip(few.rows, found.rows, strict=True):
        np.testing.assert_array_equal(row.scores, whole.scores[:3])


def _first_rows(table, count):
    return table._replace(
        inputs=table.inputs[:count],
        labels=table.labels[:count],
        puzzle_ids=table.puzzle_ids[:count],
        puzzle_starts=table.puzzle_starts[: count + 1],
        group_starts=table.group_starts[: count + 1],
    )


def test_eight_devices_find_what_one_finds(config, run, found):
    wide = Run(replace(config, {"mesh.data": 8}), run.params, source=run.source)
    assert wide.mesh.size == 8
    many = search_run(wide, LatentSearchConfig(**SMALL))
    for row, one in zip(many.rows, found.rows, strict=True):
        np.testing.assert_array_equal(row.scores, one.scores)
        assert row.extra["segments"] == one.extra["segments"]


def test_no_loop_sends_anything_between_devices(config, run):
    """By the compiled program of trees on 8 devices: no collective at all."""
    wide = Run(replace(config, {"mesh.data": 8}), run.params, source=run.source)
    plan = _tree_plan(run)
    arrays = {name: jnp.asarray(x) for name, x in run.source.test_set().items()}
    with sharding.use_mesh(wide.mesh):
        step = jax.jit(partial(_tree_batch, plan, batch=16))
        args = (wide.params, arrays, jax.random.key(0), jnp.int32(0))
        text = step.lower(*args).compile().as_text()
    assert "while" in text
    for word in ("all-reduce", "all-gather", "collective-permute", "all-to-all"):
        assert word not in text


@pytest.mark.nightly
def test_trees_are_equal_to_the_bit_on_eight_devices_and_in_other_company(config, run):
    """Lanes of a device stay 2, so matrices have one shape everywhere."""
    wide = Run(replace(config, {"mesh.data": 8}), run.params, source=run.source)
    plan = _tree_plan(run, simulations=8)

    def grown(params, mine):
        problem, keys = mine
        found = search(plan.model, params, problem, keys, plan.search)
        return found.tree._asdict()

    @partial(jax.jit, static_argnames="batch")
    def step(params, arrays, rows, *, batch):
        mine = (gather(arrays, rows), lane_keys(jax.random.key(0), rows))
        return on_parts(grown, params, mine, rows_spec(batch), rows_spec(batch))

    test = {name: jnp.asarray(x) for name, x in run.source.test_set().items()}
    with sharding.use_mesh(wide.mesh):
        many = step(wide.params, test, jnp.arange(16) % 10, batch=16)
    with sharding.use_mesh(run.mesh):
        for first, second in ((0, 1), (7, 7), (9, 3)):
            few = step(run.params, test, jnp.array([first, second]), batch=2)
            for row, number in enumerate((first, second)):
                same = lambda a, b, r=row, n=number: np.testing.assert_array_equal(
                    np.asarray(a)[n], np.asarray(b)[r]
                )
                jax.tree.map(same, many, few)


def test_trees_cost_a_segment_a_node(run):
    told = LatentSearchConfig(methods=("mcts",), k=2, budgets=(8,), actions=3)
    (row,) = [r for r in search_run(run, told).rows if r.method == "mcts"]
    assert 1 < row.extra["segments"] <= 8 and row.extra["max_depth"] == 4
    assert 1 <= row.extra["answer_depth"] <= 4
    assert row.accuracy <= row.extra["oracle_accuracy"]


def _tree_plan(run, **search):
    model = LatentTree(run.reasoner, 2, 3, NoiseConfig())
    config = SearchConfig(**{"simulations": 4} | search)
    return TreePlan(model, config, 2, "best", exact_match)


def test_trees_that_are_too_large_are_refused_with_what_fits(run):
    plan = _tree_plan(run, simulations=9, memory_limit_bytes=20_000)
    each = node_bytes(plan, run.params, 16)
    fits = 20_000 // (2 * each) - 1
    assert 0 < fits < 9
    with pytest.raises(UserError, match=f"largest that fits is {fits}"):
        run_trees(plan, run.params, run.source.test_set(), jax.random.key(0))


@pytest.mark.parametrize("view", [sudoku_view(4), maze_view(3)])
def test_views_keep_the_first_and_come_back(view):
    ids = np.random.default_rng(0).integers(1, view.vocab_size, (6, view.seq_len))
    ids = jnp.asarray(ids, jnp.int32)
    rows, number = jnp.array([0, 0, 0, 7, 7, 7]), jnp.array([0, 1, 2, 0, 1, 2])

    @jax.jit
    def there_and_back(ids):
        change = Views(view, seed=5).draw(rows, number)
        shown = augment.apply_change(jnp, change, ids)
        back = augment.invert_change(jnp, change)
        return shown, augment.apply_change(jnp, back, shown)

    shown, back = there_and_back(ids)
    np.testing.assert_array_equal(shown[0], ids[0])
    np.testing.assert_array_equal(shown[3], ids[3])
    if view.kind == "sudoku":
        assert (shown[1:3] != ids[1:3]).any(-1).all()
    np.testing.assert_array_equal(back, ids)


def test_views_vote_for_the_answer_to_the_problem_as_it_was_given(config, run):
    """A view's answer that was not taken back would be wrong by the judge."""
    source = run.source
    told = LatentSearchConfig(methods=("augment",), k=4, budgets=(8,))
    solver = Run(config, run.params, source=source, reasoner=_Lookup(source))
    (row,) = [r for r in search_run(solver, told).rows if r.method == "augment"]
    assert row.accuracy == 1.0 and row.n == 10 and row.extra["depth"] == 2


class _Lookup:
    """Solves 4x4 Sudokus by trying every cell's only possible digit, as it is shown."""

    def __init__(self, source):
        self.solve = _make_solver(source)

    def start(self, params, problem, keys):
        del params, keys
        return {"inputs": problem["inputs"]}

    def think(self, params, carry, keys):
        from lrm_jax.types import Signals

        del params, keys
        b = carry["inputs"].shape[0]
        return carry, Signals(jnp.zeros(b), jnp.full(b, 0.5), jnp.zeros(b, bool))

    def change(self, before, after):
        del after
        return jnp.zeros(before["inputs"].shape[0])

    def answer(self, params, carry):
        from lrm_jax.types import Answer

        del params
        ids = self.solve(carry["inputs"])
        return Answer(ids, jax.nn.one_hot(ids, 6), jnp.ones(ids.shape, bool))


def _make_solver(source):
    """All 288 grids of 4x4; the one that keeps the givens."""
    from itertools import permutations, product

    rows = list(permutations(range(2, 6)))
    grids = []
    for pick in product(rows, repeat=2):
        if any(len({*pick[0][c : c + 2], *pick[1][c : c + 2]}) < 4 for c in (0, 2)):
            continue
        for low in product(rows, repeat=2):
            grid = np.array([*pick, *low])
            columns = all(len(set(grid[:, c])) == 4 for c in range(4))
            boxes = all(len(set(grid[2:, c : c + 2].ravel())) == 4 for c in (0, 2))
            if columns and boxes:
                grids.append(grid.ravel())
    table = jnp.asarray(np.array(grids), jnp.int32)
    assert len(table) == 288

    def solve(inputs):
        given = inputs[:, None] > 1
        fits = (~given | (inputs[:, None] == table[None])).all(-1)
        return table[jnp.argmax(fits, axis=1)]

    return solve


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"methods": ("beam",)}, "method 'beam': not for a latent reasoner"),
        ({"methods": ("best-q",)}, "did you mean 'best_q'"),
        ({"k": 0}, "k=0: expected 1 or more"),
        ({"window": 0}, "window=0"),
        ({"tree": "alpha"}, "tree='alpha': accepted are puct, uct, gumbel"),
        ({"budgets": (3,)}, "budget 3: 3 segments for k=4 candidates"),
        ({"budgets": ("-1",)}, "budget '-1': search spends what it is given"),
        ({"budgets": ("8+halt",)}, "first_halt stops by itself"),
        ({"budgets": ("lots",)}, "budget 'lots'"),
    ],
)
def test_refuses(run, change, said):
    with pytest.raises(UserError, match=said):
        search_run(run, LatentSearchConfig(**{**SMALL, **change}))


def test_names_of_budgets_are_shares_of_all_trajectories_at_the_cap():
    told = LatentSearchConfig(budgets=("low", "high", 40), k=4)
    assert told.segments(cap=8) == [8, 32, 40]


def test_views_are_for_kinds_that_have_them():
    with pytest.raises(UserError, match="no change keeps a arc of 30x30"):
        Views(arc_view())


def test_a_halting_logit_that_is_no_number_is_named(config, run):
    weights = run.params["weights"]
    head = {**weights["q_head"], "bias": np.array([np.nan, 0], np.float32)}
    params = {**run.params, "weights": {**weights, "q_head": head}}
    broken = Run(config, params, source=run.source)
    with pytest.raises(UserError) as caught:
        search_run(broken, LatentSearchConfig(**SMALL))
    assert "problem 0: all 1 lanes are invalid" in str(caught.value)
    assert "lane 0 is not finite at segment 1" in str(caught.value)
    assert "\n" not in str(caught.value)
    tree = _tree_plan(run)
    with pytest.raises(UserError, match="problem 0: the halting logit of node 1 "):
        run_trees(tree, params, run.source.test_set(), jax.random.key(0))


def test_some_lanes_that_are_no_numbers_are_named_too(run):
    from lrm_jax.recipes.latent_search_pass import _check_finite

    _check_finite(np.full((3, 4), 5), 5)
    bad_at = np.full((3, 4), 5)
    bad_at[1, 2] = 3
    with pytest.raises(
        UserError, match="problem 1: 1 of 4 lanes .* lane 2 .* segment 4"
    ):
        _check_finite(bad_at, 5)
    bad_at[2] = [0, 1, 1, 0]
    with pytest.raises(UserError, match="problem 2: all 4 lanes .* 5 of 12 lanes"):
        _check_finite(bad_at, 5)


def test_run_search_takes_the_settings_and_other_data(run, tmp_path):
    file = tmp_path / "puzzles.csv"
    puzzle, answer = run.source.test.inputs[0], run.source.test.labels[0]
    line = lambda ids: "".join(str(max(int(i) - 1, 0)) for i in ids)
    file.write_text(f"question,answer\n{line(puzzle)},{line(answer)}\n")
    seen = []
    report = run.search(
        str(file), progress=lambda *told: seen.append(told), methods=("mode",), **SMALL
    )
    assert report["n"] == 1 and report["data"] == str(file) and report["step"] == 0
    assert [r["method"] for r in report["results"]] == ["one_pass", "one_pass", "mode"]
    assert seen[-1] == ("4 trajectories of 3", 1, 1)
