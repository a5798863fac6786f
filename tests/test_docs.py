# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""docs/ names what there is: every objective, every refusal, every choice."""

import re
from pathlib import Path
from typing import get_args

import pytest

from lrm_jax.rl import config
from lrm_jax.rl.config import RolloutConfig
from lrm_jax.rl.refusals import BIASED
from lrm_jax.rl.variants import VARIANTS

DOCS = Path(__file__).resolve().parent.parent / "docs"
README = (DOCS.parent / "README.md").read_text()
OBJECTIVES = (DOCS / "objectives.md").read_text()


def table(text, heading):
    """First cell -> cells of the rows under a heading."""
    part = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = re.findall(r"^\| (`.*) \|$", part, re.M)
    rows = [re.split(r" (?<!\\)\| ", line) for line in lines]
    return {row[0].strip("`"): [cell.strip("`") for cell in row[1:]] for row in rows}


def test_every_objective_is_listed_as_it_is():
    rows = table(OBJECTIVES, "Published ones, by name")
    assert list(rows) == list(VARIANTS)
    for name, (_, advantage, loss, aggregation, kl) in rows.items():
        cfg = VARIANTS[name](RolloutConfig())
        found = (cfg.advantage.kind, cfg.loss.kind, cfg.aggregation)
        assert found == (advantage, loss, aggregation), name
        assert (kl == "none") == (cfg.kl.coef == 0), name


def test_every_refusal_is_listed():
    assert set(table(OBJECTIVES, "What is refused")) == set(BIASED)


@pytest.mark.parametrize(
    "choices",
    [
        config.Aggregation,
        config.AdvantageKind,
        config.LossKind,
        config.KlEstimator,
        config.CorrectionKind,
    ],
)
def test_the_readme_lists_every_choice(choices):
    missing = [name for name in get_args(choices) if f"`{name}`" not in README]
    assert not missing


def test_a_decision_has_five_lines():
    parts = (DOCS / "decisions.md").read_text().split("\n## ")[1:]
    for part in parts:
        title, *lines = part.strip().splitlines()
        assert len([line for line in lines if line]) == 5, title
