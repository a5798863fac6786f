# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Counts compilations, so that a step compiled twice is noticed."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax

R = TypeVar("R")

_EVENT = "/jax/core/compile/jaxpr_to_mlir_module_duration"
_count = 0


def watched(fn: Callable[..., R]) -> Callable[..., tuple[R, int]]:
    """Return `fn` giving also the number of programs its call had to lower.

    Lowering happens for every new combination of shapes, types and placement,
    also where the compiled program then comes from a cache.
    """
    _listen()

    def call(*args: Any) -> tuple[R, int]:
        before = _count
        out = fn(*args)
        return out, _count - before

    return call


def compiled_programs() -> int:
    """Return how many programs were lowered since somebody first watched."""
    _listen()
    return _count


@functools.cache
def _listen() -> None:
    """Register once: JAX keeps listeners for the life of the process."""
    jax.monitoring.register_event_duration_secs_listener(_on_event)


def _on_event(event: str, duration_secs: float, **kwargs: Any) -> None:
    del duration_secs, kwargs
    global _count
    _count += event == _EVENT
