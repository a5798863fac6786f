# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A run ended in every way goes on with other devices and processes."""

import pytest

from tests.recipes.chaos_layouts import run_chaos


@pytest.mark.nightly
def test_no_run_is_lost_and_no_resume_is_wrong(tmp_path):
    tally = run_chaos(tmp_path, 50, seed=0)
    assert tally.lost == [] and tally.wrong == []
    assert tally.moved > 10 and min(tally.repeated) > 10 and tally.in_save > 0
