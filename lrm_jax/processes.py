# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Several processes that run one program: who is first, and what all agree on.

Every function here is a no-op, or nearly, where there is one process. Those
that talk must be called by all processes, in the same order.
"""

import functools
import json
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P


def several() -> bool:
    """Return whether there are other processes."""
    return jax.process_count() > 1


def is_first() -> bool:
    """Return whether this process writes files and speaks to people."""
    return jax.process_index() == 0


def wait_for_all(name: str) -> None:
    """Return once every process is here."""
    if several():
        multihost_utils.sync_global_devices(name)


def of_first(value: Any) -> Any:
    """Return the JSON value that process 0 gives; what others give is ignored."""
    if not several():
        return value
    text = json.dumps(value if is_first() else None).encode()
    size = multihost_utils.broadcast_one_to_all(np.int32(len(text)))
    buffer = np.zeros(int(size), np.uint8)
    if is_first():
        buffer[:] = np.frombuffer(text, np.uint8)
    return json.loads(bytes(multihost_utils.broadcast_one_to_all(buffer)))


def of_all(value: Any) -> list[Any]:
    """Return the JSON values of all processes, by their index."""
    if not several():
        return [value]
    text = np.frombuffer(json.dumps(value).encode(), np.uint8)
    sizes = multihost_utils.process_allgather(np.array([len(text)], np.int32))
    buffer = np.zeros(int(sizes.max()), np.uint8)
    buffer[: len(text)] = text
    found = multihost_utils.process_allgather(buffer)
    sizes = np.reshape(sizes, -1)
    return [json.loads(bytes(f[:n])) for f, n in zip(found, sizes, strict=True)]


def own_part(count: int) -> range:
    """Return this process's part of `count` things of which each has one owner."""
    total, index = jax.process_count(), jax.process_index()
    return range(count * index // total, count * (index + 1) // total)


def shared(count: int, work: Callable[[range], Sequence[Any]]) -> list[Any]:
    """Do a part of some work and return the results of all parts, in order.

    Args:
      count: of things to be done.
      work: returns a JSON value for each place of a range.
    """
    return [one for part in of_all(list(work(own_part(count)))) for one in part]


def to_host(tree: Any) -> Any:
    """Return whole numpy arrays, also of arrays that other processes hold parts of."""
    if several():
        tree = jax.tree.map(_whole, tree)
    return jax.device_get(tree)


def _whole(leaf: Any) -> Any:
    if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable:
        return leaf
    if leaf.is_fully_replicated:
        return leaf
    mesh = getattr(leaf.sharding, "mesh", None) or _all_devices()
    return _identity(NamedSharding(mesh, P()))(leaf)


@functools.cache
def _all_devices() -> Mesh:
    return Mesh(np.array(jax.devices()), ("all",))


@functools.cache
def _identity(where: NamedSharding) -> Any:
    return jax.jit(lambda x: x, out_shardings=where)


class Ballot:
    """Process 0's word on what only a clock can say, read one dispatch late.

    A clock differs from process to process, so one decides for all. The word
    goes over the devices behind the step, like a metric: nobody waits for it.
    With one process it is heard at once.
    """

    def __init__(self) -> None:
        """Nothing was said yet."""
        self._several = several()
        self._pending: jax.Array | None = None

    def hear(self, word: int) -> int:
        """Send process 0's word; return the one sent before (0 at first)."""
        if not self._several:
            return word
        before, self._pending = self._pending, _spread(word if is_first() else 0)
        return 0 if before is None else int(np.asarray(before))

    def forget(self) -> None:
        """Drop the word that is under way: it was acted upon."""
        self._pending = None


def _spread(word: int) -> jax.Array:
    mesh = _all_devices()
    words = jax.make_array_from_callback(
        (mesh.size,),
        NamedSharding(mesh, P("all")),
        lambda index: np.full(1, word, np.int32),
    )
    return _greatest(mesh)(words)


@functools.cache
def _greatest(mesh: Mesh) -> Any:
    return jax.jit(lambda x: x.max(), out_shardings=NamedSharding(mesh, P()))
