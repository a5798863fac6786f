# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""`lrm train --explain-sharding`: a table, the same as JSON, and nothing is begun."""

import json

import pytest

from lrm_jax.cli.main import main

WORDS = [
    *("train", "sudoku4_tiny", "model.d_model=8", "model.n_heads=2"),
    *("model.ff_multiple=8", "model.l_layers=1", "train.batch_size=8"),
    *("eval.batch_size=8", "data.train_size=32", "data.test_size=16"),
    "--explain-sharding",
]


def test_the_table_and_its_json(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [*WORDS, "--mesh", "data=2,fsdp=2,model=2"]
    assert main(words) == 0
    out, _ = capfd.readouterr()
    lines = out.splitlines()
    assert lines[0].startswith("sudoku4_tiny: mesh data=2, fsdp=2,")
    assert lines[0].endswith("(8 devices)")
    assert lines[2].split()[:3] == ["path", "shape", "dtype"]
    head = next(line for line in lines if "weights/lm_head/kernel" in line)
    assert "[8, 6]" in head and "[fsdp, model]" in head and "48 B" in head
    assert main([*words, "--json"]) == 0
    out, _ = capfd.readouterr()
    data = json.loads(out)
    assert {"mesh", "devices", "leaves", "totals", "warnings", "notes"} <= set(data)
    leaf = next(x for x in data["leaves"] if x["path"].endswith("lm_head/kernel"))
    assert leaf["spec"] == ["fsdp", "model"] and leaf["bytes"] == 48
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["mesh.fsdp=16"], "for devices that are not here there is lrm aot"),
        (["train.batch_size=9"], "train.batch_size=9: must divide over 8 devices"),
        (["--mesh", "data=2,tensor=4"], "got 'tensor=4'"),
        (["--mesh", "model=4"], "mesh.model=4: must divide model.n_heads=2; expected"),
        (["--mesh", "expert=2"], "mesh.expert=2: the model has no experts; expected 1"),
    ],
)
def test_what_cannot_run_is_refused(more, message, capfd):
    assert main([*WORDS, *more]) == 2
    out, err = capfd.readouterr()
    assert out == "" and message in err.splitlines()[-1]
