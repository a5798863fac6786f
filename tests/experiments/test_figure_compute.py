# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Accuracy against compute: points, seeds, table, picture, bad files."""

import json
import struct

import pytest

from experiments import figure_compute
from lrm_jax.evaluation.compute_plots import (
    compute_points,
    compute_table,
    plot_accuracy_by_compute,
)
from lrm_jax.types import UserError


def row(method, budget, accuracy, **changes):
    found = {"method": method, "budget": budget, "unit": "candidates", "n": 10}
    found |= {"accuracy": accuracy, "ci95": [accuracy - 0.1, accuracy + 0.1]}
    return found | {"tokens": 8.0 * budget, "flops": None, "time_s": 20.0} | changes


def found(*accuracies, **changes):
    rows = [row("one_pass", 1, 0.4, **changes)]
    rows += [row("beam", 2**i, a, **changes) for i, a in enumerate(accuracies)]
    return {"n": 10, "results": rows}


def test_one_file_keeps_its_own_interval():
    points = compute_points([("", found(0.5, 0.6))])
    assert [(p.name, p.budget) for p in points] == [
        *(("one_pass", "1"), ("beam", "1"), ("beam", "2")),
    ]
    assert points[2].accuracy == 0.6 and points[2].ci95 == pytest.approx((0.5, 0.7))
    assert points[2].compute == {"tokens": 16, "time_s": 2}  # of a problem


def test_files_of_one_label_are_seeds():
    files = [("a", found(x)) for x in (0.5, 0.52, 0.48, 0.51, 0.49)]
    assert compute_points(files)[1].name == "beam"
    point = compute_points([*files, ("b", found(0.1))])[1]
    assert point.seeds == 5 and point.name == "a: beam"
    half = 2.776445 * (0.00025 / 5) ** 0.5
    assert point.accuracy == pytest.approx(0.5)
    assert point.ci95 == pytest.approx((0.5 - half, 0.5 + half), abs=1e-7)
    mixed = compute_points([("a", found(0.5)), ("a", found(0.5, tokens=None))])
    assert "tokens" not in mixed[1].compute  # one seed has not counted them


def test_the_table():
    lines = compute_table(compute_points([("", found(0.5))])).splitlines()
    assert lines[0].startswith("| method | budget | seeds | accuracy | 95 % | tokens")
    assert lines[3] == "| beam | 1 | 1 | 50.0 | 40.0 - 60.0 | 8 | - | 2 |"


def test_a_panel_for_each_measure_there_is():
    width = {}
    for flops in (None, 1e9):
        png = plot_accuracy_by_compute(compute_points([("", found(0.5, flops=flops))]))
        assert png.startswith(b"\x89PNG")
        width[flops] = struct.unpack(">II", png[16:24])[0]
    assert width[1e9] == width[None] * 3 / 2


def test_the_command_writes_both(tmp_path, capsys, monkeypatch):
    for name, accuracy in (("a", 0.5), ("b", 0.6)):
        (tmp_path / f"{name}.json").write_text(json.dumps(found(accuracy)))
    words = [f"old={tmp_path}/a.json", f"{tmp_path}/b.json", "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["figure_compute", *words])
    figure_compute.main()
    table = (tmp_path / "compute.md").read_text()
    assert capsys.readouterr().out == table
    assert "| old: beam |" in table and "| b: beam |" in table
    assert (tmp_path / "compute.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read"),
        ("[", "cannot be read"),
        ("[]", "no results"),
        ('{"results": [{"method": "a"}]}', "row 1 of results has no 'budget'"),
        (json.dumps(found(tokens=None, time_s=None)), "nothing to draw against"),
    ],
)
def test_what_is_refused(tmp_path, text, said):
    path = tmp_path / "a.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=said):
        figure_compute.write([str(path)], tmp_path)
