# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reading by bytes gives what reading by the csv module gives."""

import numpy as np
import pytest

from lrm_jax.data import csv_bytes, csv_rows
from lrm_jax.data.views import sudoku_view
from lrm_jax.types import UserError

VIEW = sudoku_view(4)


def random_field(rng, charset, length):
    return "".join(rng.choice(list(charset), length))


def random_line(rng):
    """A row that is mostly sound, with everything that can be wrong with one."""
    question = random_field(rng, ".01234", 16)
    answer = random_field(rng, "1234", 16)
    rating = str(rng.integers(-3, 3000))
    fields = ["name", question, answer, rating]
    match rng.integers(0, 14):
        case 0:
            fields[1] = question[:-1]
        case 1:
            fields[2] = answer + "1"
        case 2:
            fields[1] = question[:3] + rng.choice(list("ax5#- \t\0")) + question[4:]
        case 3:
            fields[3] = rng.choice(
                ["", "-", "1.5", "1-2", "easy", "9" * 19, " 7", "--1"]
            )
        case 4:
            fields = fields[: rng.integers(1, 4)]
        case 5:
            fields += ["more"] * rng.integers(1, 3)
        case 6:
            fields[0] = ""
        case 7:
            return ""
    return ",".join(fields)


def both_ways(path, view, monkeypatch):
    by_bytes = csv_rows.read_rows(path, view)
    with monkeypatch.context() as patch:
        patch.setattr(csv_bytes, "open_plain", lambda path: None)
        return by_bytes, csv_rows.read_rows(path, view)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("block_bytes", [24, 300, 1 << 22])
def test_bytes_and_text_agree(tmp_path, monkeypatch, ending, block_bytes):
    monkeypatch.setattr(csv_bytes, "_BLOCK_BYTES", block_bytes)
    rng = np.random.default_rng(block_bytes)
    header = "source,question,answer,rating"
    for case in range(8):
        lines = [header, *(random_line(rng) for _ in range(60))]
        path = tmp_path / f"{case}.csv"
        path.write_bytes(ending.join(lines).encode() + ending.encode() * (case % 2))
        assert csv_bytes.open_plain(path) is not None
        found, wanted = both_ways(path, VIEW if case % 3 else None, monkeypatch)
        assert found.bad == wanted.bad and found.view == wanted.view
        assert len(found.bad) > 5 and len(found.lines) > 20
        for a, b in zip(found, wanted, strict=True):
            if isinstance(a, np.ndarray):
                np.testing.assert_array_equal(a, b)
                assert a.dtype == b.dtype


@pytest.mark.parametrize(
    "text",
    [
        "question\n" + "1" + "." * 15 + "\n",
        "question,n_solutions\n" + "." * 16 + ",0\n",
        "answer,question\n" + "1234" * 4 + "," + "0" * 16,
        "rating,question\n-5," + "." * 16 + "\n\n\n",
        "question\n" + "." * 15 + "\n" + "." * 16,
        "question,answer\nab\n",
    ],
)
def test_other_columns(tmp_path, monkeypatch, text):
    path = tmp_path / "x.csv"
    path.write_text(text)
    found, wanted = both_ways(path, VIEW, monkeypatch)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a, b) if isinstance(a, np.ndarray) else None
    assert found.bad == wanted.bad
    assert (found.labels is None) == ("answer" not in text)


@pytest.mark.parametrize(
    "text",
    [
        'question\n"' + "." * 16 + '"\n',
        "question,source\n" + "." * 16 + ",é\n",
        "question\r" + "." * 16 + "\r",
        "question\n" + "." * 16 + "\r",
    ],
)
def test_what_is_not_plain_is_read_by_the_csv_module(tmp_path, text):
    path = tmp_path / "x.csv"
    path.write_bytes(text.encode())
    assert csv_bytes.open_plain(path) is None
    rows = csv_rows.read_rows(path, VIEW)
    assert rows.inputs.tolist() == [[1] * 16] and not rows.bad


def test_a_field_beyond_all_measure(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("question,source\n" + "." * 200_000 + ",x\n")
    with pytest.raises(UserError, match=r"x.csv: not a CSV in UTF-8 \(field larger"):
        csv_rows.read_rows(path, VIEW)
