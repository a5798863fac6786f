# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The table and the benchmark of token search run at smoke scale."""

import sys

import pytest

from experiments import bench_token_search, table_search


@pytest.mark.nightly
def test_the_table_runs(tmp_path, capsys, monkeypatch):
    words = ["table_search", "--root", str(tmp_path), "--scale", "smoke"]
    monkeypatch.setattr(sys, "argv", words)
    table_search.main()
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if line.startswith("| ")]
    # One pass, and votes and best-of-N of two budgets; again, trained on; and guided.
    assert len(rows) == 2 + (1 + 2 + 2) + (1 + 2) + len(table_search.GUIDED)
    majority = [row for row in rows if row.startswith("| majority | 8 ")]
    assert "none as large" in majority[0]
    assert any(line.startswith("paid once: ") for line in lines)


@pytest.mark.nightly
def test_the_benchmark_runs():
    setting = bench_token_search.Setting(4, 4, 16, 4)
    found = bench_token_search.measure(
        setting, samples=1, candidates=4, expand=2, simulations=4
    )
    assert 0 < found["lane_use"]["mcts"] <= 1
    assert found["tokens_per_s"]["beam"] > 0
