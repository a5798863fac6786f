# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest

from lrm_jax.data.views import maze_view, sudoku_view
from lrm_jax.evaluation.trace import (
    ThoughtTrace,
    cell_marks,
    load_traces,
    save_traces,
    trace_thoughts,
)
from lrm_jax.types import UserError
from tests.evaluation.fakes import FakeReasoner, make_problems, solution

REASONER = FakeReasoner()
PLOTS = [(1, 1), (2, 3), (0, 2)]


def traces_of(**kwargs):
    problems = make_problems(PLOTS)
    return trace_thoughts(REASONER, jnp.float32(0), problems, max_steps=4, **kwargs)


def test_traces_by_hand():
    problems = make_problems(PLOTS)
    traces = traces_of()
    assert len(traces) == 3
    for row, (trace, (halts, right)) in enumerate(zip(traces, PLOTS, strict=True)):
        np.testing.assert_array_equal(trace.inputs, problems["inputs"][row])
        np.testing.assert_array_equal(trace.labels, problems["labels"][row])
        want = np.asarray(solution(trace.inputs))
        exact = (trace.preds == want).all(1)
        np.testing.assert_array_equal(exact, np.arange(1, 5) >= right)
        fired = np.arange(1, 5) >= (halts or 99)
        up = 1 / (1 + np.exp(-2))
        np.testing.assert_allclose(
            trace.halt_prob, np.where(fired, up, 1 - up), rtol=1e-6
        )
        # One logit of 3 among eleven of 0.
        sure = np.exp(3) / (np.exp(3) + 11)
        np.testing.assert_allclose(trace.confidence, sure, rtol=1e-6)


def test_early_stop_ends_the_trace():
    lengths = [len(trace.preds) for trace in traces_of(early_stop="halt")]
    assert lengths == [1, 2, 4]
    assert [len(t.halt_prob) for t in traces_of(early_stop="halt")] == lengths


def test_rows_can_be_chosen_and_labels_absent():
    (trace,) = traces_of(indices=[2])
    np.testing.assert_array_equal(trace.inputs, make_problems(PLOTS)["inputs"][2])
    problems = make_problems(PLOTS)
    del problems["labels"]
    traces = trace_thoughts(REASONER, jnp.float32(0), problems, max_steps=2)
    assert all(trace.labels is None for trace in traces)


def test_cell_marks_by_hand():
    trace = ThoughtTrace(
        np.array([1, 1, 1]),
        np.array([[2, 3, 4]]),
        np.ones((1, 3), np.float32),
        np.ones(1, np.float32),
        np.array([2, 9, -100]),
    )
    np.testing.assert_array_equal(cell_marks(trace, 0), [1, -1, 0])
    np.testing.assert_array_equal(cell_marks(trace._replace(labels=None), 0), [0, 0, 0])


@pytest.mark.parametrize("view", [sudoku_view(6), maze_view(5)])
def test_save_and_load_round_trip(tmp_path, view):
    traces = traces_of(early_stop="halt")
    traces[1] = traces[1]._replace(labels=None)
    path = tmp_path / "report" / "traces.npz"
    save_traces(path, traces, view)
    back, back_view = load_traces(path)
    assert back_view == view
    for ours, theirs in zip(traces, back, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            if a is None:
                assert b is None
            elif isinstance(a, bool):
                assert a is b
            else:
                assert a.dtype == b.dtype
                np.testing.assert_array_equal(a, b)
    assert list(path.parent.iterdir()) == [path]


def test_bad_files_are_refused_and_pickles_never_run(tmp_path):
    path = tmp_path / "traces.npz"
    path.write_bytes(b"no zip")
    with pytest.raises(UserError, match="traces.npz.: not readable"):
        load_traces(path)
    save_traces(path, traces_of(), sudoku_view(6))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match="not readable"):
        load_traces(path)
    np.savez(path, view=np.array([print], object), count=1)
    assert zipfile.is_zipfile(path)
    with pytest.raises(UserError, match="not readable"):
        load_traces(path)
