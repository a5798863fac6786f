# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import json
import shutil

from lrm_jax.cli.main import main
from tests.recipes.test_verify import TRM


def test_a_damaged_folder_of_a_tree_is_exit_code_2(tmp_path, capfd):
    for name in ("damaged", "good"):
        shutil.copytree(TRM, tmp_path / name)
    (tmp_path / "damaged" / "config.json").write_text("{")
    assert main(["verify", str(tmp_path), "--no-float64", "--json"]) == 2
    out, err = capfd.readouterr()
    data = json.loads(out)
    assert not data["ok"] and set(data["errors"]) == {"damaged"}
    assert data["folders"]["good"]["ok"] and data["max_diff"]["eval/logits"] < 1e-4
    lines = err.splitlines()
    assert "good (trm): ok" in lines and "Traceback" not in err
    assert [line for line in lines if line.startswith("damaged (") and "config" in line]
