# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rollouts ahead of the updates: whose weights, in what order, over which devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from lrm_jax import sharding
from lrm_jax.config import apply_overrides
from lrm_jax.models.policy import token_policy
from lrm_jax.reasoning.token_budget import ThinkingTags, token_budgets
from lrm_jax.recipes import grpo
from lrm_jax.recipes.grpo_async import RolloutsAhead, WeightTransfer, rollout_mesh
from lrm_jax.recipes.grpo_build import build
from lrm_jax.recipes.grpo_config import trainer_devices
from lrm_jax.recipes.grpo_rollout import RolloutMaker, step_key
from lrm_jax.recipes.grpo_step import ROLLOUT, Drawn, Scores, make_rows
from lrm_jax.recipes.policy_build import state_shardings
from lrm_jax.recipes.policy_state import full_weights
from lrm_jax.training.checkpoint import list_steps
from lrm_jax.types import UserError
from tests.recipes import toy_rl_task
from tests.recipes.test_grpo import assert_same_end, records, tiny, train

Q, ITERATIONS, UPDATES = 4, 4, 2
MOVING = [  # gradients whatever the rewards are; old log-probs that are scored
    *("rl.minibatches=2", "rl.entropy.kind=bonus", "rl.entropy.coef=0.05"),
    *("optim.lr_warmup_steps=0", "optim.lr=0.01", "train.total_steps=8"),
]
STALE = "rl.rollout.max_staleness={}".format


NOTHING = Drawn(np.int32(0), None)


def built(*words):
    return build(grpo.resolve(tiny(*MOVING, *words), None, None))


def drive(run, iterations=ITERATIONS):
    """Yield the state's params and carry, and the metrics, after each iteration."""
    # Not around the yield: whoever asks would go on under this mesh.
    with sharding.use_mesh(run.mesh):
        state, step_fn = run.init_state(), run.dispatch()
    for i in range(iterations):
        with sharding.use_mesh(run.mesh):
            state, metrics = step_fn(state, i * UPDATES)
            done = jax.device_get((state.params, state.carry, metrics))
        yield done


class Replay:
    """The schedule by hand: no queue, no donation, one program for every staleness."""

    def __init__(self):
        self.run = built()
        run = self.run
        self.maker = RolloutMaker(run.config, run.source, run.sampler, run.rewarder)
        self.score, self.learn = jax.jit(run.step.score), jax.jit(run.step.learn)

    def __call__(self, staleness):
        run = self.run
        with sharding.use_mesh(run.mesh):
            state, began = run.init_state(), []
            for i in range(ITERATIONS):
                began.append(state.params)
                behind = max(0, i - staleness)
                rolled = self.maker(
                    full_weights(began[behind]),
                    step_key(state.key, behind * UPDATES, ROLLOUT),
                    cursor=i * Q,
                    step=behind * UPDATES,
                )
                scores = self.score(state.params, None, rolled.groups)
                drawn = Drawn(np.int32((i + 1) * Q), None)
                valid = np.ones(Q, bool)
                state, metrics = self.learn(state, rolled.groups, valid, scores, drawn)
                yield jax.device_get((state.params, rolled.groups, metrics))


@pytest.fixture(scope="module")
def replay():
    return Replay()


@pytest.mark.parametrize("staleness", [0, 1, 2])
def test_iteration_i_learns_from_weights_of_iteration_i_minus_s(
    staleness, replay, monkeypatch
):
    finished = []
    finish = RolloutMaker.finish

    def watched(self, started):
        rolled = finish(self, started)
        finished.append(rolled.groups)
        return rolled

    lags, moved = [], []
    by_hand = list(replay(staleness))
    monkeypatch.setattr(RolloutMaker, "finish", watched)
    for i, (params, carry, metrics) in enumerate(drive(built(STALE(staleness)))):
        expected, groups, at_hand = by_hand[i]
        jax.tree.map(np.testing.assert_array_equal, params, expected)
        jax.tree.map(np.testing.assert_array_equal, finished[i], groups)
        for name, pair in at_hand.items():
            np.testing.assert_array_equal(metrics[name], pair, err_msg=name)
        # First in, first out by prompt, whatever the lengths; nothing left out.
        np.testing.assert_array_equal(finished[i].number, i * Q + np.arange(Q))
        later = [int(flight.cursor) for flight in carry.ahead]
        assert later == [(i + 1 + j) * Q for j in range(staleness)]
        assert int(carry.cursor) == (i + 1 + staleness) * Q
        total, weight = metrics["sampling/weight_lag"]
        lags.append(float(total / weight))
        moved.append(float(metrics["sampling/logp_difference_max"][0]))
    assert lags == [UPDATES * min(i, staleness) for i in range(ITERATIONS)]
    assert all((lag > 0) == (gap > 1e-4) for lag, gap in zip(lags, moved, strict=True))
    lengths = np.stack([groups.mask.sum(-1) for groups in finished])
    assert lengths.min() < lengths.max()


def test_one_update_weighs_by_trainer_over_sampler(replay):
    """w = min(trainer / sampler, 2) and ratio 1, the trainer's being those of now."""
    *_, (params, _, _), (_, groups, _) = replay(2)
    step = built("rl.minibatches=1", "rl.correction.high=1.05", STALE(2)).step
    rows = make_rows(jax.tree.map(np.asarray, groups))
    now = np.asarray(jax.jit(step.read)(params["weights"], rows).logps)
    sampled = np.asarray(rows.sampled)
    log_w = (now - groups.logps.reshape(now.shape))[sampled]
    state = replay.run.init_state().replace(params=params)
    valid, learn = np.ones(Q, bool), jax.jit(step.learn)
    _, metrics = learn(state, groups, valid, Scores(), NOTHING)
    weight, ratio = (
        np.divide(*metrics[name]) for name in ("correction/weight_mean", "ratio/mean")
    )
    assert not step.scores_first and ratio == 1
    assert 0 < np.mean(log_w > np.log(1.05)) < 1
    np.testing.assert_allclose(
        weight, np.minimum(np.exp(log_w), 1.05).mean(), rtol=1e-5
    )


def test_a_policy_learns_from_old_rollouts():
    run = built(STALE(1), "rl.entropy.kind=none", "rl.entropy.coef=0")
    rewards = [np.divide(*m["reward/mean"]) for *_, m in drive(run, 40)]
    assert np.mean(rewards[:5]) < 0.2 and np.mean(rewards[-5:]) > 0.9


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    config = tiny(*MOVING, STALE(2), "checkpoint.every_steps=4", "eval.every_steps=4")
    folder = tmp_path_factory.mktemp("async") / "whole"
    return config, folder, train(config, folder)


def test_a_resumed_run_ends_with_the_same_bits_on_other_devices(whole, tmp_path):
    config, folder, result = whole
    assert result["reason"] == "done"
    shorter = apply_overrides(config, ["train.total_steps=4"])
    train(shorter, tmp_path / "run")
    apart = apply_overrides(config, ["grpo.rollout_devices=1"])
    assert grpo.run_id(apart) == grpo.run_id(config)
    assert train(apart, tmp_path / "run")["resumed_from"] == 4
    assert_same_end(folder, tmp_path / "run")


def test_another_staleness_is_another_run(whole, tmp_path):
    config, folder, _ = whole
    other = apply_overrides(config, [STALE(1)])
    assert grpo.run_id(other) != grpo.run_id(config)
    with pytest.raises(UserError, match="max_staleness"):
        train(other, folder)


def test_speeds_are_by_the_time_of_an_iteration(whole):
    logged = {name for record in records(whole[1]) for name in record}
    assert whole[2]["recompiles"] == 0
    assert {"perf/rollout_wait_s", "perf/iteration_s"} <= logged
    assert {"perf/rollout_tokens_per_s", "perf/train_tokens_per_s"} <= logged
    assert not {"perf/rollout_s", "perf/train_s"} & logged


def test_a_failing_reward_leaves_what_is_in_flight_saved(tmp_path, monkeypatch):
    config = tiny(
        *("task.name=tests.recipes.toy_rl_task:failing", *MOVING, STALE(1)),
        *("checkpoint.every_steps=0", "eval.every_steps=0"),
    )
    monkeypatch.setattr(toy_rl_task.Failing, "calls", 10)
    train(config, tmp_path / "whole")
    monkeypatch.setattr(toy_rl_task.Failing, "calls", 0)
    with pytest.raises(UserError, match="mine:reward"):
        train(config, tmp_path / "run")
    saved = list_steps(tmp_path / "run" / "checkpoints")
    assert [info.step for info in saved] == [2 * UPDATES]
    assert train(config, tmp_path / "run")["reason"] == "done"
    assert_same_end(tmp_path / "whole", tmp_path / "run")


def test_disjoint_devices_write_and_learn_the_same():
    words = ["mesh.data=4", STALE(1)]
    apart = built(*words, "grpo.rollout_devices=4")
    assert set(apart.mesh.devices.flat) == set(jax.devices()[:4])
    pairs = zip(drive(built(*words), 2), drive(apart, 2), strict=True)
    for (params, carry, _), (other, other_carry, _) in pairs:
        for here, there in zip(carry.ahead, other_carry.ahead, strict=True):
            np.testing.assert_array_equal(here.completions.ids, there.completions.ids)
        close = lambda x, y: np.testing.assert_allclose(x, y, rtol=0, atol=1e-6)
        jax.tree.map(close, params, other)


def test_fewer_prompts_than_parts_of_the_mesh_fly_without_filler():
    flights = []
    for words in ((), ("mesh.data=8",)):
        run = built(*words, STALE(1))
        maker = RolloutMaker(run.config, run.source, run.writer, run.rewarder)
        transfer = WeightTransfer(run.mesh, run.mesh)
        begin = RolloutsAhead(maker, transfer, ahead=1, count=Q)
        with sharding.use_mesh(run.mesh):
            _, (flight,), cursor = begin(run.init_state(), 0)
        assert cursor == 2 * Q
        flights.append(jax.device_get(flight.completions))
    rows = Q * run.config.rl.rollout.group_size
    assert [len(flight.ids) for flight in flights] == [rows, rows]
    np.testing.assert_array_equal(flights[0].ids, flights[1].ids)


def test_weights_reach_the_sampler_without_the_host(monkeypatch):
    config = grpo.resolve(tiny(), None, None)
    trainer = sharding.make_mesh(
        sharding.MeshConfig(data=1, fsdp=2, model=2), jax.devices()[:4]
    )
    sampler = rollout_mesh(trainer, 4)
    assert dict(sampler.shape) == {"data": 2, "fsdp": 1, "expert": 1, "model": 2}
    assert not set(sampler.devices.flat) & set(trainer.devices.flat)
    policy = token_policy(config.model)
    weights = policy.init(jax.random.key(0))
    expected = jax.device_get(weights)
    where = state_shardings(trainer, policy, {"weights": weights})["weights"]
    weights = jax.device_put(weights, where)
    key = jax.device_put(jax.random.key(1), NamedSharding(trainer, P()))
    specs = {x.sharding.spec for x in jax.tree.leaves(weights)}
    assert any("fsdp" in spec for spec in specs)

    split = next(x for x in jax.tree.leaves(weights) if "fsdp" in x.sharding.spec)

    def visited(array):
        raise AssertionError("visits the host")

    with monkeypatch.context() as patch:
        patch.setattr(type(split), "_value", property(visited))
        with pytest.raises(AssertionError, match="visits the host"):
            # Sampler's parts that are not the trainer's: what JAX does by itself.
            jax.device_put(split, NamedSharding(sampler, P()))
        moved, _ = WeightTransfer(trainer, sampler)(weights, key)
        jax.block_until_ready(moved)
    for leaf in jax.tree.leaves(moved):
        assert leaf.sharding.mesh == sampler
        assert "fsdp" not in leaf.sharding.spec
    assert any("model" in x.sharding.spec for x in jax.tree.leaves(moved))
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(moved), expected)


def test_the_search_for_tags_serves_one_mesh_after_another():
    tags, written = ThinkingTags((1,), (2,)), [b"a", b"<t>", b"</t>"]
    for first in (0, 4):
        mesh = sharding.make_mesh(sharding.MeshConfig(), jax.devices()[first:][:2])
        with sharding.use_mesh(mesh):
            found = token_budgets(["4"], tags, written, cap=8)
            jax.jit(lambda x: jax.tree.map(jnp.sum, x))(found)


REFUSED = {
    STALE(-1): "rollout.max_staleness=-1: expected 0 or more",
    f"{STALE(1)} rl.correction.kind=none": "stale_without_correction",
    f"{STALE(1)} rl.group_filter.kind=refill": "max_staleness=1: group_filter.kind",
    "grpo.rollout_devices=-1": "grpo.rollout_devices=-1: expected 0 or more",
    "grpo.rollout_devices=8": "leaves no device to train on, of 8",
    "grpo.rollout_devices=3": "divide rl.rollout.n_prompts=4",
    "grpo.rollout_devices=3 mesh.model=2": "multiple of the 2 devices",
    "grpo.rollout_devices=4 mesh.data=8": "data=8 x fsdp=1 x model=1 needs 8",
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_cannot_run_is_refused_in_one_line(words, tmp_path):
    with pytest.raises(UserError) as error:
        train(tiny(*words.split()), tmp_path / "run")
    assert REFUSED[words] in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_the_mesh_has_the_other_devices():
    config = tiny("grpo.rollout_devices=4", "mesh.data=-1")
    assert trainer_devices(config, 8) == 4
    assert trainer_devices(tiny("mesh.data=-1"), 8) == 8
