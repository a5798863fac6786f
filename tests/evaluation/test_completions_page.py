# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import json
import re
import struct
from html.parser import HTMLParser

import pytest

from lrm_jax.evaluation import completions_page as page
from lrm_jax.evaluation.samples import SampleSet, read_samples
from tests.evaluation.browsing import open_page
from tests.evaluation.written import HOSTILE, line, two_steps, write_lines


def samples(tmp_path, lines, **bounds):
    return read_samples(write_lines(tmp_path / "samples.jsonl", lines), **bounds)


def data_of(text):
    found = re.search(
        r'<script type="application/json" id="completions">(.*?)</script>', text
    )
    return json.loads(found[1])


def hostile():
    return line(
        prompt=HOSTILE,
        thought=[HOSTILE, "\u2028", "<!--", "\ud800"],
        said=["<b>45</b>"],
        answer="<i>",
        status=HOSTILE,
        stop=HOSTILE,
        parts={HOSTILE: 1.0, "b": 0.0},
    )


class Cards(HTMLParser):
    """Cards with their classes, text, and tokens with theirs."""

    def __init__(self, dom):
        super().__init__()
        self.cards, self.headings, self.token, self.in_heading = [], [], None, False
        self.feed(dom)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        kinds = (attrs.get("class") or "").split()
        if tag == "h3":
            self.in_heading = True
            self.headings.append("")
        if "card" in kinds:
            self.cards.append({**attrs, "tokens": [], "parts": [], "text": ""})
        elif "part" in kinds:
            self.cards[-1]["parts"].append(kinds[-1])
        elif "tok" in kinds and self.cards:
            self.token = {**attrs, "text": ""}
            self.cards[-1]["tokens"].append(self.token)

    def handle_data(self, data):
        if self.in_heading:
            self.headings[-1] += data
        if self.token is not None:
            self.token["text"] += data
        if self.cards:
            self.cards[-1]["text"] += data

    def handle_endtag(self, tag):
        self.token, self.in_heading = None, False


def test_data_in_the_page_by_hand(tmp_path):
    found = samples(tmp_path, two_steps())
    data = data_of(page.completions_page(found))
    assert data["scale"] == 0.75
    first = data["groups"][0]
    assert (first["step"], first["right"], first["answer"]) == (10, 1, "45")
    sample = first["samples"][2]
    assert sample["tokens"][:3] == ["<think>", "7", "+"]
    assert sample["logps"][:3] == [0.0, -0.25, -0.5]
    assert sample["forced"] == [12, 13]
    assert sample["regions"] == "g" + 13 * "t" + "ggaag" + "o"
    assert sample["reason"] == "wrong: answered 44, not 45"
    assert data["groups"][2]["samples"][0]["advantage"] is None


def test_page_is_self_contained_and_text_cannot_leave_its_place(tmp_path):
    text = page.completions_page(samples(tmp_path, [hostile()]), title="<b>&")
    assert "default-src 'none'" in text and "<b>&" not in text
    assert not re.search(r"<(link|iframe|img)\b|@import|src=[\"']?http", text)
    assert text.count("</script>") == 2 and "<!--" not in text
    (sample,) = data_of(text)["groups"][0]["samples"]
    assert sample["tokens"][1] == HOSTILE and sample["tokens"][4] == "\ufffd"


def test_diverged_numbers_still_make_a_page(tmp_path):
    nan, inf = float("nan"), float("inf")
    bad = line(advantage=nan, reward=inf, logps=[nan, -inf], parts={"a": nan})
    (sample,) = data_of(page.completions_page(samples(tmp_path, [bad])))["groups"][0][
        "samples"
    ]
    assert sample["advantage"] is None and sample["reward"] is None
    assert sample["logps"][:3] == [None, None, None] and sample["parts"] == {"a": None}


def test_ten_thousand_lines_make_a_page_that_says_what_it_leaves_out(tmp_path):
    lines = [line(step=s // 8, advantage=0.1) for s in range(10_000)]
    found = samples(tmp_path, lines)
    text = page.completions_page(found)
    assert len(text) < 6 * 1024**2 and 100 <= len(found.groups) <= 160
    assert f"{found.shown:,} of the 10,000 completions of samples.jsonl" in text
    assert data_of(text)["groups"][-1]["step"] == 1249
    whole = page.note(samples(tmp_path, two_steps()))
    assert whole == "All 7 completions of samples.jsonl."


def test_a_long_completion_is_cut(tmp_path):
    count = page.MAX_TOKENS + 25
    long = line(tokens=["x"] * count, logps=[-0.1] * count, forced=[True] * count)
    (sample,) = data_of(page.completions_page(samples(tmp_path, [long])))["groups"][0][
        "samples"
    ]
    assert len(sample["tokens"]) == len(sample["regions"]) == page.MAX_TOKENS
    assert sample["length"] == count and max(sample["forced"]) < page.MAX_TOKENS


def test_a_page_needs_a_completion():
    with pytest.raises(ValueError, match="no completions"):
        page.completions_section(SampleSet([], 0))


@pytest.mark.browser
def test_browser_shows_the_group_of_a_step(tmp_path):
    text = page.completions_page(samples(tmp_path, two_steps()))
    dom = open_page(tmp_path, text, fragment="#step=10")
    shown = Cards(dom)
    assert shown.headings == ["train prompt, answer 45: 1 of 4 right"]
    right, wrong, forced, untagged = shown.cards
    assert right["class"].split() == ["card", "pos"] and "--a: 1" in right["style"]
    assert wrong["class"].split() == ["card", "neg"] and "0.33" in wrong["style"]
    assert right["parts"] == ["tag", "thought", "tag", "answer", "tag", "text"]
    assert "✓ right: answered 45" in right["text"] and "+0.75" in right["text"]
    assert "✗ wrong: answered 35, not 45" in wrong["text"] and "−0.25" in wrong["text"]
    assert untagged["data-verdict"] == "no_tag"
    tokens = right["tokens"]
    assert "".join(t["text"] for t in tokens) == (
        "<think>7+8=15,1+2+1=4</think><answer>45</answer><eos>"
    )
    # Token 4 was drawn with log-prob -1 of the 3.9 that shade fully.
    assert "--s: 0.26" in tokens[4]["style"] and "style" not in tokens[0]
    assert tokens[4]["title"] == 'token 5, "=": 36.8 % likely, log-prob -1'
    marked = [i for i, t in enumerate(forced["tokens"]) if "forced" in t["class"]]
    assert marked == [12, 13]
    assert "Step 10" in dom and "(1 of 2): 1 of 4 right" in dom


@pytest.mark.browser
def test_browser_filters_by_verdict_and_split(tmp_path):
    text = page.completions_page(samples(tmp_path, two_steps()))
    shown = Cards(open_page(tmp_path, text, fragment="#step=10&verdict=wrong"))
    assert [c["data-verdict"] for c in shown.cards] == ["wrong", "wrong"]
    shown = Cards(open_page(tmp_path, text, fragment="#split=eval"))  # the last step
    assert shown.headings == ["eval prompt, answer 9: 1 of 1 right"]
    assert shown.cards[0]["class"].split() == ["card", "even"]
    dom = open_page(tmp_path, text, fragment="#step=20&verdict=no_tag")
    assert "No such completion at this step." in dom and "Go to step 10" in dom


@pytest.mark.browser
def test_browser_shows_hostile_text_as_text(tmp_path):
    text = page.completions_page(samples(tmp_path, [hostile()]), title="mine")
    dom = open_page(tmp_path, text)
    assert "<title>mine</title>" in dom and "<img" not in dom
    (card,) = Cards(dom).cards
    assert HOSTILE in "".join(t["text"] for t in card["tokens"])


@pytest.mark.browser
def test_browser_takes_a_picture(tmp_path):
    shot = tmp_path / "shot.png"
    text = page.completions_page(samples(tmp_path, two_steps()))
    open_page(tmp_path, text, fragment="#step=10", screenshot=shot)
    data = shot.read_bytes()
    assert struct.unpack(">II", data[16:24]) == (1100, 800)
    assert len(data) > 20_000  # not a blank page


def test_one_large_advantage_does_not_bleach_the_others(tmp_path):
    lines = [line(advantage=a) for a in [3.75, *[-0.25] * 19, 0.0, None]]
    data = data_of(page.completions_page(samples(tmp_path, lines)))
    assert data["scale"] == 0.25
    even = data_of(page.completions_page(samples(tmp_path, [line(advantage=None)])))
    assert even["scale"] == 1.0
