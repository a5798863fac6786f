# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A damaged checkpoint is found, named and passed; the one before loses nothing."""

import os
import random
import shutil

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax.cli.main import main
from lrm_jax.training import loop
from lrm_jax.training.checkpoint import CheckpointConfig, Checkpointer
from lrm_jax.training.optim import OptimConfig
from tests.training import toy
from tests.training.chaos_resume import compare


def damage(path, rng):
    """Flip one bit of a file, or cut its end off; return what was done."""
    size = path.stat().st_size
    if rng.random() < 0.3:
        left = rng.randrange(size)
        os.truncate(path, left)
        return f"{path.name} cut to {left} of {size}"
    bit, data = rng.randrange(8 * size), bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << (bit % 8)
    path.write_bytes(data)
    return f"bit {bit} of {path.name} flipped"


def content(folder):
    return {p.relative_to(folder): p.read_bytes() for p in files_of(folder)}


def files_of(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def state_of(seed):
    keys = jax.random.split(jax.random.key(seed))
    return {"w": jax.random.normal(keys[0], (16, 8)), "key": keys[1]}


def test_twenty_of_twenty_are_found_and_the_one_before_is_restored(tmp_path):
    saver = Checkpointer(tmp_path / "ck")
    for step in (1, 2):
        saver.save(step, state_of(step), {"n": step})
    saver.wait()
    good, folder = tmp_path / "good", tmp_path / "ck" / "2"
    shutil.copytree(folder, good)
    names = {path.name for path in files_of(folder)}
    assert {"manifest.json", "extra.json", "_METADATA", "manifest.ocdbt"} <= names
    rng, want = random.Random(1), state_of(1)
    for trial in range(20):
        files = files_of(folder)
        done = damage(files[trial % len(files)], rng)
        damaged, lines = content(tmp_path / "ck"), []
        assert len(saver.verify(2)) == 1, done
        reader = Checkpointer(tmp_path / "ck", report=lines.append)
        got, extra, step = reader.restore(jax.eval_shape(lambda: want))
        assert (step, extra) == (1, {"n": 1}), done
        np.testing.assert_array_equal(got["w"], want["w"])
        assert jnp.array_equal(*map(jax.random.key_data, (got["key"], want["key"])))
        assert len(lines) == 1 and lines[0].startswith("checkpoint 2 cannot be used: ")
        assert lines[0].endswith("; trying the one before")
        assert content(tmp_path / "ck") == damaged, "a restore changed something"
        shutil.rmtree(folder)
        shutil.copytree(good, folder)
    assert saver.verify(2) == []


def train(run_dir):
    return toy.train(
        run_dir,
        loop.TrainConfig(total_steps=20, batch_size=toy.LANES, log_every=7),
        OptimConfig(lr=1e-3, lr_warmup_steps=5, lr_min_ratio=0.1),
        CheckpointConfig(every_steps=5, keep=2),
        eval_every=15,
    )


def test_a_run_whose_newest_checkpoint_is_damaged_ends_with_the_same_bits(
    tmp_path, capsys
):
    train(tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "damaged")
    state = tmp_path / "damaged" / "checkpoints" / "20" / "state"
    damage(max(files_of(state), key=lambda path: path.stat().st_size), random.Random(0))
    capsys.readouterr()
    assert train(tmp_path / "damaged").step == 20
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("checkpoint 20 cannot be used: state/")
    saver = Checkpointer(tmp_path / "damaged" / "checkpoints")
    assert [saver.verify(info.step) for info in saver.list_steps()] == [[], []]
    assert compare(tmp_path / "damaged", tmp_path / "whole") == []


def test_ls_tells_damaged_from_half_written_and_verify_fails(tmp_path, capfd):
    saver = Checkpointer(tmp_path / "checkpoints", CheckpointConfig(keep=9))
    for step in (1, 2, 3):
        saver.save(step, state_of(step))
    saver.wait()
    os.truncate(tmp_path / "checkpoints" / "2" / "manifest.json", 50)
    (tmp_path / "checkpoints" / "3" / "manifest.json").unlink()
    assert main(["ckpt", "ls", str(tmp_path)]) == 0
    rows = capfd.readouterr().out.splitlines()[-3:]
    assert [row.split()[1] for row in rows] == ["complete", "damaged", "half-written"]
    assert main(["ckpt", "verify", str(tmp_path)]) == 1
    assert capfd.readouterr().out.splitlines() == [
        "1: ok",
        "2: manifest.json is damaged",
        "3: half-written: it has no manifest",
    ]
