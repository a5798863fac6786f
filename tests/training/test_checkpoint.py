# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import os
import random
import shutil
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from lrm_jax.training import loading, manifest
from lrm_jax.training.checkpoint import CheckpointConfig, Checkpointer, list_steps
from lrm_jax.training.optim import OptimConfig, init_ema, make_optimizer
from lrm_jax.training.state import make_state
from lrm_jax.types import UserError


def small_state(seed=0, kind="muon"):
    keys = jax.random.split(jax.random.key(seed), 3)
    weights = {
        "mlp": {"kernel": jax.random.normal(keys[0], (8, 4))},
        "head": {"bias": jax.random.normal(keys[1], (4,)).astype(jnp.bfloat16)},
    }
    params = {"weights": weights, "puzzle_table": jax.random.normal(keys[2], (5, 3))}
    return make_state(
        params,
        make_optimizer(OptimConfig(kind=kind), 10).init(weights),
        jax.random.key(seed + 100),
        ema=init_ema(weights),
        carry={"halted": jnp.asarray([True, False]), "lane_keys": lane_keys(seed)},
    )


def lane_keys(seed):
    return jax.random.split(jax.random.key(seed + 7), 2)


def plain(tree):
    """Numpy copies, keys as their data."""
    data = lambda x: (
        jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
    )
    return jax.tree.map(lambda x: np.array(data(x), copy=True), tree)


def abstract_of(tree):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)


@pytest.mark.parametrize("kind", ["adam_atan2", "adamw", "muon"])
def test_state_round_trips_bit_for_bit(tmp_path, kind):
    saver = Checkpointer(tmp_path / "ck")
    state = small_state(kind=kind).replace(step=jnp.asarray(7, jnp.int32))
    saver.save(7, state, {"best": 0.1 + 0.2, "cursor": {"epoch": 3}}, metric=0.5)
    saver.wait()
    restored, extra, step = Checkpointer(tmp_path / "ck").restore(abstract_of(state))
    assert step == 7 and extra == {"best": 0.1 + 0.2, "cursor": {"epoch": 3}}
    chex.assert_trees_all_equal_shapes_and_dtypes(restored, state)
    chex.assert_trees_all_equal(plain(restored), plain(state))
    assert jax.random.key_impl(restored.key) == jax.random.key_impl(state.key)


def test_training_may_donate_the_state_while_it_is_saved(tmp_path):
    advance = jax.jit(lambda s: jax.tree.map(lambda x: x * 2 + 1, s), donate_argnums=0)
    saver = Checkpointer(tmp_path, CheckpointConfig(keep=4))
    state = {"w": jnp.arange(1 << 20, dtype=jnp.float32)}
    wanted = {}
    for step in range(4):
        wanted[step] = plain(state)
        saver.save(step, state)
        for _ in range(3):
            state = advance(state)
    saver.wait()
    for step, want in wanted.items():
        got, _, _ = saver.restore(abstract_of(state), step)
        chex.assert_trees_all_equal(plain(got), want)


def test_restores_onto_another_mesh(tmp_path):
    state = {"w": jnp.arange(64.0).reshape(16, 4), "b": jnp.ones(4)}
    saver = Checkpointer(tmp_path)

    def placed(n, spec):
        mesh = jax.make_mesh(
            (n,), ("d",), axis_types=(AxisType.Auto,), devices=jax.devices()[:n]
        )
        return {
            "w": NamedSharding(mesh, spec),
            "b": NamedSharding(mesh, PartitionSpec()),
        }

    saver.save(1, jax.device_put(state, placed(8, PartitionSpec("d"))))
    saver.wait()
    for n, spec in [(2, PartitionSpec("d")), (4, PartitionSpec(None, "d"))]:
        target = jax.tree.map(
            lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
            state,
            placed(n, spec),
        )
        got, _, _ = saver.restore(target)
        chex.assert_trees_all_equal(plain(got), plain(state))
        assert got["w"].sharding == target["w"].sharding


def test_keeps_the_newest_and_the_best(tmp_path):
    saver = Checkpointer(tmp_path, CheckpointConfig(keep=2))
    metrics = {1: 0.2, 2: 0.9, 3: None, 4: 0.9, 5: 0.1, 6: float("nan")}
    for step, metric in metrics.items():
        saver.save(step, {"w": jnp.full(3, step)}, metric=metric)
    saver.wait()
    infos = saver.list_steps()
    assert [i.step for i in infos] == [2, 5, 6]
    assert [i.best for i in infos] == [True, False, False]
    assert all(i.complete and i.bytes > 0 and i.time > 0 for i in infos)


def test_the_best_may_be_the_least(tmp_path):
    cfg = CheckpointConfig(keep=1, best_metric="loss/total", best_mode="min")
    # What another metric said of step 1 does not count.
    saver = Checkpointer(tmp_path, CheckpointConfig(keep=1))
    saver.save(1, {"w": jnp.ones(3)}, metric=-9.0)
    saver.wait()
    saver = Checkpointer(tmp_path, cfg)
    for step, metric in {2: 0.5, 3: 0.2, 4: 0.7}.items():
        saver.save(step, {"w": jnp.full(3, step)}, metric=metric)
    saver.wait()
    assert [(i.step, i.best) for i in list_steps(tmp_path)] == [(3, True), (4, False)]


def flip_bit(path: Path, bit: int):
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << (bit % 8)
    path.write_bytes(data)


def test_every_flipped_bit_and_truncation_is_found(tmp_path, capsys):
    saver = Checkpointer(tmp_path / "ck")
    state = small_state()
    saver.save(1, state)
    saver.save(2, state)
    saver.wait()
    folder = tmp_path / "ck" / "2"
    shutil.copytree(folder, tmp_path / "good")
    files = [p for p in sorted(folder.rglob("*")) if p.is_file()]
    assert {"manifest.json", "extra.json"} < {p.name for p in files}
    rng = random.Random(0)
    for trial in range(40):
        path = files[trial % len(files)]
        if trial % 4 == 3:
            os.truncate(path, rng.randrange(path.stat().st_size))
        else:
            flip_bit(path, rng.randrange(8 * path.stat().st_size))
        assert len(saver.verify(2)) == 1, path
        if trial < 4:
            _, _, step = Checkpointer(tmp_path / "ck").restore(abstract_of(state))
            assert step == 1
            (line,) = capsys.readouterr().err.splitlines()
            assert "checkpoint 2 cannot be used" in line
        shutil.rmtree(folder)
        shutil.copytree(tmp_path / "good", folder)
    assert saver.verify(2) == []


def test_manifest_seal_covers_white_space(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    manifest.write(tmp_path, {"format": 1})
    path = tmp_path / "manifest.json"
    assert manifest.problems(tmp_path) == []
    text = path.read_text()
    path.write_text(text.replace("\n ", "\n\t", 1))
    assert manifest.problems(tmp_path) == ["manifest.json is damaged"]
    path.write_text("{}")
    assert "not one of this program's" in manifest.problems(tmp_path)[0]


def test_half_written_step_is_passed_and_later_replaced(tmp_path):
    lines = []
    saver = Checkpointer(tmp_path, report=lines.append)
    state = {"w": jnp.arange(3.0)}
    saver.save(1, state)
    saver.save(2, {"w": jnp.arange(3.0) + 1})
    saver.wait()
    (tmp_path / "2" / "manifest.json").unlink()
    saver = Checkpointer(tmp_path, report=lines.append)
    assert saver.restore(abstract_of(state))[2] == 1
    assert lines == [
        "checkpoint 2 cannot be used: half-written: it has no manifest;"
        " trying the one before"
    ]
    assert [i.complete for i in saver.list_steps()] == [True, False]
    saver.save(2, {"w": jnp.arange(3.0) + 5})
    saver.wait()
    got, _, step = saver.restore(abstract_of(state))
    assert step == 2 and got["w"][0] == 5


def test_damaged_step_does_not_count_as_kept(tmp_path):
    state = {"w": jnp.arange(3.0)}
    saver = Checkpointer(tmp_path, CheckpointConfig(keep=1))
    saver.save(1, state)
    saver.wait()
    shutil.copytree(tmp_path / "1", tmp_path / "2")
    flip_bit(tmp_path / "2" / "extra.json", 3)
    saver = Checkpointer(tmp_path, CheckpointConfig(keep=1), report=lambda line: None)
    assert saver.restore(abstract_of(state))[2] == 1
    saver.save(2, {"w": jnp.arange(3.0) + 1})  # replaces the damaged one
    saver.wait()
    assert saver.verify(2) == [] and saver.restore(abstract_of(state))[2] == 2


def test_nothing_to_restore(tmp_path):
    with pytest.raises(FileNotFoundError):
        Checkpointer(tmp_path / "none").restore({})
    saver = Checkpointer(tmp_path, report=lambda line: None)
    saver.save(1, {"w": jnp.ones(2)})
    saver.wait()
    flip_bit(tmp_path / "1" / "extra.json", 0)
    with pytest.raises(UserError, match="can be used"):
        saver.restore({"w": jnp.ones(2)})


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda t: {**t, "w": jnp.ones((2, 4))}, r"'w' is float32\[2, 3\].*\[2, 4\]"),
        (lambda t: {**t, "w": jnp.ones((2, 3), jnp.int32)}, "'w' is float32.*int32"),
        (lambda t: {**t, "v": jnp.ones(1)}, "has no 'v'"),
        (lambda t: {"w": t["w"]}, "holds 'layers/0', for which there is no place"),
    ],
)
def test_mismatching_leaf_is_named(tmp_path, spoil, words):
    state = {"w": jnp.ones((2, 3)), "layers": [jnp.ones(1)]}
    saver = Checkpointer(tmp_path)
    saver.save(1, state)
    saver.wait()
    with pytest.raises(UserError, match=words) as error:
        saver.restore(spoil(state))
    assert "\n" not in str(error.value)


def test_five_mismatching_leaves_are_named(tmp_path):
    state = {f"w{i}": jnp.ones(i + 1) for i in range(7)}
    saver = Checkpointer(tmp_path)
    saver.save(1, state)
    saver.wait()
    with pytest.raises(UserError) as error:
        saver.restore({name: jnp.ones(9) for name in state})
    one = lambda i: f"'w{i}' is float32[{i + 1}] there and float32[9] in this run"
    named = "; ".join(map(one, range(5)))
    assert str(error.value) == f"checkpoint {tmp_path / '1'}: {named} and 2 more"


def test_parameters_alone_are_no_training_state(tmp_path):
    state = small_state()
    loading.write_params(tmp_path, plain(state.params), extra={"from": "here"})
    saver = Checkpointer(tmp_path / "checkpoints")
    with pytest.raises(UserError, match="kind 'params'.*--init-from"):
        saver.restore(abstract_of(state))
    loaded = loading.load_params(tmp_path)
    chex.assert_trees_all_equal(plain(loaded.params), plain(state.params))
    assert loaded.ema is None and loaded.extra == {"from": "here"}


def test_load_params_by_step_latest_and_best(tmp_path):
    saver = Checkpointer(tmp_path / "checkpoints", CheckpointConfig(keep=9))
    states = {step: small_state(step) for step in (3, 5, 8)}
    for step, metric in ((3, 0.1), (5, 0.7), (8, 0.6)):
        saver.save(step, states[step], {"n": step}, metric=metric)
    saver.wait()
    for which, step in ((3, 3), ("best", 5), ("latest", 8)):
        loaded = loading.load_params(tmp_path, which)
        assert loaded.step == step and loaded.extra == {"n": step}
        chex.assert_trees_all_equal(plain(loaded.params), plain(states[step].params))
        chex.assert_trees_all_equal(plain(loaded.ema), plain(states[step].ema))
        want = manifest.source_hash(tmp_path / "checkpoints" / str(step))
        assert loaded.source_hash == want and len(want) == 64
    with pytest.raises(UserError, match="no checkpoint 4; there are: 3, 5, 8"):
        loading.load_params(tmp_path, 4)
    wider = {**states[3].params, "puzzle_table": jnp.ones((5, 9))}
    with pytest.raises(UserError, match="'params/puzzle_table' is.*5, 3.*5, 9"):
        loading.load_params(tmp_path, abstract=wider)
    with pytest.raises(UserError, match="not a run folder"):
        loading.load_params(tmp_path / "checkpoints")


def test_pickled_code_is_refused_and_never_run(tmp_path):
    import pickle

    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "exploded"),))

    folder = tmp_path / "checkpoints" / "1"
    folder.mkdir(parents=True)
    for name in ("manifest.json", "checkpoint", "extra.json"):
        (folder / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UserError, match=r"manifest.json is damaged"):
        loading.load_params(tmp_path, 1)
    with pytest.raises(UserError):
        loading.load_params(tmp_path)
    assert not (tmp_path / "exploded").exists()


def test_sources_are_parsed():
    assert loading.parse_source("runs/a") == ("runs/a", "latest")
    assert loading.parse_source("runs/a@best") == ("runs/a", "best")
    assert loading.parse_source("runs/a@120") == ("runs/a", 120)
    with pytest.raises(UserError, match="'newest' is not a step"):
        loading.parse_source("runs/a@newest")


def test_unwritable_folder_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    saver = Checkpointer(tmp_path / "file")
    with pytest.raises(UserError, match="checkpoint 1 could not be written"):
        saver.save(1, {"w": jnp.ones(2)})


def test_extra_must_be_json(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        Checkpointer(tmp_path).save(1, {"w": jnp.ones(2)}, {"x": float("nan")})


@pytest.mark.parametrize(
    ("field", "value"), [("keep", 0), ("every_s", -1.0), ("best_mode", "most")]
)
def test_bad_config_is_refused_by_name(field, value):
    with pytest.raises(UserError, match=f"checkpoint.{field}"):
        CheckpointConfig(**{field: value})
