# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import html as stdlib_html
import json
import re
import struct
from html.parser import HTMLParser

import numpy as np
import pytest

from lrm_jax.data.views import arc_view
from lrm_jax.evaluation import html
from tests.evaluation.boards import (
    MAZE,
    MAZE_STEPS,
    PUZZLE,
    STEPS,
    SUDOKU,
    ids,
    maze_trace,
    sudoku_trace,
)
from tests.evaluation.browsing import open_page


def data_of(page):
    text = re.search(
        r'<script type="application/json" id="traces">(.*?)</script>', page
    )
    return json.loads(text[1])


def test_data_in_the_page_by_hand():
    data = data_of(html.player_page([sudoku_trace()], SUDOKU))
    (trace,) = data["traces"]
    assert trace["inputs"] == PUZZLE
    assert trace["preds"] == STEPS
    assert trace["givens"] == "1000001001000001"
    assert trace["marks"][0] == "rwwwwwrrwrrwwrwr"
    assert trace["marks"][1] == "r" * 16
    assert trace["confidence"][0] == "25" * 16
    assert trace["confidence"][1] == "89" * 16
    assert trace["halt"] == [0.02, 0.97, 0.4]
    assert trace["name"] == "Puzzle 1: 5 wrong at the end"
    assert data["view"] == {
        "kind": "sudoku",
        **{"rows": 4, "cols": 4, "box_rows": 2, "box_cols": 2},
    }


def test_names_say_how_it_ended():
    trace = sudoku_trace()
    solved = trace._replace(preds=trace.preds[:2], halt_prob=trace.halt_prob[:2])
    page = html.player_page([solved, sudoku_trace(labels=None)], SUDOKU)
    names = [t["name"] for t in data_of(page)["traces"]]
    assert names == ["Puzzle 1: solved from step 2", "Puzzle 2"]


def test_ignored_labels_and_missing_ones():
    labels = sudoku_trace().labels.copy()
    labels[0] = -100
    (trace,) = data_of(
        html.player_page([sudoku_trace()._replace(labels=labels)], SUDOKU)
    )["traces"]
    assert trace["labels"][0] == html.NO_LABEL
    assert trace["marks"][0][0] == "."


def test_diverged_numbers_still_make_a_page():
    trace = sudoku_trace()
    bad = trace._replace(
        confidence=np.full_like(trace.confidence, np.nan),
        halt_prob=np.full_like(trace.halt_prob, np.nan),
    )
    (trace,) = data_of(html.player_page([bad], SUDOKU))["traces"]
    assert trace["halt"] == [0, 0, 0] and set(trace["confidence"][0]) == {"0"}


def test_page_needs_nothing_from_elsewhere():
    page = html.player_page([sudoku_trace()], SUDOKU)
    assert "default-src 'none'" in page
    assert set(re.findall(r"https?://[^\s\"']+", page)) == {
        "http://www.w3.org/2000/svg"  # a name, never fetched
    }
    assert not re.search(r"<(link|iframe|img)\b|@import|src=", page)


def test_text_cannot_leave_its_place():
    page = html.player_page(
        [sudoku_trace()],
        SUDOKU,
        title="<b>&",
        names=["</script><script>alert(1)</script><!--"],
    )
    assert "<b>&" not in page and stdlib_html.escape("<b>&") in page
    assert page.count("</script>") == 2
    (trace,) = data_of(page)["traces"]
    assert trace["name"].startswith("</script>")


def test_player_needs_a_trace():
    with pytest.raises(ValueError, match="no traces"):
        html.player_section([], SUDOKU)


class Cells(HTMLParser):
    """Text and attributes of every cell, by number."""

    def __init__(self):
        super().__init__()
        self.cells, self.open = {}, None

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.open = attrs.get("data-cell")
        if self.open is not None:
            self.cells[int(self.open)] = {**attrs, "text": ""}

    def handle_data(self, data):
        if self.open is not None:
            self.cells[int(self.open)]["text"] += data

    def handle_endtag(self, tag):
        self.open = None


def cells_of(dom):
    parser = Cells()
    parser.feed(dom)
    return [parser.cells[i] for i in range(len(parser.cells))]


@pytest.mark.browser
def test_browser_plays_to_the_last_step(tmp_path):
    dom = open_page(tmp_path, html.player_page([sudoku_trace()], SUDOKU))
    cells = cells_of(dom)
    assert "".join(cell["text"] for cell in cells) == STEPS[-1]
    assert "Step 3 of 3" in dom and "5 of 16 cells wrong" in dom
    assert "Halting probability 40 %: would go on" in dom
    assert "given" in cells[0]["class"].split()
    assert cells[0]["aria-label"] == "row 1 column 1, 1, given"
    assert "wrong" in cells[9]["class"].split()
    assert cells[9]["aria-label"] == "row 3 column 2, 1, 90 % sure, wrong"
    assert "box-right" in cells[1]["class"] and "box-below" in cells[4]["class"]
    assert dom.count('role="row"') == 4


@pytest.mark.browser
def test_browser_opens_the_frame_in_the_address(tmp_path):
    page = html.player_page([sudoku_trace(), sudoku_trace(labels=None)], SUDOKU)
    dom = open_page(tmp_path, page, fragment="#puzzle=0&step=2")
    assert "".join(cell["text"] for cell in cells_of(dom)) == STEPS[1]
    assert "solved: all 16 cells right" in dom and "would stop here" in dom
    unlabelled = open_page(tmp_path, page, fragment="#puzzle=1&step=0")
    text = "".join(cell["text"] for cell in cells_of(unlabelled))
    assert text == PUZZLE.replace(".", "")
    assert "before any thought" in unlabelled


@pytest.mark.browser
def test_browser_shows_mazes_and_arc(tmp_path):
    dom = open_page(
        tmp_path, html.player_page([maze_trace()], MAZE), fragment="#step=2"
    )
    cells = cells_of(dom)
    assert "".join(cell["text"] for cell in cells) == MAZE_STEPS[1]
    assert "path" in cells[1]["class"] and "wall" in cells[2]["class"]
    assert "missing" in cells[9]["class"] and "wrong" in cells[6]["class"]
    assert cells[0]["aria-label"].startswith("row 1 column 1, start")
    view = arc_view(16)
    trace = maze_trace()._replace(labels=None)
    page = html.player_page(
        [trace._replace(inputs=ids("0123456789||0000", view))], view
    )
    dom = open_page(tmp_path, page, fragment="#step=0")
    assert "".join(c["text"] for c in cells_of(dom)) == "0123456789||0000"


@pytest.mark.browser
def test_browser_takes_a_picture(tmp_path):
    shot = tmp_path / "shot.png"
    page = html.player_page([sudoku_trace()], SUDOKU)
    open_page(tmp_path, page, fragment="#step=last", screenshot=shot)
    data = shot.read_bytes()
    assert data.startswith(b"\x89PNG")
    assert struct.unpack(">II", data[16:24]) == (1100, 800)
    assert len(data) > 10_000  # not a blank page
