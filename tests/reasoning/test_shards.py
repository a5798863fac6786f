# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Token loops over a mesh: the same tokens, no collective over the batch in a loop."""

import dataclasses
import functools
import math

import jax
import numpy as np
import pytest

from lrm_jax import sharding
from lrm_jax.cost import hlo
from lrm_jax.cost.collectives import read_collectives
from lrm_jax.models.policy import token_policy
from lrm_jax.models.policy_config import MoeConfig, PolicyConfig
from lrm_jax.reasoning import decoding
from lrm_jax.reasoning.decoding import generate_jit
from lrm_jax.reasoning.prompts import pad_prompts
from lrm_jax.reasoning.refill import generate_refilled_jit
from lrm_jax.reasoning.sampling import sampling_params
from lrm_jax.reasoning.shards import batch_parts
from lrm_jax.reasoning.stops import stop_table
from lrm_jax.reasoning.token_budget import ThinkingTags, token_budgets

POLICY = PolicyConfig(
    vocab_size=48,
    d_model=32,
    n_layers=1,
    n_heads=4,
    n_kv_heads=2,
    d_ff=32,
    max_seq_len=64,
    tied_embeddings=False,
)
PROMPTS = [[1, 2, 3], [4, 5, 6, 7, 8], [9], [10, 11], [2], [3, 1], [7, 7, 7], [5]]
BYTES = [bytes([65 + i % 26]) for i in range(48)]
COUNT, GROUP, LONG = len(PROMPTS), 2, 12
BATCH = {*sharding.BATCH_AXES}


@functools.cache
def policy(moe=None):
    policy = token_policy(dataclasses.replace(POLICY, moe=moe))
    return policy, jax.device_get(jax.jit(policy.init)(jax.random.key(0)))


def requests(first=0, last=COUNT):
    """Arguments and options for some of the prompts; their rows keep their numbers."""
    rows = np.arange(first * GROUP, last * GROUP)
    ids, mask = pad_prompts(PROMPTS[first:last], (8,), vocab_size=48)
    tags = ThinkingTags(open=(3,), close=(4,), wait=(5,))
    budgets = ["0", "3", "-1", "2+halt"] * COUNT
    limits = [LONG - 3 * (row % 3) for row in rows]
    options = {
        "sampling": sampling_params(len(rows), max_new=limits, temperature=0.9),
        "key": jax.random.key(3),
        "sequence_ids": rows.astype(np.int32),
        "stops": stop_table(BYTES, [47], ["BC"]),
        "budget": token_budgets([budgets[i] for i in rows], tags, BYTES, cap=4),
    }
    return (ids, mask), options


STATIC = {"group_size": GROUP, "max_new_tokens": LONG, "pad_id": 1}


@functools.cache
def plain(count=COUNT, moe=None):
    """What one device writes."""
    arguments, options = requests(0, count)
    return jax.device_get(generate_jit(*policy(moe), *arguments, **options, **STATIC))


@functools.cache
def mesh_of(shape):
    return sharding.make_mesh(sharding.MeshConfig(*shape))


def spread(shape, written, count=COUNT, moe=None, **static):
    """What a mesh writes, the text of its program, and where its weights were."""
    mesh, (model, params) = mesh_of(shape), policy(moe)
    where = sharding.tree_shardings(mesh, params, model.axes)
    params = sharding.put(params, where)
    arguments, options = requests(0, count)
    with sharding.use_mesh(mesh):
        lowered = written.lower(
            model, params, *arguments, **options, **STATIC, **static
        )
        compiled = lowered.compile()
        found = compiled(params, *arguments, **options)
    return jax.device_get(found), compiled.as_text(), params


def same(found, expected):
    for name in ("ids", "mask", "forced", "length", "stop", "thinking_tokens"):
        here, there = getattr(found, name), getattr(expected, name)
        np.testing.assert_array_equal(here, there, err_msg=name)
    np.testing.assert_allclose(found.logps, expected.logps, atol=1e-5)


def in_loops(text, mesh):
    """Collectives in bodies and conditions of loops, however deep."""
    program = hlo.parse(text)
    parts = {
        part
        for computation in program.computations.values()
        for instruction in computation.values()
        if instruction.op == "while"
        for key in ("body", "condition")
        for part in instruction.called()[key]
    }
    assert parts
    inside = [hlo.Program(program.computations, part) for part in parts]
    axes = dict(mesh.shape)
    return [x for one in inside for x in read_collectives(one, axes, while_bound=1)]


def over_batch(collectives):
    return [x for x in collectives if set(x.axis.split("+")) & BATCH]


def gathered_bytes(params):
    """Of each leaf that the batch axes split, as the model axis leaves it."""
    found = []
    for leaf in jax.tree.leaves(params):
        names = {a for part in leaf.sharding.spec for a in np.ravel(part) if a}
        if names & BATCH:
            parts = math.prod(leaf.sharding.mesh.shape[a] for a in names - BATCH)
            found.append(leaf.nbytes // parts)
    return found


@pytest.mark.parametrize(
    "shape", [pytest.param((8, 1, 1), marks=pytest.mark.nightly), (1, 8, 1), (2, 2, 2)]
)
def test_a_loop_speaks_along_the_model_axis_alone(shape):
    found, text, params = spread(shape, generate_jit)
    same(found, plain())
    assert len(set(found.length.tolist())) > 3
    mesh = mesh_of(shape)
    inside = in_loops(text, mesh)
    assert {one.axis for one in inside} == ({"model"} if shape[2] > 1 else set())
    gathers = over_batch(
        read_collectives(hlo.parse(text), dict(mesh.shape), while_bound=9)
    )
    expected = gathered_bytes(params)
    assert {(one.op, one.count) for one in gathers} <= {("all-gather", 1)}
    assert len(gathers) <= len(expected)
    assert sum(one.whole_bytes for one in gathers) == sum(expected)


def test_left_to_the_compiler_lanes_wait_for_each_other(monkeypatch):
    # What the test above would find without `shard_map`.
    monkeypatch.setattr(decoding, "on_batch_parts", lambda write, *rest: write(*rest))
    write = lambda *args, **options: decoding.generate(*args, **options)
    jitted = jax.jit(write, static_argnums=0, static_argnames=[*STATIC])
    _, text, _ = spread((1, 8, 1), jitted)
    assert over_batch(in_loops(text, mesh_of((1, 8, 1))))


@pytest.mark.parametrize(
    "shape", [pytest.param((1, 8, 1), marks=pytest.mark.nightly), (2, 2, 2)]
)
def test_every_part_refills_lanes_of_its_own(shape):
    found, text, _ = spread(shape, generate_refilled_jit, lanes=8)
    same(found.completions, plain())
    mesh = mesh_of(shape)
    assert not over_batch(in_loops(text, mesh))
    # As many steps as the part that takes the most would take alone.
    parts = shape[0] * shape[1]
    each = COUNT // parts
    steps = []
    for part in range(parts):
        arguments, options = requests(part * each, part * each + each)
        alone = generate_refilled_jit(
            *policy(), *arguments, **options, **STATIC, lanes=8 // parts
        )
        steps.append(int(alone.steps))
    assert int(found.steps) == max(steps) > min(steps)


@pytest.mark.nightly
@pytest.mark.parametrize("dispatch", ["dense", "ragged"])
def test_experts_of_their_own_axis_are_whole_in_a_loop(dispatch):
    moe = MoeConfig(n_experts=4, top_k=2, d_expert=16, dispatch=dispatch)
    shape = (1, 2, 2, 2)  # the last is the expert axis
    found, text, _ = spread(shape, generate_jit, moe=moe)
    same(found, plain(moe=moe))
    assert {one.axis for one in in_loops(text, mesh_of(shape))} == {"model"}


def test_prompts_that_do_not_divide_are_written_everywhere():
    found, text, _ = spread((2, 2, 2), generate_jit, count=3)
    same(found, plain(3))
    assert not over_batch(in_loops(text, mesh_of((2, 2, 2))))
    with sharding.use_mesh(mesh_of((2, 2, 2))):
        assert [batch_parts(n) for n in (3, 4, 6, 8)] == [1, 4, 1, 4]
    assert batch_parts(8) == 1  # without a mesh
