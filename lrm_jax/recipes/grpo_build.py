# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The parts of a run of reinforcement learning, and one iteration of it.

An iteration is host code around jitted parts: write completions, score them on the
host, learn from them. It is the `step_fn` of `training.loop`.
"""

import dataclasses
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import NamedSharding

from lrm_jax import sharding
from lrm_jax.data.verify.rewards import Rewarder
from lrm_jax.models.policy import token_policy
from lrm_jax.recipes.grpo_async import (
    RolloutsAhead,
    WeightTransfer,
    keep_ahead,
    rollout_mesh,
)
from lrm_jax.recipes.grpo_config import GrpoRunConfig, trainer_devices, validate
from lrm_jax.recipes.grpo_process import load_judge, make_judge
from lrm_jax.recipes.grpo_rollout import (
    HostMetrics,
    Rolled,
    rollout_metrics,
    sampled_metrics,
    step_key,
)
from lrm_jax.recipes.grpo_state import Groups, InFlight, init_carry
from lrm_jax.recipes.grpo_step import ROLLOUT, Drawn, GrpoStep, Scores
from lrm_jax.recipes.policy_build import PolicyParts, make_text, state_shardings
from lrm_jax.recipes.policy_state import Updater, full_weights
from lrm_jax.recipes.run_mesh import policy_mesh
from lrm_jax.recipes.samples import SampleLog, sample_records
from lrm_jax.recipes.shared_scoring import SharedRolloutMaker
from lrm_jax.recipes.token_sampler import Sampler
from lrm_jax.recipes.token_thinking import refuse_cut_thoughts
from lrm_jax.rl.dynamic_sampling import (
    GroupBuffer,
    add_groups,
    groups_with_signal,
    groups_with_spread,
    take_groups,
)
from lrm_jax.rl.refusals import check_tokens
from lrm_jax.training import loop
from lrm_jax.training.compiles import compiled_programs
from lrm_jax.training.state import TrainState
from lrm_jax.types import Key, Params


@dataclasses.dataclass
class GrpoRun(PolicyParts):
    """The parts of a run; arrays are made by its methods.

    Attributes:
      step: the pure device part.
      sampler: decodes, for evaluation.
      writer: decodes, for rollouts; the sampler, unless rollouts have devices of
        their own.
      rewarder: scores completions.
      run_dir: where samples are written; None for nowhere.
      judged_by: weights of the reward model that scores steps, or None.
    """

    config: GrpoRunConfig  # pyright: ignore[reportIncompatibleVariableOverride]
    step: GrpoStep
    sampler: Sampler
    writer: Sampler
    rewarder: Rewarder
    run_dir: str | None = None
    judged_by: Params | None = None
    _samples: SampleLog | None = dataclasses.field(default=None, init=False, repr=False)

    def samples(self, step: int) -> SampleLog | None:
        """Return the run's only log of completions; None where it has no folder.

        Args:
          step: optimizer steps done; what was written after it is dropped when the
            log is opened, so the first call is the first of a start.
        """
        if self._samples is None and self.run_dir is not None:
            self._samples = SampleLog(self.run_dir, step)
        return self._samples

    def fresh_state(self, key: Key, params: Params | None = None) -> TrainState:
        """Return the state before the first rollout; pure."""
        state = self.updater.init(key, params)
        carry = init_carry(self.config, full_weights(state.params))
        return state.replace(carry=carry)

    def abstract_state(self) -> Any:
        """Return shapes, dtypes and shardings of the training state."""
        shapes = jax.eval_shape(self.fresh_state, jax.random.key(self.config.seed))
        where = state_shardings(self.mesh, self.policy, shapes)
        return jax.tree.map(
            lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
            shapes,
            where,
        )

    def init_state(self, params: Params | None = None) -> TrainState:
        """Return a fresh state on the mesh, from `params` where given."""
        where = jax.tree.map(lambda x: x.sharding, self.abstract_state())
        on_cpu = jax.default_backend() == "cpu"
        options = {"xla_backend_optimization_level": "0"} if on_cpu else None
        place = partial(jax.jit, out_shardings=where, compiler_options=options)
        key = jax.random.key(self.config.seed)
        if params is None:
            return place(lambda k: self.fresh_state(k))(key)
        return place(self.fresh_state)(key, params)

    def dispatch(self) -> loop.StepFn:
        """Return one iteration: rollout, rewards, updates; it donates the state."""
        return Iteration(self)

    def batches(self) -> Callable[[int], int]:
        """Return what an iteration is given: its first step's number."""
        return lambda step: step

    def close(self) -> None:
        """End the processes of the reward."""
        self.rewarder.close()


def build(config: GrpoRunConfig, run_dir: str | None = None) -> GrpoRun:
    """Build the parts of a run; nothing is compiled.

    Args:
      config: fully resolved.
      run_dir: run folder.

    Raises:
      UserError: the config cannot run, or its data do not fit its model.
    """
    validate(config)
    source = make_text(config, needs="answer")
    tokenizer = source.tokenizer
    policy = token_policy(config.model)
    check_tokens(
        pad_id=tokenizer.pad_id,
        end_ids=tokenizer.eos_ids,
        vocab_size=policy.vocab_size,
        has_mask=True,
    )
    refuse_cut_thoughts(config.grpo.thinking, tokenizer)
    updater = Updater(policy, config.optim, config.train, config.lora)
    mesh = policy_mesh(config, jax.devices()[: trainer_devices(config)])
    judge = make_judge(config, tokenizer)
    grad_accum = config.train.grad_accum
    step = GrpoStep(policy, config.rl, config.grpo, updater, grad_accum, judge)
    sampler = Sampler(policy, tokenizer, mesh, stop_strings=config.grpo.stop)
    writer = sampler
    if config.grpo.rollout_devices:
        apart = rollout_mesh(mesh, config.grpo.rollout_devices)
        writer = Sampler(policy, tokenizer, apart, stop_strings=config.grpo.stop)
    rewarder = Rewarder(config.reward, source.task)
    return GrpoRun(
        *(config, source, policy, updater, mesh),
        *(step, sampler, writer, rewarder, run_dir, load_judge(config, mesh)),
    )


class Collected(NamedTuple):
    """A batch, and what stays for later ones.

    Attributes:
      rolled: the rollouts it was made of.
      groups: on the mesh.
      valid: `[Q]` bool, groups that are not filler.
      drawn: for the next iteration.
      ahead: rollouts that stay in flight.
    """

    rolled: list[Rolled]
    groups: Groups
    valid: Any
    drawn: Drawn
    ahead: tuple[InFlight, ...] = ()


class Iteration:
    """One rollout and the updates on it; nothing of the run's state lives here."""

    def __init__(self, run: GrpoRun) -> None:
        """Bind the jitted parts; nothing is compiled yet."""
        self._run = run
        config = run.config
        rollout = config.rl.rollout
        self._ahead = rollout.max_staleness
        self._maker = SharedRolloutMaker(config, run.source, run.writer, run.rewarder)
        apart = rollout_mesh(run.mesh, config.grpo.rollout_devices)
        self._transfer = WeightTransfer(run.mesh, apart)
        self._begin = RolloutsAhead(
            self._maker, self._transfer, ahead=self._ahead, count=rollout.n_prompts
        )
        state = jax.tree.map(lambda x: x.sharding, _landed(run.abstract_state()))
        self._score = jax.jit(run.step.score)
        self._learn = jax.jit(
            run.step.learn, donate_argnums=0, out_shardings=(state, None)
        )
        waiting = state.carry.waiting
        self._add = jax.jit(partial(_add, run.step), out_shardings=waiting)
        self._take = jax.jit(
            lambda buffer: take_groups(buffer, config.rl.rollout.n_prompts),
            out_shardings=(None, None, waiting),
        )
        self._learning: tuple[float, Any] | None = None

    def __call__(self, state: TrainState, step: int) -> tuple[TrainState, HostMetrics]:
        """Make and learn from the rollout that begins at `step`."""
        run, rl = self._run, self._run.config.rl
        compiled = compiled_programs()
        run.samples(step)  # a resumed run drops what came after its checkpoint
        host = {} if self._ahead else self._learned(state)
        rolled, groups, valid, drawn, ahead = self._collect(state, step)
        host |= rollout_metrics(rolled)
        scores = Scores()
        if run.step.scores_first:
            reference = state.carry.reference
            scores = self._score(state.params, reference, groups, run.judged_by)
        self._write_samples(rolled[0], step)
        began = time.monotonic()
        if self._ahead:
            host |= self._pace(host, rolled[0].written, began)
        state, metrics = self._learn(_landed(state), groups, valid, scores, drawn)
        if self._ahead:
            state = keep_ahead(state, ahead, int(drawn.cursor), run.mesh)
        self._learning = began, metrics["entropy/sampled"][1] * rl.epochs
        if rl.group_filter.kind == "refill":
            batch = {f"batch/{k.replace('/', '_')}": v for k, v in metrics.items()}
            seen = sampled_metrics([one.groups for one in rolled])
            metrics |= {k: v for k, v in batch.items() if _renamed(k, seen)} | seen
        host["perf/compiles"] = (float(compiled_programs() - compiled), 1.0)
        return state, metrics | host

    def _learned(self, state: TrainState) -> HostMetrics:
        """How fast the updates of the iteration before were; waits for them."""
        jax.block_until_ready(state.step)
        if self._learning is None:
            return {}
        began, tokens = self._learning
        seconds = time.monotonic() - began
        return {
            "perf/train_s": (seconds, 1.0),
            "perf/train_tokens_per_s": (float(tokens), seconds),
        }

    def _pace(self, host: HostMetrics, written: int, began: float) -> HostMetrics:
        """Speeds where rollouts and updates overlap: by the time of an iteration.

        `host` loses the seconds of decoding, of which only the wait is known.
        """
        found = {"perf/rollout_wait_s": host.pop("perf/rollout_s")}
        host.pop("perf/rollout_tokens_per_s")
        if self._learning is None:
            return found
        before, tokens = self._learning
        seconds = began - before
        return found | {
            "perf/iteration_s": (seconds, 1.0),
            "perf/rollout_tokens_per_s": (float(written), seconds),
            "perf/train_tokens_per_s": (tokens, seconds),
        }

    def _collect(self, state: TrainState, step: int) -> Collected:
        """Return rollouts, and the batch made of them and of what was waiting."""
        rl = self._run.config.rl
        count = rl.rollout.n_prompts
        if rl.group_filter.kind != "refill":
            started, ahead, cursor = self._begin(state, step)
            rolled = self._maker.finish(started)
            drawn = Drawn(np.int32(cursor), None)
            valid = np.ones(count, bool)
            groups = self._put(rolled.groups)
            return Collected([rolled], groups, valid, drawn, ahead)
        carry, cursor = state.carry, int(state.carry.cursor)
        key = step_key(state.key, step, ROLLOUT)
        weights, key = self._transfer(full_weights(state.params), key)

        def roll() -> Rolled:
            with sharding.use_mesh(self._transfer.sampler):
                return self._maker(weights, key, cursor=cursor, step=step)

        rolled, waiting = [], carry.waiting
        while len(rolled) < rl.group_filter.max_rounds and (
            not rolled or int(waiting.filled) < count
        ):
            rolled.append(roll())
            cursor += count
            waiting = self._add(waiting, self._put(rolled[-1].groups))
        groups, valid, waiting = self._take(waiting)
        return Collected(rolled, groups, valid, Drawn(np.int32(cursor), waiting))

    def _put(self, groups: Groups) -> Groups:
        """Place groups on the mesh, split over the devices where they divide."""
        mesh = self._run.mesh

        def where(x: np.ndarray) -> NamedSharding:
            names = ("batch", *[None] * (x.ndim - 1))
            return NamedSharding(mesh, sharding.partition_spec(names, mesh, x.shape))

        return sharding.put(groups, jax.tree.map(where, groups))

    def _write_samples(self, rolled: Rolled, step: int) -> None:
        cfg = self._run.config.grpo
        after = step + self._run.config.rl.updates_per_rollout
        due = cfg.samples_every and (
            step == 0 or after // cfg.samples_every > step // cfg.samples_every
        )
        run = self._run
        samples = run.samples(step)
        if samples is not None and due:
            records = sample_records(
                rolled, run.source, run.config.rl, step=after, groups=cfg.samples
            )
            samples.write(records)


def _landed(state: TrainState) -> TrainState:
    """Return the state as updates see it: without what is in flight."""
    return state.replace(carry=state.carry.replace(ahead=()))


def _add(step: GrpoStep, buffer: GroupBuffer, groups: Groups) -> GroupBuffer:
    """Keep the groups that there is something to learn from."""
    rl = step.rl
    if rl.group_filter.on == "accuracy":
        keep = groups_with_signal(groups.accuracy)
    else:
        keep = groups_with_spread(groups.rewards, atol=rl.advantage.equal_atol)
    return add_groups(buffer, groups, keep)


def _renamed(label: str, seen: HostMetrics) -> bool:
    return any(label == f"batch/{name.replace('/', '_')}" for name in seen)
