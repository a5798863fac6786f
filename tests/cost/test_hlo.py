# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reading compiled programs: how often things run, what is sent, along which axis."""

import pytest

from lrm_jax.cost import hlo, traffic
from lrm_jax.cost.collectives import axes_of, by_axis, device_groups, read_collectives

AXES = {"data": 2, "fsdp": 2, "model": 2}

# As libtpu prints it, shortened: a loop of 6 over layers with a gather, a gradient's
# reduce-scatter as a fusion, and a gather beside a product under one channel.
TEXT = """HloModule jit_step, is_scheduled=true

%add (x: bf16[], y: bf16[]) -> bf16[] {
  %x = bf16[] parameter(0)
  %y = bf16[] parameter(1)
  ROOT %sum = bf16[] add(%x, %y)
}

%begin (p.0: bf16[16,8]) -> (bf16[16,8], bf16[32,8]) {
  %p.0 = bf16[16,8]{1,0} parameter(0)
  %g.1 = bf16[32,8]{1,0} all-gather(%p.0), channel_id=9, replica_groups={{0,2},{4,6},{1,3},{5,7}}, dimensions={0}
  ROOT %c.1 = (bf16[16,8]{1,0}, bf16[32,8]{1,0}) custom-call(%g.1), custom_call_target="AsyncCollectiveStart"
}

%finish (p.1: bf16[16,8]) -> bf16[32,8] {
  %p.1 = bf16[16,8]{1,0} parameter(0)
  ROOT %g.2 = bf16[32,8]{1,0} all-gather(%p.1), channel_id=9, replica_groups={{0,2},{4,6},{1,3},{5,7}}, dimensions={0}
}

%all-reduce-scatter.1 (p.2: bf16[32,8]) -> bf16[16,8] {
  %p.2 = bf16[32,8]{1,0} parameter(0)
  %r.1 = bf16[32,8]{1,0} all-reduce(%p.2), channel_id=3, replica_groups={{0,2},{4,6},{1,3},{5,7}}, to_apply=%add
  %zero = s32[] constant(0)
  ROOT %cut = bf16[16,8]{1,0} dynamic-slice(%r.1, %zero, %zero), dynamic_slice_sizes={16,8}
}

%one_layer (p.3: bf16[6,16,8], i.1: s32[]) -> bf16[16,8] {
  %p.3 = bf16[6,16,8]{2,1,0} parameter(0)
  %i.1 = s32[] parameter(1)
  ROOT %layer = bf16[16,8]{1,0} dynamic-slice(%p.3, %i.1, %i.1, %i.1), dynamic_slice_sizes={1,16,8}
}

%body (carry: (s32[], bf16[6,16,8])) -> (s32[], bf16[6,16,8]) {
  %carry = (s32[], bf16[6,16,8]{2,1,0}) parameter(0)
  %i = s32[] get-tuple-element(%carry), index=0
  %w = bf16[6,16,8]{2,1,0} get-tuple-element(%carry), index=1
  %mine = bf16[16,8]{1,0:T(8,128)(2,1)S(1)} fusion(%w, %i), kind=kLoop, calls=%one_layer
  %start = (bf16[16,8]{1,0:S(1)}, bf16[32,8]{1,0:S(1)}) fusion(%mine), kind=kCustom, calls=%begin
  %done = bf16[32,8]{1,0:S(1)} fusion(%mine), kind=kCustom, calls=%finish
  %grad = bf16[16,8]{1,0:S(1)} fusion(%done), kind=kCustom, calls=%all-reduce-scatter.1
  %sum.2 = bf16[16,8]{1,0:S(1)} all-reduce(%grad), channel_id=5, replica_groups=[4,2]<=[8], to_apply=%add, metadata={op_name="jit(step)/dot"}
  %one = s32[] constant(1)
  %next = s32[] add(%i, %one)
  ROOT %out = (s32[], bf16[6,16,8]{2,1,0}) tuple(%next, %w)
}

%condition (carry.1: (s32[], bf16[6,16,8])) -> pred[] {
  %carry.1 = (s32[], bf16[6,16,8]{2,1,0}) parameter(0)
  %i.2 = s32[] get-tuple-element(%carry.1), index=0
  %limit = s32[]{:T(128)} constant(8)
  ROOT %lt = pred[] compare(%i.2, %limit), direction=LT
}

ENTRY %main (w.1: bf16[6,16,8]) -> bf16[6,16,8] {
  %w.1 = bf16[6,16,8]{2,1,0} parameter(0)
  %first = s32[] constant(2)
  %begin.2 = (s32[], bf16[6,16,8]{2,1,0}) tuple(%first, %w.1)
  %loop = (s32[], bf16[6,16,8]{2,1,0}) while(%begin.2), condition=%condition, body=%body
  ROOT %w.2 = bf16[6,16,8]{2,1,0} get-tuple-element(%loop), index=1
}
"""  # noqa: E501


def test_a_loop_runs_from_its_first_value_to_its_limit():
    program = hlo.parse(TEXT)
    assert list(hlo.executions(program)) == [("main", 1, False), ("body", 6, False)]


NEXT = "%next = s32[] add(%i, %one)"
FUSED = """%step (p.8: bf16[6,16,8], i.8: s32[]) -> (bf16[6,16,8], s32[]) {
  %p.8 = bf16[6,16,8]{2,1,0} parameter(0)
  %i.8 = s32[] parameter(1)
  %three = s32[] constant(3)
  %i.9 = s32[] add(%three, %i.8)
  ROOT %both = (bf16[6,16,8]{2,1,0}, s32[]) tuple(%p.8, %i.9)
}

%body ("""


@pytest.mark.parametrize(
    ("changes", "turns"),
    [
        ({"%first = s32[] constant(2)": "%first = s32[] constant(0)"}, 8),
        ({"%one = s32[] constant(1)": "%one = s32[] constant(2)"}, 3),
        ({"%one = s32[] constant(1)": "%one = s32[] constant(4)"}, 2),  # 2, 6
        (
            {
                NEXT: "%second = s32[]{:T(128)} add(%i, %one)\n"
                "  %same = s32[] copy(%second)\n"
                "  %next = s32[] add(%one, %same)"
            },
            3,
        ),
        (
            {
                "%body (": FUSED,
                NEXT: "%f = (bf16[6,16,8], s32[]) fusion(%w, %i), calls=%step\n"
                "  %next = s32[] get-tuple-element(%f), index=1",
            },
            2,  # 2, 5
        ),
        ({"direction=LT": "direction=LE"}, 7),
        ({"constant(8)": "constant(1)"}, 0),
    ],
)
def test_a_loops_turns_by_its_step(changes, turns):
    text = TEXT
    for before, after in changes.items():
        assert text.count(before) == 1
        text = text.replace(before, after)
    program = hlo.parse(text)
    assert list(hlo.executions(program)) == [("main", 1, False), ("body", turns, False)]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (NEXT, "%next = s32[] multiply(%i, %one)", "what a turn adds"),
        (NEXT, "%next = s32[] add(%i, %i)", "what a turn adds"),
        (NEXT, "%next = s32[] copy(%i)", "what a turn adds"),
    ],
)
def test_a_loop_whose_counter_cannot_be_read_is_refused(before, after, message):
    program = hlo.parse(TEXT.replace(before, after))
    with pytest.raises(hlo.UnknownTrips, match=message):
        list(hlo.executions(program))


def test_a_counter_handed_in_from_outside_begins_at_0():
    text = TEXT.replace("%first = s32[] constant(2)", "%first = s32[] parameter(1)")
    turns = list(hlo.executions(hlo.parse(text)))
    assert turns == [("main", 1, False), ("body", 8, False)]


def test_a_loop_that_ends_by_data_needs_a_bound():
    text = TEXT.replace(
        "ROOT %lt = pred[] compare(%i.2, %limit), direction=LT",
        "%lt = pred[] compare(%i.2, %limit), direction=LT\n"
        "  ROOT %both = pred[] and(%lt, %lt)",
    )
    with pytest.raises(hlo.UnknownTrips, match="loop: its condition has 8; state"):
        list(hlo.executions(hlo.parse(text)))
    program = hlo.parse(text)
    assert ("body", 31, True) in list(hlo.executions(program, while_bound=31))
    found = read_collectives(program, AXES, while_bound=31)
    assert all(one.open_loop for one in found)
    text = TEXT.replace("constant(8)", "parameter(1)")
    with pytest.raises(hlo.UnknownTrips, match="no constant"):
        list(hlo.executions(hlo.parse(text)))


def test_collectives_by_axis_bytes_and_times():
    found = read_collectives(hlo.parse(TEXT), AXES)
    whole = 32 * 8 * 2
    # A gather once though printed twice; half of the whole is sent among 2.
    assert by_axis(found) == [
        {"op": "all-gather", "axis": "fsdp", "bytes": 6 * whole // 2, "count": 6},
        {"op": "reduce-scatter", "axis": "fsdp", "bytes": 6 * whole // 2, "count": 6},
        {"op": "all-reduce", "axis": "model", "bytes": 6 * whole // 2, "count": 6},
    ]
    assert [c.source for c in found if c.axis == "model"] == ["jit(step)/dot"]


def test_collectives_of_a_shard_map_share_a_channel():
    """All are number 1 there; only what fusions repeat is one and the same."""
    gather = TEXT[TEXT.index("  %g.1 =") : TEXT.index("  ROOT %c.1")]
    manual = gather.replace("channel_id=9", "channel_id=1").replace("%p.0", "%mine")
    lines = manual.replace("%g.1", "%m.1") + manual.replace("%g.1", "%m.2")
    text = TEXT.replace("  %start = (", lines + "  %start = (")
    (gathers,) = [
        row for row in by_axis(read_collectives(hlo.parse(text), AXES))
        if row["op"] == "all-gather"
    ]  # fmt: skip
    assert gathers["count"] == 3 * 6


@pytest.mark.parametrize(
    ("line", "whole"),
    [
        ("(f32[50]{0}, f32[100]{0}) all-reduce-start(%a, %b)", 600),
        ("f32[50]{0} all-reduce-start(%a)", 200),
        ("(f32[25]{0}, f32[50]{0}) all-gather-start(%a)", 200),
        (
            "((f32[25]{0}, f32[50]{0}), (f32[50]{0}, f32[100]{0})) "
            "all-gather-start(%a, %b)",
            600,
        ),
        (
            "(f32[50]{0}, f32[50]{0}, u32[], u32[]) collective-permute-start(%a)",
            200,
        ),
    ],
)
def test_what_is_begun_counts_its_results(line, whole):
    line = f"{line}, channel_id=7, replica_groups={{{{0,1}},{{2,3}},{{4,5}},{{6,7}}}}"
    text = TEXT.replace("  %first =", f"  %started = {line}\n  %first =")
    (found,) = [c for c in read_collectives(hlo.parse(text), AXES) if c.count == 1]
    assert found.whole_bytes == whole


@pytest.mark.parametrize(
    ("attributes", "axis"),
    [
        ("replica_groups={{0,1},{2,3},{4,5},{6,7}}", "model"),
        ("replica_groups={{0,2},{4,6},{1,3},{5,7}}", "fsdp"),
        ("replica_groups=[4,2]<=[2,4]T(1,0)", "data"),
        ("replica_groups=[2,4]<=[8]", "fsdp+model"),
        ("replica_groups=[4,2]<=[2,2,2]T(0,2,1)", "fsdp"),
        ("replica_groups={}", "data+fsdp+model"),
        ("replica_groups=mesh['a'=2,'b'=4] {'a'}", "data"),
        ("replica_groups=mesh['a'=2,'b'=4] {'b'}", "fsdp+model"),
        ("replica_groups=mesh['a'=8] {'a':(2)2}", "fsdp"),
        ("replica_groups=mesh['axis_0'=8] {'axis_0'}", "data+fsdp+model"),
        ("source_target_pairs={{0,1},{1,0},{2,3},{3,2}}", "model"),
        ("replica_groups=[8,1]<=[8]", "none"),
    ],
)
def test_every_way_of_writing_groups(attributes, axis):
    assert axes_of(device_groups(attributes, AXES), AXES) == axis


def test_what_is_on_the_chip_moves_nothing_and_a_slice_itself():
    # In each turn: the layer and its number, and the counter's sum; not the stack.
    layer, scalars = 16 * 8 * 2, 4 + 3 * 4
    assert traffic.hbm_bytes(hlo.parse(TEXT)) == 6 * (layer + scalars)


def test_shapes():
    assert hlo.array_bytes("(s32[], bf16[6,16,8]{2,1,0}, pred[3])") == [4, 1536, 3]
    assert hlo.array_bytes("f32[4]{0:T(128)S(1)}", hbm_only=True) == [0]
    assert hlo.array_bytes("f8e4m3fn[16]") == [16]
    with pytest.raises(ValueError, match="no ENTRY"):
        hlo.parse("nothing")
