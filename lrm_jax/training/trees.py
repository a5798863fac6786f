# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Pytrees as named arrays: what a checkpoint's `state/` holds, through Orbax.

A leaf's name is its path (`params/weights/lm_head/kernel`), whatever classes
the tree is made of; typed keys are saved as their data.
"""

import functools
import logging
import re
import sys
import traceback
import warnings
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lrm_jax.training import files
from lrm_jax.types import UserError, first_of

STATE = "state"
Name = tuple[str, ...]
# Python says so when it frees the write, at any time after the failed save.
_NEVER_BEGUN = r"coroutine 'async_serialize_from_host\S*' was never awaited"


def restore_tree(path: files.Path, body: dict[str, Any], abstract: Any) -> Any:
    """Read the arrays that `abstract` names, as it wants them placed.

    Args:
      path: a checkpoint's folder, already checked.
      body: its manifest, `leaves` cut to the part that must be in `abstract`.
      abstract: pytree like the saved one.
    """
    wanted = named_leaves(abstract)
    _refuse_mismatch(path, body["leaves"], wanted)
    restored = read_arrays(path, {name: _sharding(x) for name, x in wanted.items()})
    leaves = [
        _data_to_key(restored[name], body["leaves"]["/".join(name)]) for name in wanted
    ]
    return jax.tree.unflatten(jax.tree.structure(abstract), leaves)


def read_arrays(
    path: files.Path, shardings: Mapping[Name, Any]
) -> dict[Name, jax.Array]:
    """Read the named arrays; where the sharding is None, to the default device."""
    ocp = orbax()

    def how(sharding: Any) -> Any:
        if sharding is None:
            return ocp.RestoreArgs(restore_type=np.ndarray)
        return ocp.ArrayRestoreArgs(sharding=sharding)

    item = nest(dict.fromkeys(shardings, 0))
    args = nest({name: how(sharding) for name, sharding in shardings.items()})
    with ocp.Checkpointer(handler()) as reader:
        tree = reader.restore(
            path / STATE,
            args=ocp.args.PyTreeRestore(
                item=item, restore_args=args, partial_restore=True
            ),
        )
    return {
        name: jnp.array(leaf) if isinstance(leaf, np.ndarray) else leaf
        for name, leaf in named_leaves(tree).items()
    }


@functools.cache
def orbax() -> Any:
    """Import Orbax at first use (1.3 s), without its tracebacks on the console.

    What goes wrong in Orbax is raised by us, in one line.
    """
    import orbax.checkpoint as ocp

    logging.getLogger("absl").addFilter(lambda record: "orbax" not in record.pathname)
    logging.getLogger("asyncio").addFilter(_is_no_second_failure)
    warnings.filterwarnings("ignore", _NEVER_BEGUN, RuntimeWarning)
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if not _is_of_a_dropped_write(unraisable.exc_value):
            before(unraisable)

    sys.unraisablehook = hook
    return ocp


def _is_of_a_dropped_write(error: BaseException | None) -> bool:
    """Whether it is what Orbax leaves behind when one write of a save fails.

    It then closes its event loop (full disk): writes under way have nobody to
    tell that they ended, and writes not begun are never awaited, which is an
    error here where warnings are errors.
    """
    if isinstance(error, RuntimeWarning):
        return re.match(_NEVER_BEGUN, str(error)) is not None
    return str(error) == "Event loop is closed"


def handler() -> Any:
    """How arrays lie on the disk: OCDBT over Zarr 3, as they are.

    Weights hardly compress (12 %), and without trying a save is ten times and a
    restore six times faster than with Orbax's defaults.
    """
    return orbax().PyTreeCheckpointHandler(use_zarr3=True, use_compression=False)


def _is_no_second_failure(record: logging.LogRecord) -> bool:
    """Drop the writes of a failed save that failed after the first one."""
    if "exception was never retrieved" not in record.getMessage():
        return True
    error = record.exc_info[1] if record.exc_info else None
    frames = traceback.walk_tb(error.__traceback__ if error else None)
    in_orbax = any("orbax" in frame.f_code.co_filename for frame, _ in frames)
    return not (in_orbax or "OCDBT" in str(error))


def named_leaves(tree: Any) -> dict[Name, Any]:
    """Leaves by the names on their path; empty nodes leave nothing."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    keystr = jax.tree_util.keystr
    named = {tuple(keystr((k,), simple=True) for k in path): x for path, x in leaves}
    if len(named) != len(leaves):
        raise ValueError("two leaves of the state have the same name")
    return named


def nest(named: Mapping[Name, Any]) -> dict[str, Any]:
    """Nested dicts from leaves by their path of names."""
    tree: dict[str, Any] = {}
    for name, leaf in named.items():
        node = tree
        for part in name[:-1]:
            node = node.setdefault(part, {})
        node[name[-1]] = leaf
    return tree


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def describe(leaf: Any) -> dict[str, Any]:
    """Shape, type and, of a key, the implementation."""
    entry = {"shape": list(leaf.shape), "dtype": str(leaf.dtype)}
    if _is_key(leaf):
        entry["key_impl"] = str(jax.random.key_impl(leaf))
    return entry


def key_to_data(leaf: Any) -> Any:
    """What of a leaf is saved: a key's data, all else as it is."""
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _data_to_key(leaf: jax.Array, entry: Mapping[str, Any]) -> jax.Array:
    if "key_impl" not in entry:
        return leaf
    return jax.random.wrap_key_data(leaf, impl=entry["key_impl"])


def _sharding(leaf: Any) -> Any:
    return getattr(leaf, "sharding", None)


def _refuse_mismatch(
    path: files.Path, saved: Mapping[str, Any], wanted: Mapping[Name, Any]
) -> None:
    """Raise one line that names the first leaves that do not fit."""
    faults = misfits(
        {name: f"{x['dtype']}{x['shape']}" for name, x in saved.items()},
        {"/".join(name): f"{x.dtype}{list(x.shape)}" for name, x in wanted.items()},
        needs="this run needs",
        here="in this run",
    )
    if faults:
        raise UserError(f"checkpoint {path}: {first_of(faults, '; ')}")


def misfits(
    there: Mapping[str, str], wanted: Mapping[str, str], *, needs: str, here: str
) -> list[str]:
    """Return in words what there is and should not be, or the other way round.

    Args:
      there: shape, or type and shape, by name.
      wanted: the same of what is asked for.
      needs: who asks, with its verb.
      here: where it asks.
    """
    faults = []
    for name, leaf in wanted.items():
        if name not in there:
            faults.append(f"has no {name!r}, which {needs}")
        elif there[name] != leaf:
            faults.append(f"{name!r} is {there[name]} there and {leaf} {here}")
    spare = [name for name in there if name not in wanted]
    return faults + [
        f"holds {name!r}, for which there is no place {here}" for name in spare
    ]


@jax.jit
def all_finite(tree: Any) -> jax.Array:
    """Return whether no float in the tree is NaN or infinite."""
    floats = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)]
    checks = [jnp.all(jnp.isfinite(x)) for x in floats]
    return functools.reduce(jnp.logical_and, checks, jnp.asarray(True))
