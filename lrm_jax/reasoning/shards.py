# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Token loops split over a mesh: each part of a batch ends when its own rows have.

The loop runs under `shard_map` with the batch axes manual, so that the compiler can
put no collective over them into it: where parts take different numbers of turns, such
a collective would wait for ever. Weights split over these axes are gathered once, on
the way in. The model axis stays the compiler's: the devices along it hold the same
rows and turn together.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
from jax.sharding import PartitionSpec as P

from lrm_jax.reasoning.sampling import SamplingParams
from lrm_jax.reasoning.token_budget import TokenBudget
from lrm_jax.sharding import BATCH_AXES
from lrm_jax.types import Array

Whole = TypeVar("Whole")
Rows = TypeVar("Rows")
Out = TypeVar("Out")


class Requests(NamedTuple):
    """What is to be written; a prompt's completions are neighbours.

    Attributes:
      prompt_ids: `[Q, P]` int32.
      prompt_mask: `[Q, P]`.
      sequence_ids: `[B]` int32.
      sampling: of each row.
      budget: of each row, or None.
    """

    prompt_ids: Array  # [Q, P]
    prompt_mask: Array  # [Q, P]
    sequence_ids: Array  # [B]
    sampling: SamplingParams
    budget: TokenBudget | None


def batch_parts(prompts: int) -> int:
    """Return into how many parts the mesh in use splits so many prompts.

    1 where they do not divide: then every device along the batch axes writes all.
    """
    parts = mesh_parts()
    return 1 if prompts % parts else parts


def on_batch_parts(
    function: Callable[[Whole, Requests], Out], whole: Whole, requests: Requests
) -> Out:
    """Return `function(whole, requests)`, run for each part of the prompts apart.

    Without a mesh that splits batches, it is just called.

    Args:
      function: pure; every array it returns has an axis of rows, or of parts, first.
      whole: pytree that each part gets whole along the batch axes.
      requests: split by prompts, whose completions stay together.
    """
    rows = rows_spec(len(requests.prompt_ids))
    return on_parts(function, whole, requests, _specs(requests, rows), rows)


def rows_spec(count: int) -> P:
    """Return how so many rows are split: by the batch axes, or not at all."""
    return P(_batch_axes()) if batch_parts(count) > 1 else P()


def on_parts(
    function: Callable[[Whole, Rows], Out],
    whole: Whole,
    rows: Rows,
    specs: Any,
    out: Any,
) -> Out:
    """Return `function(whole, rows)` under `shard_map`, batch axes manual.

    Without a mesh that splits batches, it is just called.

    Args:
      function: pure.
      whole: pytree that each part gets whole along the batch axes.
      rows: pytree of what is split.
      specs: of `rows`, or of a prefix of that tree: see `rows_spec`.
      out: of everything that the function returns, or a tree of such.
    """
    if mesh_parts() == 1:
        return function(whole, rows)
    mesh, axes = jax.sharding.get_abstract_mesh(), _batch_axes()
    # Where no other axis splits anything, nothing is left to the compiler.
    manual = {a for a in mesh.axis_names if a in axes or mesh.shape[a] == 1}
    mapped = jax.shard_map(
        function,
        in_specs=(P(), specs),
        out_specs=out,
        axis_names=manual,
        check_vma=False,
    )
    return mapped(whole, rows)


def _batch_axes() -> tuple[str, ...]:
    """Return the batch axes of the mesh in use that are not manual already."""
    mesh = jax.sharding.get_abstract_mesh()
    return tuple(a for a in BATCH_AXES if a in mesh.shape and a not in mesh.manual_axes)


def mesh_parts() -> int:
    """Return into how many parts the mesh in use can split a batch."""
    shape = jax.sharding.get_abstract_mesh().shape
    return math.prod(shape[name] for name in _batch_axes())


def _specs(requests: Requests, rows: P) -> Requests:
    """Return where each array goes: rows are split, tables that they share are not."""
    specs: Requests = jax.tree.map(lambda _: rows, requests)
    if specs.budget is None:
        return specs
    per_row = ("minimum", "maximum", "script", "phase")
    tables: TokenBudget = jax.tree.map(lambda _: P(), requests.budget)
    return specs._replace(budget=tables._replace(**dict.fromkeys(per_row, rows)))
