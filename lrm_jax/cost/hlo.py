# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Compiled programs as text: instructions, and how often each of them runs.

XLA prints a loop's body once, and TPU text states no trip counts: they come from the
constant that a loop's condition compares with, and from what its body adds.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Iterator, Mapping
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

    The one integer constant of its condition, less where the counter begins, over
    what the body adds to it: XLA unrolls loops (windowed einsums) by two. A
    condition that compares with no constant, or looks at more than a counter (the
    end depends on data), takes `while_bound`.

    Raises:
      UnknownTrips: it has no constant, or several, or what a turn adds to its counter
        cannot be read.
    """
    condition = loop.called()["condition"][0]
    inside = list(_with_fused(program, condition))
    limits = {
        int(i.inside) for i in inside if i.op == "constant" and _INTEGER.match(i.shape)
    }
    by_data = any(i.op in _BY_DATA for i in inside)
    if by_data or len(limits) != 1:
        if while_bound is not None:
            return while_bound, True
        shown = ", ".join(map(str, sorted(limits))) or "no constant"
        raise UnknownTrips(
            f"loop {loop.name}: its condition has {shown}; state the recipe's bound"
        )
    counter = _counter(program, loop, condition)
    first = _first_value(program, within, loop, counter)
    step = _step(program, loop, counter)
    limit = limits.pop()
    if any(re.search(r"direction=[LG]E", i.attributes) for i in inside):
        limit += 1 if step > 0 else -1
    return max(-((first - limit) // step), 0), False


_BY_DATA = frozenset({"and", "or", "reduce", "custom-call", "all-reduce"})
"""Operations in a condition that look at more than a counter."""


def _counter(program: Program, loop: Instruction, condition: str) -> int:
    """Place of a loop's counter in what the loop carries."""
    found = {
        int(match.group(1))
        for i in program.computations[condition].values()
        if i.op == "get-tuple-element" and _INTEGER.match(i.shape)
        if (match := _INDEX.search(i.attributes))
    }
    if len(found) != 1:
        raise UnknownTrips(
            f"loop {loop.name}: its condition reads {len(found)} counters, not one"
        )
    return found.pop()


def _first_value(program: Program, within: str, loop: Instruction, place: int) -> int:
    """What the counter begins with; 0, as JAX's loops do, where the text does not tell.

    A loop that the CPU's compiler has moved into a computation of its own is handed
    its first counter from outside.
    """
    unknown: _Given = lambda number, path: None
    found = _value(program, within, loop.operands[0], (place,), unknown)
    return 0 if found is None else found.plus


def _step(program: Program, loop: Instruction, place: int) -> int:
    """What a turn adds to the counter."""
    body = loop.called()["body"][0]
    counter: _Given = lambda number, path: _Line(1, 0) if path == (place,) else None
    found = _value(program, body, program.root(body).name, (place,), counter)
    if found is None or found.times != 1 or not found.plus:
        raise UnknownTrips(
            f"loop {loop.name}: what a turn adds to its counter is not told"
        )
    return found.plus


class _Line(NamedTuple):
    """`times` the counter of a loop, and a constant."""

    times: int
    plus: int


_Given = Callable[[int, tuple[int, ...]], _Line | None]
"""Value of a computation's parameter by its number and places in nested tuples."""

_SAME = frozenset({"copy", "copy-start", "copy-done", "bitcast", "opt-barrier"})


def _value(
    program: Program, within: str, name: str, path: tuple[int, ...], given: _Given
) -> _Line | None:
    """Return an integer as a line in the counter; None where it is none.

    Args:
      program: parsed.
      within: computation.
      name: instruction.
      path: places in the tuples it returns, outermost first.
      given: values of the computation's parameters.
    """
    here = program.computations[within][name]
    of = lambda operand, path=(): _value(program, within, operand, path, given)
    if here.op == "parameter":
        return given(int(here.inside), path)
    if here.op == "get-tuple-element":
        index = _INDEX.search(here.attributes)
        return of(here.operands[0], (int(index.group(1)), *path)) if index else None
    if here.op == "tuple":
        return of(here.operands[path[0]], path[1:]) if path else None
    if here.op in _SAME:
        return of(here.operands[0], path)
    if here.op in ("fusion", "call"):
        (inner,) = next(iter(here.called().values()))
        argument: _Given = lambda number, path: of(here.operands[number], path)
        return _value(program, inner, program.root(inner).name, path, argument)
    if path or not _INTEGER.match(here.shape):
        return None
    if here.op == "constant":
        return _Line(0, int(here.inside))
    if here.op in ("add", "subtract"):
        left, right = map(of, here.operands)
        if left is None or right is None:
            return None
        sign = 1 if here.op == "add" else -1
        return _Line(left.times + sign * right.times, left.plus + sign * right.plus)
    return None


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
