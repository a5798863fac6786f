# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Stored samples under a reward model: which steps it is asked, what it says."""

import json

import jax
import numpy as np
import pytest

from lrm_jax import presets
from lrm_jax.cli.main import main
from lrm_jax.config import replace
from lrm_jax.models.policy import token_policy
from lrm_jax.recipes import rescore_prm
from lrm_jax.recipes.policy_build import tokenizer_of
from lrm_jax.recipes.policy_config import fit_vocabulary
from lrm_jax.recipes.prm_config import with_head
from lrm_jax.recipes.prm_run import RewardRun
from lrm_jax.recipes.rescore import rescore
from lrm_jax.types import UserError

TINY = {"model.d_model": 16, "model.n_layers": 1, "model.n_heads": 2, "model.d_ff": 16}
TINY |= {"model.max_seq_len": 48, "prm.seq_len": 48, "eval.batch_size": 4}


@pytest.fixture(scope="module")
def run():
    config = with_head(replace(presets.prm_arithmetic_tiny(), TINY))
    config = fit_vocabulary(config, tokenizer_of(config))
    params = token_policy(config.model).init(jax.random.key(0))
    # A head begins at zero, which scores every step alike.
    params = jax.tree.map(lambda x: x + np.float32(0.1), params)
    return RewardRun(config, params)


def test_steps_are_those_of_the_models_rule(run):
    scorer = rescore_prm.RunScorer(run)
    found = scorer.step_scores(
        [
            ("12+34=", "2+4=6,1+3=4", None),
            ("12+34=", " ", None),
            ("12+34=", "2+4=6,", None),
            ("12+34=", "other", ["2+4=6", "1+3=4"]),
        ]
    )
    assert [len(scores) for scores in found] == [2, 0, 1, 2]
    assert found[0] == pytest.approx(found[3], abs=1e-6)
    want = run.score("12+34=", ["2+4=6", "1+3=4"]).steps
    assert found[0] == pytest.approx(want, abs=1e-6)
    assert found[2] != pytest.approx(found[0][:1], abs=1e-9)  # its end is no comma
    assert scorer.step_scores([("1+1=", "", None)]) == [[]]


def test_a_separator_of_ones_own(run):
    scorer = rescore_prm.RunScorer(run, "=")
    assert [len(s) for s in scorer.step_scores([("12+34=", "2+4=6", None)])] == [2]


def _rows():
    for text in ("2+4=6,1+3=4,46", "2+4=6,1+3=5,56", "", "46"):
        verdict = {"strict": float(text.endswith("46")), "extracted": text[-2:]}
        yield {
            **{"prompt": "12+34=", "answer": "46", "completion": text},
            **{"tokens": list(text), "verdict": verdict | {"status": "right"}},
        }


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "samples.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in _rows()))
    return path


def test_its_scores_choose(run, file):
    results = rescore(file, scorer=rescore_prm.RunScorer(run))
    best = next(r for r in results if (r.method, r.budget) == ("best_of_n", 4))
    last = [
        run.score("12+34=", row["completion"].split(",")).steps[-1]
        for row in _rows()
        if row["completion"]
    ]
    assert best.scores.tolist() == [[1, 0, 1][int(np.argmax(last))]]
    assert best.extra["aggregation"] == "last"  # its scores mean future success


def test_the_command(run, file, capfd, monkeypatch):
    monkeypatch.setattr(rescore_prm, "load", lambda name: run)
    words = ["search", "--samples", str(file), "--prm", "RUN"]
    assert main([*words, "--json"]) == 0
    results = json.loads(capfd.readouterr().out)["results"]
    weighted = [r for r in results if r["method"] == "weighted"]
    assert [r["budget"] for r in weighted] == [1, 2, 4]
    assert weighted[0]["aggregation"] == "last"
    assert weighted[0]["lowest_at_last_step"] in (0, 0.5, 1)  # two of several steps
    assert main([*words, "--separator", "="]) == 2
    assert "step 2 of 3 holds the separator ','" in capfd.readouterr().err


def test_a_run_that_scores_nothing_is_refused(monkeypatch):
    class Other:
        config = presets.get("grpo_addition")

    monkeypatch.setattr(rescore_prm, "load", lambda name: Other())
    with pytest.raises(UserError, match="recipe 'grpo', which scores nothing"):
        rescore_prm.open_scorer("RUN")
