# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The table and the benchmark of latent search."""

import argparse
import json
import sys

import pytest

from experiments import bench_latent_search, table_latent_search


def stored(one_pass, all_once, best_q):
    row = lambda name, budget, a: {"method": name, "budget": budget, "accuracy": a}
    rows = [row("one_pass", 4, one_pass), row("one_pass", 64, all_once)]
    return json.dumps({"results": [*rows, row("best_q", 64, best_q)]})


def test_the_table_of_stored_searches(tmp_path, monkeypatch, capsys):
    for seed in (1, 2, 3, 4, 5):
        folder = tmp_path / f"seed{seed}"
        folder.mkdir()
        text = stored(0.6, 0.7, 0.8 + 0.01 * seed)
        (folder / "search_best_q_k16_depth4_sigma0.3_full.json").write_text(text)
    words = ["table", "--root", str(tmp_path), "--methods", "best_q"]
    monkeypatch.setattr(sys, "argv", words)
    table_latent_search.main()
    lines = capsys.readouterr().out.splitlines()
    # Differences .21 .. .25: mean 23, t = 2.776 of sd 1.581 / sqrt(5): 1.96 points.
    assert lines[-1] == (
        "| best_q | 64 | 81.0 | 82.0 | 83.0 | 84.0 | 85.0 | +23.0 [21.0, 25.0] "
        "| +13.0 [11.0, 15.0] |"
    )
    assert lines[2].startswith("| one_pass | 4 | 60.0 |")
    assert lines[3].startswith("| one_pass_all | 64 | 70.0 |")


def test_a_search_of_other_settings_has_another_file():
    settings = {"methods": "best_q,mode", "k": 16, "depth": 4, "sigma": 0.3}
    settings["scale"] = "full"
    others = {"methods": "mode", "k": 4, "depth": 8, "sigma": 0.1, "scale": "smoke"}
    ways = [settings, *(settings | {key: other} for key, other in others.items())]
    names = [table_latent_search.kept_name(argparse.Namespace(**way)) for way in ways]
    assert len(set(names)) == 6


@pytest.mark.nightly
def test_the_table_at_smoke_scale(tmp_path, monkeypatch, capsys):
    words = ["table", "--scale", "smoke", "--root", str(tmp_path), "--k", "4"]
    monkeypatch.setattr(sys, "argv", [*words, "--depth", "2"])
    table_latent_search.main()
    assert "| best_q | 8 |" in capsys.readouterr().out


@pytest.mark.nightly
def test_the_benchmark_at_smoke_scale(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench", "--scale", "smoke", "--rounds", "2"])
    bench_latent_search.main()
    report = json.loads(capsys.readouterr().out)
    assert report["lanes"] == 8 and report["tree_simulations"] == [3, 3]
    assert 0 < report["wall"]["tree"]["share_of_bare"] < 3
