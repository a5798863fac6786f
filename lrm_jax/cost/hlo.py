# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Compiled programs as text: instructions, and how often each of them runs.

XLA prints a loop's body once, and TPU text states no trip counts: they come from the
constant that a loop's condition compares with.
"""

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

_ITEM_BITS = {
    **{"pred": 8, "s4": 4, "u4": 4, "s8": 8, "u8": 8, "s16": 16, "u16": 16},
    **{"s32": 32, "u32": 32, "s64": 64, "u64": 64, "f16": 16, "bf16": 16},
    **{"f32": 32, "f64": 64, "c64": 64, "c128": 128, "s2": 2, "u2": 2},
}
_ARRAY = re.compile(r"([a-z]+\d*[a-z0-9]*)\[([\d,<=]*)\](\{[^}]*\})?")
_NAME = re.compile(r"%([\w.\-]+)")
_HEAD = re.compile(r"^(ENTRY )?%([\w.\-]+) \(")
_CALLED = re.compile(
    r"(?:calls|to_apply|condition|body|true_computation|false_computation)="
    r"%([\w.\-]+)"
)
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_INDEX = re.compile(r"index=(\d+)")
_INTEGER = re.compile(r"^[su]\d+\[\]")


class UnknownTrips(ValueError):
    """A loop whose number of turns the text does not tell."""


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation.

    Attributes:
      name: without the percent sign.
      shape: as printed, layouts included; a tuple's in parentheses.
      op: operation.
      operands: names of what it takes.
      inside: text between the operation's parentheses.
      attributes: text after them.
      is_root: whether it is what the computation returns.
    """

    name: str
    shape: str
    op: str
    operands: tuple[str, ...]
    inside: str
    attributes: str
    is_root: bool

    def called(self) -> dict[str, list[str]]:
        """Computations it names, by the attribute that names them."""
        found: dict[str, list[str]] = {}
        for match in _CALLED.finditer(self.attributes):
            key = match.group(0).partition("=")[0]
            found.setdefault(key, []).append(match.group(1))
        branches = _BRANCHES.search(self.attributes)
        if branches:
            found["branches"] = _NAME.findall(branches.group(1))
        return found


@dataclasses.dataclass(frozen=True)
class Program:
    """A module's computations by name."""

    computations: Mapping[str, Mapping[str, Instruction]]
    entry: str

    def root(self, name: str) -> Instruction:
        """Return what a computation returns."""
        return next(i for i in self.computations[name].values() if i.is_root)


def parse(text: str) -> Program:
    """Return the computations of `compiled.as_text()`."""
    computations: dict[str, dict[str, Instruction]] = {}
    entry, current = "", None
    for line in text.splitlines():
        head = _HEAD.match(line)
        if head and line.endswith("{"):
            current = computations.setdefault(head.group(2), {})
            entry = head.group(2) if head.group(1) else entry
        elif current is not None and " = " in line:
            instruction = _instruction(line)
            current[instruction.name] = instruction
    if not entry:
        raise ValueError("no ENTRY computation: this is no text of a compiled program")
    return Program(computations, entry)


def _instruction(line: str) -> Instruction:
    left, _, rest = line.strip().partition(" = ")
    is_root = left.startswith("ROOT ")
    name = left.removeprefix("ROOT ").lstrip("%")
    end = _closing(rest, 0) if rest.startswith("(") else rest.index(" ") - 1
    shape, rest = rest[: end + 1], rest[end + 2 :]
    op, _, _ = rest.partition("(")
    close = _closing(rest, len(op))
    inside, attributes = rest[len(op) + 1 : close], rest[close + 1 :]
    operands = tuple(_NAME.findall(inside))
    return Instruction(name, shape, op.strip(), operands, inside, attributes, is_root)


def _closing(text: str, start: int) -> int:
    """Place of the parenthesis that closes the one at `start`."""
    depth = 0
    for match in re.compile(r"[()]").finditer(text, start):
        depth += 1 if match.group() == "(" else -1
        if not depth:
            return match.start()
    raise ValueError(f"unbalanced parentheses: {text[:80]}")


def array_bytes(shape: str, *, hbm_only: bool = False) -> list[int]:
    """Return the bytes of each array of a shape.

    Args:
      shape: as printed.
      hbm_only: count arrays in another memory space (`S(1)`: on-chip) as nothing.
    """
    found = []
    for kind, sizes, layout in _ARRAY.findall(shape):
        if kind not in _ITEM_BITS and not kind.startswith("f8"):
            continue  # token, opaque
        numbers = [int(n) for n in re.findall(r"\d+", sizes)]
        bits = math.prod(numbers) * _ITEM_BITS.get(kind, 8)
        elsewhere = hbm_only and re.search(r"S\([1-9]\d*\)", layout or "")
        found.append(0 if elsewhere else -(-bits // 8))
    return found


class Run(NamedTuple):
    """A computation that runs.

    Attributes:
      name: of the computation.
      times: how often.
      open_loop: whether it is in a loop whose end depends on data.
    """

    name: str
    times: int
    open_loop: bool


def executions(program: Program, *, while_bound: int | None = None) -> Iterator[Run]:
    """Yield the computations that run as such (no fusion's inside).

    A branch counts as taken. A computation called from several places comes up
    once for each.

    Args:
      program: parsed.
      while_bound: turns of loops whose end depends on data.

    Raises:
      UnknownTrips: a loop has no constant bound, and none was given.
    """
    waiting = [Run(program.entry, 1, False)]
    while waiting:
        run = waiting.pop()
        yield run
        for instruction in program.computations[run.name].values():
            called = instruction.called()
            if instruction.op == "while":
                turns, is_open = trip_count(program, run.name, instruction, while_bound)
                waiting += [
                    Run(body, run.times * turns, run.open_loop or is_open)
                    for body in called["body"]
                ]
                continue
            for key in _RUNS.get(instruction.op, ()):
                waiting += [run._replace(name=body) for body in called.get(key, ())]


_RUNS = {
    "conditional": ("branches", "true_computation", "false_computation"),
    "call": ("to_apply", "calls"),
    "async-start": ("to_apply", "calls"),
}
"""Operation -> attributes that name computations it runs as they are."""


def trip_count(
    program: Program, within: str, loop: Instruction, while_bound: int | None = None
) -> tuple[int, bool]:
    """Return how often a loop's body runs, and whether data can end it earlier.

    The one integer constant of its condition, less where the counter begins. A
    condition that compares with no constant, or looks at more than a counter (the
    end depends on data), takes `while_bound`.

    Raises:
      UnknownTrips: it has no constant, or several.
    """
    condition = loop.called()["condition"][0]
    limits = {
        int(i.inside)
        for i in _with_fused(program, condition)
        if i.op == "constant" and _INTEGER.match(i.shape)
    }
    reads = {i.op for i in _with_fused(program, condition)}
    by_data = bool(reads & {"and", "or", "reduce", "custom-call", "all-reduce"})
    if by_data or len(limits) != 1:
        if while_bound is not None:
            return while_bound, True
        shown = ", ".join(map(str, sorted(limits))) or "no constant"
        raise UnknownTrips(
            f"loop {loop.name}: its condition has {shown}; state the recipe's bound"
        )
    first = _first_value(program, within, loop, condition)
    return max(limits.pop() - first, 0), False


def _first_value(program: Program, within: str, loop: Instruction, cond: str) -> int:
    """What the counter begins with; 0 where the text does not tell."""
    lines = program.computations[cond].values()
    counters = [
        int(match.group(1))
        for i in lines
        if i.op == "get-tuple-element" and _INTEGER.match(i.shape)
        if (match := _INDEX.search(i.attributes))
    ]
    scope = program.computations[within]
    start = scope.get(loop.operands[0])
    if len(counters) != 1 or start is None or start.op != "tuple":
        return 0
    first = scope.get(start.operands[counters[0]])
    while first is not None and first.op in ("copy", "bitcast"):
        first = scope.get(first.operands[0])
    return int(first.inside) if first is not None and first.op == "constant" else 0


def _with_fused(program: Program, name: str) -> Iterator[Instruction]:
    """Instructions of a computation and of the fusions and calls inside it."""
    for instruction in program.computations[name].values():
        yield instruction
        if instruction.op in ("fusion", "call"):
            for bodies in instruction.called().values():
                for body in bodies:
                    yield from _with_fused(program, body)


def fused(program: Program, instruction: Instruction) -> Iterator[Instruction]:
    """Instructions inside a fusion, fusions within it included."""
    for body in instruction.called().get("calls", ()):
        yield from _with_fused(program, body)
