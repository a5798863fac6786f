# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Compiles a program for TPUs nobody has here, and reads what it will cost.

For the child process of `lrm aot` (`recipes/aot_child.py`): libtpu is loaded, no TPU
is.
"""

import dataclasses
import math
import re
import time
from collections.abc import Callable
from typing import Any

import jax
from jax.experimental import topologies

from lrm_jax import sharding
from lrm_jax.cost import hlo, traffic
from lrm_jax.cost.chips import Slice
from lrm_jax.cost.collectives import Collective, read_collectives
from lrm_jax.cost.jaxpr_flops import jaxpr_flops

_QUICK = {"exec_time_optimization_effort": -1.0}
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_USED = re.compile(r"Used ([\d.]+)([KMGT]?) of ([\d.]+)([KMGT]?) hbm")
_TEMPORARIES = re.compile(
    r"HLO temporaries \(([\d.]+)([KMGT]?)\) exceeds available HBM "
    r"\(([\d.]+)([KMGT]?)\)"
)


@dataclasses.dataclass(frozen=True)
class Work:
    """A program of a recipe's step, not yet compiled.

    Attributes:
      name: `update`, `score`, `rollout`.
      function: jitted.
      args: `jax.ShapeDtypeStruct` with shardings.
      model_flops: by the recipe's formula, over all devices.
      while_bound: turns of loops whose end depends on data.
      beside: abstract arrays that lie on the devices while it runs and are no
        arguments.
      ragged_share: of the rows of ragged products, those in any group; see
        `jaxpr_flops`.
    """

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    model_flops: int
    while_bound: int | None = None
    beside: Any = ()
    ragged_share: float = 1.0


@dataclasses.dataclass(frozen=True)
class Compiled:
    """What one program costs each device.

    Attributes:
      name: of the work.
      fits: whether the compiler found room for it, and what lies beside it.
      model_flops: by the recipe's formula, over all devices.
      hardware_flops: as traced, recomputation included, over all devices.
      argument_bytes: of all arguments on a device.
      temp_bytes: of what it makes meanwhile; None where it does not fit.
      output_bytes: of results that take no argument's place; None where it does
        not fit.
      code_bytes: of the program itself; None where it does not fit.
      needed_bytes: by the compiler's own count.
      available_bytes: by the compiler's own count; None where it fits.
      memory_traffic: bytes between a device and its memory; None where it does
        not fit.
      collectives: what a device sends; empty where it does not fit.
      beside_bytes: of what lies on a device meanwhile and is no argument.
      compile_s: seconds of tracing, lowering and compiling.
    """

    name: str
    fits: bool
    model_flops: int
    hardware_flops: int
    argument_bytes: int
    temp_bytes: int | None
    output_bytes: int | None
    code_bytes: int | None
    needed_bytes: int
    available_bytes: int | None
    memory_traffic: int | None
    collectives: tuple[Collective, ...]
    beside_bytes: int
    compile_s: float


def topology_devices(one: Slice, slices: int = 1) -> list[Any]:
    """Return the devices of a slice, or of several of them, to compile for."""
    options: dict[str, Any] = dict(one.chip.topology_options)
    if one.chips == 1:
        options["chips_per_host_bounds"] = [1, 1, 1]
    if slices > 1:
        options["num_slices"] = slices
    found = topologies.get_topology_desc(
        platform="tpu", topology_name=one.name, **options
    )
    devices = list(found.devices)
    if len(devices) != one.devices * slices:
        raise ValueError(
            f"{one.name}: the compiler has {len(devices)} devices, the table "
            f"{one.devices * slices}"
        )
    return devices


def compile_work(work: Work, mesh: Any, *, full_effort: bool = False) -> Compiled:
    """Compile a program for the devices of a mesh and read its costs.

    Args:
      work: the program.
      mesh: of devices of `topology_devices`.
      full_effort: spend on the program's speed what a run would; otherwise the
        compiler's least.

    Raises:
      hlo.UnknownTrips: a loop has no bound and the work states none.
    """
    began = time.monotonic()
    with sharding.use_mesh(mesh):
        traced: Any = work.function.trace(*work.args)  # pyright: ignore[reportFunctionMemberAccess]
        flops = jaxpr_flops(
            traced.jaxpr,
            while_bound=work.while_bound,
            ragged_share=work.ragged_share,
        )
        lowered = traced.lower()
        try:
            program = lowered.compile(None if full_effort else _QUICK)
        except jax.errors.JaxRuntimeError as error:
            return _too_large(work, flops, str(error), time.monotonic() - began)
    seconds = time.monotonic() - began
    memory = program.memory_analysis()
    text = hlo.parse(program.as_text())
    bound = work.while_bound
    extra = memory.output_size_in_bytes - memory.alias_size_in_bytes
    code = memory.generated_code_size_in_bytes
    whole = memory.argument_size_in_bytes + extra + memory.temp_size_in_bytes
    return Compiled(
        name=work.name,
        fits=True,
        model_flops=work.model_flops,
        hardware_flops=flops,
        argument_bytes=memory.argument_size_in_bytes,
        temp_bytes=memory.temp_size_in_bytes,
        output_bytes=extra,
        code_bytes=code,
        needed_bytes=whole + code,
        available_bytes=None,
        memory_traffic=traffic.hbm_bytes(text, while_bound=bound),
        collectives=tuple(read_collectives(text, dict(mesh.shape), while_bound=bound)),
        beside_bytes=device_bytes(work.beside),
        compile_s=seconds,
    )


def _too_large(work: Work, flops: int, message: str, seconds: float) -> Compiled:
    arguments = device_bytes(work.args)
    needed, available = read_refusal(message, arguments)
    return Compiled(
        name=work.name,
        fits=False,
        model_flops=work.model_flops,
        hardware_flops=flops,
        argument_bytes=arguments,
        temp_bytes=None,
        output_bytes=None,
        code_bytes=None,
        needed_bytes=needed,
        available_bytes=available,
        memory_traffic=None,
        collectives=(),
        beside_bytes=device_bytes(work.beside),
        compile_s=seconds,
    )


def read_refusal(message: str, argument_bytes: int) -> tuple[int, int]:
    """Return bytes needed and bytes there are, as the compiler says when it gives up.

    Args:
      message: its own.
      argument_bytes: added where it speaks of temporary arrays alone.

    Raises:
      ValueError: it gave up over something else.
    """
    for pattern, more in ((_USED, 0), (_TEMPORARIES, argument_bytes)):
        found = pattern.search(message)
        if found:
            used, used_unit, room, room_unit = found.groups()
            needed = int(float(used) * _UNITS[used_unit]) + more
            return needed, int(float(room) * _UNITS[room_unit])
    raise ValueError(f"the compiler refuses: {message}")


def device_bytes(tree: Any) -> int:
    """Return the bytes of a tree of abstract arrays on one device, by its shards."""
    total = 0
    for leaf in jax.tree.leaves(tree):
        shape = leaf.shape
        if getattr(leaf, "sharding", None) is not None:
            shape = leaf.sharding.shard_shape(leaf.shape)
        dtype = leaf.dtype
        if jax.numpy.issubdtype(dtype, jax.dtypes.prng_key):
            shape, dtype = (*shape, 2), jax.numpy.uint32
        total += math.prod(shape) * jax.numpy.dtype(dtype).itemsize
    return total
