# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What devices tell each other: collectives of a compiled program by mesh axis.

Bytes are those that each device sends on a ring: (n-1)/n of the whole for a gather
or a reduce-scatter among n, twice that for an all-reduce.
"""

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from lrm_jax.cost import hlo

_KINDS = (
    "all-gather",
    "all-reduce",
    "reduce-scatter",
    "all-to-all",
    "ragged-all-to-all",
    "collective-permute",
    "collective-broadcast",
    "send",
)
_CHANNEL = re.compile(r"channel_id=(\d+)")
_GROUPS = re.compile(r"replica_groups=\{(\{[\d,{} ]*\})?\}")
_IOTA = re.compile(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?")
_MESH = re.compile(
    r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\(?([^)]*)\)?)? \{([^}]*)\}"
)
_PAIRS = re.compile(r"source_target_pairs=\{([\d,{} ]*)\}")
DCN = "dcn"
"""The axis that send and recv between slices are counted under."""


@dataclasses.dataclass(frozen=True)
class Collective:
    """One collective of the text.

    Attributes:
      op: kind, a reduce-scatter also where the TPU prints it as a fusion.
      axis: mesh axes it goes over, joined by `+`; `dcn` between slices.
      group: devices that take part in one.
      whole_bytes: of the array it gathers, reduces or moves, on a device.
      sent_bytes: that a device sends each time.
      count: times a step.
      open_loop: whether that is in a loop whose end depends on data, as a token
        loop's does.
      source: `op_name` of the program's own operation.
    """

    op: str
    axis: str
    group: int
    whole_bytes: int
    sent_bytes: float
    count: int
    open_loop: bool
    source: str


def read_collectives(
    program: hlo.Program,
    axes: Mapping[str, int],
    *,
    while_bound: int | None = None,
) -> list[Collective]:
    """Return the collectives of a program, each line of the text once.

    Args:
      program: parsed.
      axes: sizes of the mesh's axes, outermost first.
      while_bound: turns of loops whose end depends on data.
    """
    return [
        _collective(instruction, scattered, axes, run)
        for run in hlo.executions(program, while_bound=while_bound)
        for instruction, scattered in _of_computation(program, run.name)
    ]


def _of_computation(
    program: hlo.Program, name: str
) -> Iterator[tuple[hlo.Instruction, bool]]:
    """Collectives and whether they are reduce-scatters, each once.

    A collective that runs beside a fusion is printed in the fusion that starts it,
    in all that run meanwhile and in the one that awaits it, under one channel. A
    channel alone says nothing: those of one `shard_map` all have number 1.
    """
    seen: set[tuple[str, ...]] = set()
    for outer in program.computations[name].values():
        inner = hlo.fused(program, outer) if outer.op == "fusion" else (outer,)
        scattered = "all-reduce-scatter" in outer.attributes.partition(" metadata")[0]
        for instruction in inner:
            kind = _kind(instruction.op)
            if kind is None:
                continue
            channel = _CHANNEL.search(instruction.attributes)
            if outer.op == "fusion" and channel:
                source = _source(instruction)
                key = (kind, channel.group(1), instruction.shape, source)
                if key in seen:
                    continue
                seen.add(key)
            yield instruction, scattered and kind == "all-reduce"


def _source(instruction: hlo.Instruction) -> str:
    """The program's own operation that it is of."""
    found = re.search(r'op_name="([^"]*)"', instruction.attributes)
    return found.group(1) if found else ""


def _kind(op: str) -> str | None:
    base = op.removesuffix("-start")
    return base if base in _KINDS else None


def _collective(
    instruction: hlo.Instruction,
    scattered: bool,
    axes: Mapping[str, int],
    run: hlo.Run,
) -> Collective:
    op = _kind(instruction.op) or ""
    sizes = hlo.array_bytes(instruction.shape)
    if instruction.op.endswith("-start"):
        sizes = _results(instruction)
    whole, groups = sum(sizes), device_groups(instruction.attributes, axes)
    group = len(groups[0]) if groups else math.prod(axes.values())
    if op == "reduce-scatter":
        whole *= group
    if scattered:
        op = "reduce-scatter"
    if op == "send":
        whole, group, axis = sum(sizes[:1]), 2, DCN
    else:
        axis = axes_of(groups, axes)
    return Collective(
        op=op,
        axis=axis,
        group=group,
        whole_bytes=whole,
        sent_bytes=whole * _share(op, group),
        count=run.times,
        open_loop=run.open_loop,
        source=_source(instruction),
    )


def _results(start: hlo.Instruction) -> list[int]:
    """Bytes of the arrays that a collective begun here results in.

    The shape is (operands, results, ...); an all-reduce's has the results alone.
    """
    sizes = hlo.array_bytes(start.shape)
    if start.op == "all-reduce-start":
        return sizes
    count = max(len(start.operands), 1)
    return sizes[count : 2 * count] or sizes


def _share(op: str, group: int) -> float:
    """How often its whole a device sends on a ring of `group`."""
    if op in ("collective-permute", "collective-broadcast", "send"):
        return 1.0
    share = (group - 1) / group
    return 2 * share if op == "all-reduce" else share


def device_groups(attributes: str, axes: Mapping[str, int]) -> list[list[int]]:
    """Return which devices, by place on the mesh, a collective is among.

    XLA writes groups as lists, as a reshaped and transposed iota, and as axes of a
    mesh. Pairs of a permutation are groups of two.
    """
    pairs = _PAIRS.search(attributes)
    if pairs:
        return [_ints(pair) for pair in re.findall(r"\{([\d,]+)\}", pairs.group(0))]
    iota = _IOTA.search(attributes)
    if iota:
        shape, dims = _ints(iota.group(1)), _ints(iota.group(2))
        ids = np.arange(math.prod(dims)).reshape(dims)
        if iota.group(3):
            ids = ids.transpose(_ints(iota.group(3)))
        return ids.reshape(shape[0], -1).tolist()
    named = _MESH.search(attributes)
    if named:
        return _mesh_groups(*named.groups())
    listed = _GROUPS.search(attributes)
    if listed and listed.group(1):
        return [_ints(g) for g in re.findall(r"\{([\d,]+)\}", listed.group(1))]
    return [list(range(math.prod(axes.values())))]


def _mesh_groups(sizes: str, ids: str | None, used: str) -> list[list[int]]:
    """Groups of `mesh['a'=2,'b'=4] {'b'}`; an axis may be a part, `'b':(1)2`."""
    mesh = {name: int(n) for name, n in re.findall(r"'([^']+)'=(\d+)", sizes)}
    grid = np.arange(math.prod(mesh.values()))
    if ids:
        order = re.match(r"\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+))?", ids)
        if order is None:
            raise ValueError(f"unknown order of devices: {ids}")
        grid = grid.reshape(_ints(order.group(2)))
        if order.group(3):
            grid = grid.transpose(_ints(order.group(3)))
    shape: list[int] = []
    inside: list[int] = []
    parts = re.findall(r"'([^']+)'(?::\((\d+)\)(\d+))?", used)
    for name, size in mesh.items():
        cut = next((p for p in parts if p[0] == name), None)
        if cut is None:
            shape.append(size)
        elif not cut[1]:
            inside.append(len(shape))
            shape.append(size)
        else:
            before, here = int(cut[1]), int(cut[2])
            inside.append(len(shape) + 1)
            shape += [before, here, size // before // here]
    grid = grid.reshape(shape)
    outside = [i for i in range(len(shape)) if i not in inside]
    group = math.prod(shape[i] for i in inside)
    return grid.transpose([*outside, *inside]).reshape(-1, group).tolist()


def axes_of(groups: Sequence[Sequence[int]], axes: Mapping[str, int]) -> str:
    """Return the mesh axes along which the devices of a group differ."""
    shape = tuple(axes.values())
    varying: set[str] = set()
    for group in groups:
        places = np.array(np.unravel_index(np.asarray(group), shape))
        for name, row in zip(axes, places, strict=True):
            if len(set(row.tolist())) > 1:
                varying.add(name)
    return "+".join(name for name in axes if name in varying) or "none"


def by_axis(found: Sequence[Collective]) -> list[dict[str, object]]:
    """Return {op, axis, bytes, count} a step, summed, the most bytes first."""
    sums: dict[tuple[str, str], list[float]] = {}
    for one in found:
        entry = sums.setdefault((one.op, one.axis), [0.0, 0])
        entry[0] += one.sent_bytes * one.count
        entry[1] += one.count
    rows = sorted(sums.items(), key=lambda item: -item[1][0])
    return [
        {"op": op, "axis": axis, "bytes": int(total), "count": int(count)}
        for (op, axis), (total, count) in rows
    ]


def _ints(text: str) -> list[int]:
    return [int(n) for n in text.split(",")]
