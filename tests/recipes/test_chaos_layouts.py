# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A run ended in every way goes on with other devices and processes."""

import pytest

from tests.recipes.chaos_layouts import Layout, run_chaos

ALONE = (Layout(1, 1), Layout(1, 2, 2))


def test_three_kills_lose_nothing(tmp_path):
    tally = run_chaos(tmp_path, 3, seed=1, layouts=ALONE, finish=False)
    assert tally.lost == [] and tally.wrong == []
    assert (tally.moved, tally.restored, tally.replayed) == (1, 2, 9)
    assert tally.repeated > 0


@pytest.mark.nightly
def test_no_run_is_lost_and_no_resume_is_wrong(tmp_path):
    tally = run_chaos(tmp_path, 50, seed=0)
    assert tally.lost == [] and tally.wrong == []
    assert tally.moved > 10 and tally.restored > 25 and tally.in_save > 5
    assert tally.replayed > 50 and tally.repeated > 10
