# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""From a `RunConfig` to the parts of a latent run: data, model, step, placement."""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from lrm_jax import processes, sharding
from lrm_jax.data.pipeline import PuzzleSource, make_source
from lrm_jax.models.latent import LatentCore, latent_core
from lrm_jax.reasoning.latent import LatentReasoner
from lrm_jax.recipes.latent_step import LatentStep, StepMetrics, scan_steps
from lrm_jax.recipes.run_config import RunConfig, validate
from lrm_jax.recipes.run_mesh import latent_mesh
from lrm_jax.recipes.state_axes import latent_state_axes, shardings_of
from lrm_jax.training.own_rows import own_rows, place
from lrm_jax.training.state import TrainState
from lrm_jax.types import Params, Problem, UserError

Dispatch = Callable[[TrainState, Any], tuple[TrainState, StepMetrics]]


@dataclass
class LatentRun:
    """The parts of a latent run; arrays are made by its methods.

    Attributes:
      config: fully resolved.
      source: puzzles.
      core: the model's functions.
      step: the pure training step.
      mesh: where everything lives.
      reasoner: the model behind the `Reasoner` seam; one object, so that
        evaluation compiles once.
    """

    config: RunConfig
    source: PuzzleSource
    core: LatentCore
    step: LatentStep
    mesh: Mesh
    reasoner: LatentReasoner
    _batches: "HostBatches | None" = field(default=None, repr=False)

    def fingerprint(self) -> str:
        """Return a hash of the training data."""
        return self.source.fingerprint()

    def batch_shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Return the shapes of one global batch."""
        batch, cells = self.config.train.batch_size, self.config.model.seq_len
        grid = jax.ShapeDtypeStruct((batch, cells), jnp.int32)
        ids = jax.ShapeDtypeStruct((batch,), jnp.int32)
        return {"inputs": grid, "labels": grid, "puzzle_ids": ids}

    def abstract_state(self) -> Any:
        """Return shapes, dtypes and shardings of the training state."""
        key = jax.random.key(self.config.seed)
        shapes = jax.eval_shape(self.step.init, key, self.batch_shapes())
        shardings = self.state_shardings(shapes)
        return jax.tree.map(
            lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
            shapes,
            shardings,
        )

    def state_shardings(self, shapes: Any) -> Any:
        """Return where every leaf of the state lives; see `state_axes`."""
        return shardings_of(self.mesh, shapes, latent_state_axes(self.core))

    def init_state(self, params: Params | None = None) -> TrainState:
        """Return a fresh state on the mesh, from `params` where given."""
        shardings = jax.tree.map(lambda x: x.sharding, self.abstract_state())
        key = jax.random.key(self.config.seed)
        empty = self.batch_shapes()
        # Run once: on a CPU, optimising it would cost more than running it.
        on_cpu = jax.default_backend() == "cpu"
        options = {"xla_backend_optimization_level": "0"} if on_cpu else None
        place = partial(jax.jit, out_shardings=shardings, compiler_options=options)
        if params is None:
            return place(lambda k: self.step.init(k, empty))(key)
        return place(lambda k, p: self.step.init(k, empty, p))(key, params)

    def dispatch(self) -> Dispatch:
        """Return the jitted function of one dispatch; it donates the state.

        It takes as many steps as its batch says (see `batches`): a shorter last
        dispatch is a program of its own.
        """
        batch_size, seed = self.config.train.batch_size, self.config.seed

        def resident(state: TrainState, batch: Any) -> tuple[TrainState, StepMetrics]:
            arrays, steps = batch

            def one(state: TrainState, _: Any) -> tuple[TrainState, StepMetrics]:
                problem = self.source.batch_fn(
                    jnp, arrays, seed, state.step, batch_size
                )
                return self.step(state, split_lanes(problem))

            return scan_steps(one, state, steps)

        def streamed(
            state: TrainState, problems: Problem
        ) -> tuple[TrainState, StepMetrics]:
            return scan_steps(self.step, state, problems)

        shardings = jax.tree.map(lambda x: x.sharding, self.abstract_state())
        return jax.jit(
            resident if self.config.data.resident else streamed,
            donate_argnums=0,
            out_shardings=(shardings, None),
        )

    def steps_from(self, step: int) -> int:
        """Return how many steps the dispatch that begins at `step` takes."""
        train = self.config.train
        return max(1, min(train.steps_per_dispatch, train.total_steps - step))

    def batches(self) -> Callable[[int], Any]:
        """Return what gives the batch of the dispatch that begins at a step.

        From the host it is `[N, B, ...]`. With resident data it is the arrays from
        which the device makes batches, and `[N]` zeros.
        """
        if not self.config.data.resident:
            if self._batches is None:
                self._batches = HostBatches(self)
            return self._batches
        arrays = self.source.train_arrays()
        whole = sharding.put(arrays, sharding.replicated(self.mesh, arrays))
        where = NamedSharding(self.mesh, P())

        @cache
        def counted(count: int) -> Any:
            return whole, sharding.put(np.zeros(count, np.uint8), where)

        return lambda step: counted(self.steps_from(step))


class HostBatches:
    """Batches made on the host by Grain, placed on the mesh, in the order of steps.

    Each process makes the rows of its own data shards.
    """

    def __init__(self, run: LatentRun) -> None:
        """Start nothing yet; the first call says where to begin."""
        self._run = run
        self._own = own_rows(run.mesh, run.config.train.batch_size)
        self._iterator: Any = None
        self._next = -1

    def __call__(self, step: int) -> dict[str, jax.Array]:
        """Return `[N, B, ...]`, the batches of the N steps from `step` on."""
        config, size = self._run.config, self._run.config.train.batch_size
        if self._iterator is None or step != self._next:
            self._iterator = self._run.source.grain_iterator(
                config.seed, size, step, config.data.num_workers, self._own
            )
        count, iterator = self._run.steps_from(step), self._iterator
        rows = [next(iterator) for _ in range(count)]
        self._next = step + count
        batch = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        return place(self._run.mesh, batch, self._own, size, axis=1)


def split_lanes(problem: Problem) -> dict[str, jax.Array]:
    """Split the lanes of a batch over the mesh in use, inside `jax.jit`."""
    return {
        name: sharding.constrain(x, "batch", *[None] * (x.ndim - 1))
        for name, x in problem.items()
    }


def build(config: RunConfig, *, source: PuzzleSource | None = None) -> LatentRun:
    """Build the parts of a run; nothing is compiled.

    Args:
      config: fully resolved.
      source: puzzles, where they are at hand already.

    Raises:
      UserError: the config cannot run, or its data do not fit its model.
    """
    validate(config)
    _check_determinism(config)
    source = make_source(config.data) if source is None else source
    check_fit(config, source)
    core = latent_core(config.model)
    step = latent_step(config, core)
    mesh = latent_mesh(config, step)
    _say_whole_table(config, mesh)
    reasoner = LatentReasoner(core, config.halting)
    return LatentRun(config, source, core, step, mesh, reasoner)


def _say_whole_table(config: RunConfig, mesh: Mesh) -> None:
    """Say in one line that a puzzle table is whole on every device, and what helps."""
    model = config.model
    shape = (model.num_puzzle_ids, model.puzzle_emb_dim)
    size = 4 * math.prod(shape)
    over = sharding.undivided(("puzzle_ids", None), mesh, shape).get(0, ())
    parts = math.prod(mesh.shape[axis] for axis in over)
    if parts == 1 or size < 2**20 or not processes.is_first():
        return
    rows = model.num_puzzle_ids + -model.num_puzzle_ids % parts
    print(
        f"model.num_puzzle_ids={model.num_puzzle_ids}: does not divide over mesh "
        f"{'+'.join(over)}={parts}, so each device holds the whole table of "
        f"{size / 2**20:.3g} MiB; {rows} would be split",
        file=sys.stderr,
    )


def latent_step(config: RunConfig, core: LatentCore) -> LatentStep:
    """Return the pure part of a config's training step."""
    return LatentStep(
        core=core,
        halting=config.halting,
        loss=config.loss,
        optim=config.optim,
        total_steps=config.train.total_steps,
        grad_accum=config.train.grad_accum,
        ema=config.train.ema_decay,
        ema_warmup_steps=config.train.ema_warmup_steps,
    )


def eval_cap(config: RunConfig) -> int:
    """Return the most segments that a thinking budget may mean."""
    return config.eval.max_steps or config.halting.max_steps


def check_fit(config: RunConfig, source: PuzzleSource) -> None:
    """Refuse data that the model cannot take."""
    model = config.model
    if source.seq_len != model.seq_len:
        raise UserError(
            f"model.seq_len={model.seq_len}: the data has {source.seq_len} cells"
        )
    if not len(source.test.inputs):
        raise UserError(
            "data.test_path is empty and no puzzle is left to hold out: name a file to "
            "test on, or set data.test_size"
        )
    if source.vocab_size > model.vocab_size:
        raise UserError(
            f"model.vocab_size={model.vocab_size}: the data has {source.vocab_size} "
            "symbols"
        )
    if model.puzzle_emb_dim and source.num_puzzle_ids > model.num_puzzle_ids:
        raise UserError(
            f"model.num_puzzle_ids={model.num_puzzle_ids}: the data has puzzle ids up "
            f"to {source.num_puzzle_ids - 1}"
        )


def _check_determinism(config: RunConfig) -> None:
    import os

    flag = "--xla_gpu_deterministic_ops=true"
    on_gpu = config.deterministic and jax.default_backend() == "gpu"
    if on_gpu and flag not in os.environ.get("XLA_FLAGS", ""):
        raise UserError(
            f"deterministic=true on a GPU needs XLA_FLAGS={flag} set before the start"
        )
