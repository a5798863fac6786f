# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Bytes between a device and its memory in one run of a compiled program.

Every instruction that runs reads its operands and writes its result; what lies in
on-chip memory moves nothing, a slice moves only itself, and loops count in full.
"""

from collections.abc import Mapping

from lrm_jax.cost import hlo

_FREE = frozenset(
    {
        *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "iota"),
        *("while", "conditional", "call", "after-all", "partition-id", "replica-id"),
        *("async-start", "async-done", "async-update", "opt-barrier", "domain"),
        *("copy-done", "send-done", "recv-done", "all-gather-done"),
        *("all-reduce-done", "collective-permute-done", "slice-done"),
    }
)
_SLICES = ("dynamic-slice", "gather", "slice", "slice-start")


def hbm_bytes(program: hlo.Program, *, while_bound: int | None = None) -> int:
    """Return bytes read and written by one device, an estimate from the text.

    Args:
      program: parsed.
      while_bound: turns of loops whose end depends on data.
    """
    sizes: dict[str, int] = {}
    total = 0
    for run in hlo.executions(program, while_bound=while_bound):
        if run.name not in sizes:
            sizes[run.name] = _of_computation(program, run.name)
        total += run.times * sizes[run.name]
    return total


def _of_computation(program: hlo.Program, name: str) -> int:
    scope = program.computations[name]
    return sum(_of_instruction(program, scope, i) for i in scope.values())


def _of_instruction(
    program: hlo.Program,
    scope: Mapping[str, hlo.Instruction],
    instruction: hlo.Instruction,
) -> int:
    op = instruction.op
    if op in _FREE:
        return 0
    written = _size(instruction)
    operands = [scope[name] for name in instruction.operands if name in scope]
    if op in _SLICES:
        return 2 * written
    if op == "dynamic-update-slice":
        return 2 * _size(operands[1]) if len(operands) > 1 else 0
    if op == "copy-start":  # (result, operand, context)
        sizes = hlo.array_bytes(instruction.shape, hbm_only=True)
        return sum(sizes[:2])
    if op != "fusion":
        return written + sum(map(_size, operands))
    body = instruction.called()["calls"][0]
    root = program.root(body)
    if root.op == "dynamic-update-slice":
        written = _in_hbm(written, _inner_size(program, body, root.operands[1]))
    return written + _read_by_fusion(program, body, operands)


def _read_by_fusion(
    program: hlo.Program, body: str, operands: list[hlo.Instruction]
) -> int:
    """Bytes a fusion reads: of an operand it only slices, the slices."""
    inner = program.computations[body]
    users: dict[str, list[hlo.Instruction]] = {}
    for instruction in inner.values():
        for operand in instruction.operands:
            users.setdefault(operand, []).append(instruction)
    total = 0
    for instruction in inner.values():
        if instruction.op != "parameter":
            continue
        index = int(instruction.inside)
        size = _size(operands[index]) if index < len(operands) else 0
        used = users.get(instruction.name, [])
        if used and all(_only_slices(user, instruction.name) for user in used):
            reads = [_total(u.shape) for u in used if u.op != "dynamic-update-slice"]
            size = _in_hbm(size, sum(reads))
        total += size
    return total


def _only_slices(user: hlo.Instruction, name: str) -> bool:
    first = bool(user.operands) and user.operands[0] == name
    return first and user.op in (*_SLICES, "dynamic-update-slice")


def _inner_size(program: hlo.Program, body: str, name: str) -> int:
    return _total(program.computations[body][name].shape)


def _in_hbm(size: int, part: int) -> int:
    """A part of something: nothing where the whole is on the chip."""
    return min(size, part)


def _size(instruction: hlo.Instruction) -> int:
    return sum(hlo.array_bytes(instruction.shape, hbm_only=True))


def _total(shape: str) -> int:
    return sum(hlo.array_bytes(shape))
