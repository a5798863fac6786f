# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import dataclasses
import re
from html.parser import HTMLParser

import pytest

from lrm_jax.data.views import PuzzleView
from lrm_jax.evaluation import tree_page as page
from tests.evaluation.browsing import open_page
from tests.evaluation.trees import sum_tree
from tests.evaluation.written import HOSTILE

VIEW = PuzzleView("sudoku", 2, 2, 1, 2, "?.12")


class Nodes(HTMLParser):
    """Rows of nodes with their attributes and text, and cells of the board."""

    def __init__(self, dom):
        super().__init__()
        self.rows, self.cells, self.detail, self.into = [], [], "", None
        self.feed(dom)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        kinds = (attrs.get("class") or "").split()
        if "node" in kinds:
            self.rows.append({**attrs, "kinds": kinds, "text": ""})
            self.into = "row"
        elif "cell" in kinds:
            self.cells.append(kinds)
        elif attrs.get("data-part") == "detail":
            self.into = "detail"
        elif tag in ("p", "script"):
            self.into = None

    def handle_data(self, data):
        if self.into == "row":
            self.rows[-1]["text"] += f"{data}|"
        elif self.into == "detail":
            self.detail += data + "|"


def opened(tmp_path, trees, fragment="", **options):
    return Nodes(
        open_page(tmp_path, page.tree_page(trees, **options), fragment=fragment)
    )


def test_the_page_opens_on_the_best_path(tmp_path):
    found = opened(tmp_path, [sum_tree()])
    best = [row["data-node"] for row in found.rows if "best" in row["kinds"]]
    assert best == ["0", "1", "3", "6"]
    (chosen,) = [row for row in found.rows if row["aria-selected"] == "true"]
    assert chosen["data-node"] == "6" and "right" in chosen["kinds"]
    assert "1|" in chosen["text"] and "1.000|" in chosen["text"]
    assert "answer|47|" in found.detail and "12+30=42" in found.detail
    by_node = {row["data-node"]: row for row in found.rows}
    assert "wrong" in by_node["4"]["kinds"]
    assert "5" not in by_node, "below a node that is not open"
    assert by_node["2"]["aria-expanded"] == "false"


def test_the_address_opens_a_node_of_a_tree(tmp_path):
    second = sum_tree(prompt="other")
    found = opened(tmp_path, [sum_tree(), second], "#tree=2&node=5")
    (chosen,) = [row for row in found.rows if row["aria-selected"] == "true"]
    assert chosen["data-node"] == "5" and "dead" in chosen["kinds"]
    assert "other" in found.detail and "dead end" in found.detail


def test_boards_are_drawn_with_what_a_step_changed(tmp_path):
    boards = ["..12"] * 6 + ["1.12"]
    found = opened(tmp_path, [sum_tree(boards=boards)], view=VIEW)
    assert len(found.cells) == 4
    assert [("changed" in kinds) for kinds in found.cells] == [
        True,
        False,
        False,
        False,
    ]
    assert "box-below" in found.cells[0]


def test_text_cannot_become_markup(tmp_path):
    nasty = [""] + [HOSTILE + "</script><!--\u2028"] * 6
    tree = sum_tree(prompt=HOSTILE, steps=nasty, gold=HOSTILE, method=HOSTILE)
    text = page.tree_page([tree], title=HOSTILE)
    assert text.count("</script>") == 2
    found = opened(tmp_path, [tree])
    assert HOSTILE.split("\n")[0][:8] in "".join(row["text"] for row in found.rows)


def test_a_page_is_bounded_and_says_so():
    tree = sum_tree()
    text = page.tree_page([tree] * (page.MAX_TREES + 1))
    assert "The first 200 of 201 trees." in text
    assert len(re.findall('"gold"', text)) == page.MAX_TREES
    assert "2 trees." in page.tree_page([tree] * 2)


def test_numbers_that_json_has_not_are_shown_as_unknown(tmp_path):
    tree = dataclasses.replace(sum_tree(), values=[float("nan")] * 7)
    assert "–" in opened(tmp_path, [tree]).rows[0]["text"]


def test_a_page_without_trees_is_a_mistake():
    with pytest.raises(ValueError, match="no trees"):
        page.tree_page([])
