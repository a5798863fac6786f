# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import io

import matplotlib.image
import numpy as np
import pytest

from lrm_jax.evaluation import plots


def pixels(png):
    image = matplotlib.image.imread(io.BytesIO(png))
    assert png.startswith(b"\x89PNG")
    return image[..., :3]


def has_colour(png, colour, least=50):
    """Whether enough pixels have (nearly) this colour."""
    want = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return (np.abs(pixels(png) - want).max(-1) < 0.03).sum() >= least


def curve(accuracies):
    return [
        {
            "steps": i + 1,
            "exact_accuracy": a,
            "ci95": [max(0, a - 0.1), min(1, a + 0.1)],
        }
        for i, a in enumerate(accuracies)
    ]


def test_training_curves_draw_what_was_logged():
    records = [
        {"step": s, "loss/total": 1 / s, "loss/lm": 0.5 / s} for s in range(1, 9)
    ]
    only_loss = plots.plot_training_curves(records)
    records[-1] |= {"eval/exact_accuracy": 0.5, "eval/token_accuracy": None}
    with_eval = plots.plot_training_curves(records)
    assert pixels(with_eval).shape[1] == 2 * pixels(only_loss).shape[1]
    assert has_colour(only_loss, plots.BLUE) and has_colour(only_loss, plots.VERMILION)


def test_training_curves_of_an_empty_or_diverged_run():
    assert pixels(plots.plot_training_curves([])).size
    records = [{"step": 1, "loss/total": float("nan")}, {"step": 2, "loss/total": None}]
    assert pixels(plots.plot_training_curves(records)).size


def test_budget_plot_has_a_line_per_curve_and_early_stops():
    one = plots.plot_accuracy_by_budget({"run": curve([0.2, 0.5, 0.9])})
    assert has_colour(one, plots.BLUE) and not has_colour(one, plots.VERMILION)
    results = [
        {"budget": "3", "mean_steps": 3.0, "exact_accuracy": 0.9, "ci95": [0.8, 1.0]},
        {
            "budget": "3+halt",
            "mean_steps": 1.6,
            "exact_accuracy": 0.8,
            "ci95": [0.7, 0.9],
        },
    ]
    two = plots.plot_accuracy_by_budget(
        {"run": curve([0.2, 0.5, 0.9]), "control": curve([0.3])}, results=results
    )
    assert has_colour(two, plots.VERMILION) and has_colour(two, plots.GREEN)
    assert not has_colour(two, plots.ORANGE)  # fixed budgets lie on the curve


def test_halting_histogram_marks_never():
    assert has_colour(plots.plot_halting_histogram([3, 2, 1], 0), plots.BLUE)
    assert has_colour(plots.plot_halting_histogram([0, 0], 4), "#bbbbbb")
    assert pixels(plots.plot_halting_histogram([0] * 40, 0)).size


def test_reliability_without_bins():
    empty = {"auroc": None, "ece": None, "bins": []}
    assert pixels(plots.plot_reliability(empty)).size
    one = {"low": 0.0, "high": 0.5, "n": 3, "confidence": 0.3, "accuracy": 0.6}
    drawn = plots.plot_reliability({"auroc": 0.5, "ece": 0.3, "bins": [one]})
    assert has_colour(drawn, plots.VERMILION, least=10)


def test_equal_data_equal_bytes():
    draw = lambda: plots.plot_accuracy_by_budget({"run": curve([0.2, 0.9])})
    assert draw() == draw()


@pytest.fixture(autouse=True)
def style_stays_ours():
    import matplotlib

    before = dict(matplotlib.rcParams)
    yield
    assert dict(matplotlib.rcParams) == before
