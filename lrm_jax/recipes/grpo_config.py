# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""`GrpoRunConfig`: a run of reinforcement learning with verifiable rewards."""

import dataclasses
from dataclasses import dataclass, field
from typing import Literal

import jax

from lrm_jax.data.verify.reward_config import RewardConfig
from lrm_jax.meshes import check_batch
from lrm_jax.recipes.alarms import AlarmConfig
from lrm_jax.recipes.policy_build import resolve_config
from lrm_jax.recipes.policy_config import PolicyRunBase, validate_policy
from lrm_jax.recipes.token_thinking import WAIT, Thinking
from lrm_jax.rl.config import RlConfig
from lrm_jax.sharding import mesh_sizes
from lrm_jax.training.train_config import TrainConfig
from lrm_jax.types import UserError


@dataclass(frozen=True)
class GrpoConfig:
    """How rollouts are made, watched and written down.

    Attributes:
      prompt_len: tokens of the longest prompt, for which all programs are compiled;
        0 compiles one program for each of a few lengths up to what
        `model.max_seq_len` leaves.
      stop: texts that end a completion, besides the end tokens.
      budget: of thinking in rollouts, in tokens (`ThinkingBudget`); empty for none.
      min_thinking: least tokens of a thought.
      wait: what takes the place of an end that comes before (see `Thinking`); it is
        forced, and no loss is on it.
      lanes: completions at work at a time: a lane that has ended takes the next one
        of the rollout, for lengths with a long tail; 0 for all of them at once.
      chunk: columns of the vocabulary scored at a time.
      balance_coef: weight of the experts' load-balance loss, where there are experts.
      balance: what is to be even: the load of the `batch`, or of each `sequence`.
      eval_samples: completions sampled of each held-out prompt, for pass@1 and
        pass@k; 0 leaves only the greedy one.
      samples_every: steps between completions written to `samples.jsonl`; 0 = none.
      samples: groups of completions written each time; of each evaluation as many
        greedy completions, always of the same held-out prompts.
      rollout_devices: so many of the devices, the last ones, only write rollouts, and
        the mesh has the others; 0 writes them on the mesh. Numbers are the same.
      alarms: when a run is said to go wrong.
    """

    prompt_len: int = 0
    stop: tuple[str, ...] = ()
    budget: str = ""
    min_thinking: int = 0
    wait: str = WAIT
    lanes: int = 0
    chunk: int = 4096
    balance_coef: float = 0.001
    balance: Literal["batch", "sequence"] = "batch"
    eval_samples: int = 4
    samples_every: int = 50
    samples: int = 2
    rollout_devices: int = 0
    alarms: AlarmConfig = field(default_factory=AlarmConfig)

    def __post_init__(self) -> None:
        """Refuse values that no run can mean."""
        least = {"chunk": 1}
        for name in (
            *("prompt_len", "chunk", "balance_coef", "min_thinking", "lanes"),
            *("eval_samples", "samples_every", "samples", "rollout_devices"),
        ):
            if not getattr(self, name) >= least.get(name, 0):
                raise UserError(
                    f"grpo.{name}={getattr(self, name)}: expected "
                    f"{least.get(name, 0)} or more"
                )

    @property
    def thinking(self) -> Thinking | None:
        """How long completions may think; None leaves thoughts alone."""
        if not (self.budget or self.min_thinking):
            return None
        return Thinking(self.budget or "-1", self.min_thinking, self.wait)


@dataclass(frozen=True)
class GrpoRunConfig(PolicyRunBase):
    """A run of reinforcement learning, fully resolved.

    `train.total_steps` counts optimizer steps, `rl.updates_per_rollout` of which are
    taken on each rollout. `train.batch_size` (rows of an update) and
    `train.steps_per_dispatch` follow from `rl` and are filled in.

    Attributes:
      recipe: `grpo`.
      rl: the objective, all of it; `rl.variants` has the published ones.
      reward: what is rewarded.
      process_reward: `RUN[@step]` of a reward model that scores the steps of
        completions, which count as `rl.process` says; empty for none.
      grpo: rollouts.
    """

    recipe: Literal["grpo"] = "grpo"  # pyright: ignore[reportIncompatibleVariableOverride]
    rl: RlConfig = field(kw_only=True)
    reward: RewardConfig = field(default_factory=RewardConfig)
    process_reward: str = ""
    grpo: GrpoConfig = field(default_factory=GrpoConfig)

    @property
    def weight_copies(self) -> int:
        """The reference policy is one."""
        return int(self.rl.needs_reference)


def derived(config: GrpoRunConfig) -> GrpoRunConfig:
    """Return the config with what follows from `rl` filled in.

    Raises:
      UserError: it was given, and as something else.
    """
    rl, default = config.rl, TrainConfig()
    rows = rl.rollout.n_prompts * rl.rollout.group_size
    follows = {
        "batch_size": rows // rl.minibatches,
        "steps_per_dispatch": rl.updates_per_rollout,
    }
    for name, value in follows.items():
        given = getattr(config.train, name)
        if given not in (value, getattr(default, name)):
            raise UserError(
                f"train.{name}={given}: follows from rl.rollout, rl.minibatches and "
                f"rl.epochs as {value}; leave it out"
            )
    return dataclasses.replace(
        config, train=dataclasses.replace(config.train, **follows)
    )


def resolve(
    config: GrpoRunConfig, run_dir: str | None, init_from: str | None
) -> GrpoRunConfig:
    """Return the config with everything filled in; see `resolve_config`."""
    return derived(resolve_config(config, run_dir, init_from))


def validate(config: GrpoRunConfig, n_devices: int | None = None) -> None:
    """Refuse what cannot run; see `validate_policy`.

    Raises:
      UserError: names the key, the value and what is accepted.
    """
    config = derived(config)
    n_devices = trainer_devices(config, n_devices)
    validate_policy(config, n_devices)
    rl, updates = config.rl, config.rl.updates_per_rollout
    total = config.train.total_steps
    if total % updates:
        raise UserError(
            f"train.total_steps={total}: rl takes {updates} steps on a rollout; "
            f"expected a multiple of them, for example {total - total % updates}"
        )
    if rl.needs_reference and rl.reference.every % updates:
        raise UserError(
            f"rl.reference.every={rl.reference.every}: the reference changes between "
            f"rollouts, of {updates} steps each; expected a multiple of them"
        )
    if rl.needs_values and not config.model.value_head:
        raise UserError(
            f"model.value_head=false: rl.advantage.kind={rl.advantage.kind} has a "
            "critic and needs true"
        )
    if config.model.rope.kind == "dynamic":
        raise UserError(
            "model.rope.kind='dynamic': decoding from the cache differs from the "
            "policy that is trained; train with another kind, or by sft"
        )
    room = config.model.max_seq_len - rl.rollout.max_new_tokens
    if config.grpo.prompt_len > room or room < 1:
        raise UserError(
            f"rl.rollout.max_new_tokens={rl.rollout.max_new_tokens}: leaves "
            f"{max(room, 0)} of model.max_seq_len={config.model.max_seq_len} tokens "
            f"for a prompt (grpo.prompt_len={config.grpo.prompt_len})"
        )
    _check_thinking(config)
    _check_process(config)
    if rl.group_filter.kind == "refill" and not config.grpo.prompt_len:
        raise UserError(
            "grpo.prompt_len=0: with rl.group_filter.kind=refill groups of several "
            "rollouts make a batch; say how long their prompts may be"
        )
    _check_pairs(config, n_devices)


def trainer_devices(config: GrpoRunConfig, n_devices: int | None = None) -> int:
    """Return how many devices are left to the mesh, of `n_devices` (or of all).

    Raises:
      UserError: rollouts cannot have `grpo.rollout_devices` to themselves.
    """
    n_devices = jax.device_count() if n_devices is None else n_devices
    count, rollout = config.grpo.rollout_devices, config.rl.rollout
    if not count:
        return n_devices
    if count >= n_devices:
        raise UserError(
            f"grpo.rollout_devices={count}: leaves no device to train on, of "
            f"{n_devices}; expected 0 to {n_devices - 1}"
        )
    if jax.process_count() > 1:
        raise UserError(
            f"grpo.rollout_devices={count}: weights go from device to device of one "
            f"process, and there are {jax.process_count()}; expected 0"
        )
    split = mesh_sizes(config.mesh, n_devices - count)["model"]
    if count % split or rollout.n_prompts % (count // split):
        raise UserError(
            f"grpo.rollout_devices={count}: expected a multiple of the {split} "
            f"devices of the mesh's model axis whose {max(count // split, 1)} parts "
            f"divide rl.rollout.n_prompts={rollout.n_prompts}"
        )
    return n_devices - count


def _check_thinking(config: GrpoRunConfig) -> None:
    """Rollouts and evaluation must have room for the thoughts that are asked for."""
    if config.grpo.thinking is None:
        return
    for key, room in (
        ("rl.rollout.max_new_tokens", config.rl.rollout.max_new_tokens),
        ("eval.max_new_tokens", config.eval.max_new_tokens),
    ):
        try:
            config.grpo.thinking.bound(room)
        except UserError as error:
            raise UserError(f"grpo: {error} ({key}={room})") from error


def _check_process(config: GrpoRunConfig) -> None:
    """Scores of steps need a model that gives them, and the reverse."""
    form, run = config.rl.process.form, config.process_reward
    if (form == "none") == bool(run):
        raise UserError(
            f"rl.process.form={form} and process_reward={run!r}: name a reward "
            "model's run and how its scores count, or neither"
        )


def _check_pairs(config: GrpoRunConfig, n_devices: int) -> None:
    """Pairs of online DPO are rows of one update, two for each prompt."""
    rl, accum = config.rl, config.train.grad_accum
    if rl.loss.kind != "online_dpo":
        return
    pairs = rl.rollout.n_prompts
    if pairs % (rl.minibatches * accum):
        raise UserError(
            f"rl.rollout.n_prompts={pairs}: online_dpo has a pair for each, which "
            f"must divide into rl.minibatches x train.grad_accum = "
            f"{rl.minibatches * accum}"
        )
    sizes = mesh_sizes(config.mesh, n_devices)
    each = pairs // (rl.minibatches * accum)
    check_batch(2 * each, sizes, "rl.rollout.n_prompts / updates, in rows")
