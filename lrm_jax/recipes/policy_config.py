# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the runs of a token policy share: `PolicyRunBase`; its identity; its checks.

A recipe's config is a subclass with its own `recipe` and its own parts. An import
is the base itself: weights and a tokenizer, trained by nobody here.
"""

import dataclasses
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

import jax

from lrm_jax.config import config_hash
from lrm_jax.data.tasks.base import TextTask
from lrm_jax.data.tasks.registry import TaskConfig, make_task
from lrm_jax.data.text_source import TextDataConfig
from lrm_jax.data.tokenizer import Tokenizer, TokenizerConfig
from lrm_jax.meshes import check_batches, check_parts
from lrm_jax.models.lora import LoraConfig
from lrm_jax.models.policy_config import PolicyConfig, check_policy
from lrm_jax.recipes.run_config import content_hash
from lrm_jax.sharding import MeshConfig
from lrm_jax.training.checkpoint import CheckpointConfig
from lrm_jax.training.optim import OptimConfig
from lrm_jax.training.train_config import TrainConfig
from lrm_jax.types import UserError

GREEDY = "eval/greedy_accuracy"
"""Strict accuracy of the most likely completions of held-out prompts."""
LOSS = "eval/loss"
"""Nats per learned token of the held-out examples."""

C = TypeVar("C", bound="PolicyRunBase")


@dataclass(frozen=True)
class PolicyEvalConfig:
    """Held-out evaluation during training.

    Attributes:
      every_steps: steps between evaluations; 0 = only at the end.
      size: held-out examples to use; 0 for all.
      batch_size: examples at a time.
      max_new_tokens: of a completion.
      lanes: completions at work at a time: a lane that has ended takes the next one
        of the batch, for lengths with a long tail; 0 for all of them at once.
      greedy: decode, and judge what comes; off for the loss alone.
    """

    every_steps: int = 0
    size: int = 256
    batch_size: int = 64
    max_new_tokens: int = 64
    lanes: int = 0
    greedy: bool = True

    def __post_init__(self) -> None:
        """Refuse values that no run can mean."""
        for name, least in (
            *(("every_steps", 0), ("size", 0), ("lanes", 0)),
            *(("batch_size", 1), ("max_new_tokens", 1)),
        ):
            if getattr(self, name) < least:
                raise UserError(
                    f"eval.{name}={getattr(self, name)}: expected {least} or more"
                )


@dataclass(frozen=True)
class PolicyRunBase:
    """A run of a token policy, fully resolved.

    Attributes:
      recipe: which recipe reads it; `policy` for an import.
      name: for people, and the head of the run id.
      seed: of parameters, data order and sampling.
      task: problems and their verifier; none for the files of `data`.
      data: files; sizes; how prompts and completions are written.
      tokenizer: text to tokens.
      model: the policy; `vocab_size` 0 is the tokenizer's.
      lora: adapters to train in place of the weights; none for the weights.
      optim: optimizer and schedule.
      train: length, batch, logging, averaging.
      eval: held-out evaluation.
      checkpoint: when state is saved, and how much is kept.
      mesh: layout of the devices.
      deterministic: bit-equal results on GPU too, at its cost in speed.
      inherit: take model and tokenizer from `init_from`; `remat`, `value_head` and the
        dtypes stay this config's, `model.dtype=inherited` excepted.
      init_from: `RUN[@step]` whose parameters the run started from; empty for none.
      init_from_sha256: of that checkpoint, so that the folder says what it was.
    """

    recipe: str = "policy"
    name: str = "run"
    seed: int = 0
    task: TaskConfig | None = None
    data: TextDataConfig = field(default_factory=TextDataConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    model: PolicyConfig = field(default_factory=PolicyConfig)
    lora: LoraConfig | None = None
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(kind="adamw"))
    train: TrainConfig = field(default_factory=lambda: TrainConfig(stop_metric=GREEDY))
    eval: PolicyEvalConfig = field(default_factory=PolicyEvalConfig)
    checkpoint: CheckpointConfig = field(
        default_factory=lambda: CheckpointConfig(best_metric=GREEDY)
    )
    mesh: MeshConfig = field(default_factory=MeshConfig)
    deterministic: bool = False
    inherit: bool = False
    init_from: str = ""
    init_from_sha256: str = ""

    @property
    def weight_copies(self) -> int:
        """How many further copies of the weights the state carries."""
        return 0


@dataclass(frozen=True)
class ImportedPolicyConfig(PolicyRunBase):
    """A policy that came from elsewhere."""

    recipe: Literal["policy"] = "policy"  # pyright: ignore[reportIncompatibleVariableOverride]


NOT_IDENTITY = frozenset(
    {
        "name",
        "mesh",
        "inherit",
        "init_from",
        "data.path",
        "data.test_path",
        "tokenizer.path",
        "eval",
        "checkpoint",
        "train.log_every",
        "train.max_time_s",
        "train.steps_per_dispatch",
        "train.stop_at_accuracy",
        "train.stop_evaluations",
        "train.stop_metric",
    }
)
"""Keys that may change between two starts of one run: hardware, paths, logging,
evaluation and saving."""


def not_identity(config: PolicyRunBase) -> frozenset[str]:
    """Return the keys on which a resumed run may differ from its folder.

    A longer total is the same run unless the learning rate depends on the total.
    """
    if config.optim.lr_min_ratio == 1.0:
        return NOT_IDENTITY | {"train.total_steps"}
    return NOT_IDENTITY


def run_id(config: PolicyRunBase) -> str:
    """Return the name of the run: equal configs but for hardware and paths.

    Files count by what is in them, wherever they lie.
    """
    paths = ("data.path", "data.test_path", "tokenizer.path")
    name = config_hash(config, {"mesh", "init_from", *paths})
    named = [config.data.path, config.data.test_path]
    if config.tokenizer.path:  # beside it lie weights
        named.append(str(Path(config.tokenizer.path) / "tokenizer.json"))
    there = [path for path in named if path and Path(path).exists()]
    if there:
        digest = hashlib.sha256(name.encode())
        for path in there:
            digest.update(content_hash(path).encode())
        name = digest.hexdigest()[: len(name)]
    return f"{config.name}-{name}"


def find_task(config: PolicyRunBase) -> TextTask | None:
    """Return the task that a config names, None where it trains on files."""
    return None if config.task is None else make_task(config.task)


def fit_vocabulary(config: C, tokenizer: Tokenizer) -> C:
    """Return the config whose model knows which of its rows are tokens.

    Raises:
      UserError: the tokenizer has ids that the model has no row for.
    """
    model, ids = config.model, tokenizer.vocab_size
    if model.vocab_size == ids:
        return config
    if model.vocab_size and ids > model.rows:
        raise UserError(
            f"the tokenizer has ids up to {ids - 1}, and the model "
            f"{model.rows} rows (model.vocab_size={model.vocab_size}, "
            f"model.vocab_rows={model.vocab_rows}); expected {ids} rows or more"
        )
    rows = model.rows if model.rows > ids else 0
    fitted = dataclasses.replace(model, vocab_size=ids, vocab_rows=rows)
    return dataclasses.replace(config, model=fitted)


def validate_policy(config: PolicyRunBase, n_devices: int | None = None) -> None:
    """Refuse what cannot run, whatever the recipe.

    Args:
      config: to check.
      n_devices: devices there are; asks JAX if not given.

    Raises:
      UserError: names the key, the value and what is accepted.
    """
    for key, value in (("seed", config.seed), ("data.seed", config.data.seed)):
        if not 0 <= value < 2**63:
            raise UserError(f"{key}={value}: expected between 0 and {2**63 - 1}")
    if config.model.vocab_size:
        check_policy(config.model)
    for key in ("dtype", "param_dtype"):
        value = getattr(config.model, key)
        if value == "float64" and not jax.config.read("jax_enable_x64"):
            raise UserError(
                f"model.{key}='float64': JAX has 64 bits switched off and would "
                "compute in float32; set JAX_ENABLE_X64=1 in the environment"
            )
    if config.lora is not None and not config.lora.alpha > 0:
        raise UserError(f"lora.alpha={config.lora.alpha}: expected more than 0")
    _check_metrics(config)
    check_batches(
        config.mesh,
        n_devices,
        train=config.train.batch_size,
        grad_accum=config.train.grad_accum,
        evaluate=config.eval.batch_size,
    )
    model = config.model
    experts = model.moe.n_experts if model.moe is not None else 0
    check_parts(config.mesh, n_devices, heads=model.n_heads, experts=experts)


def _check_metrics(config: PolicyRunBase) -> None:
    """Without decoding, nothing is known of greedy accuracy."""
    if config.eval.greedy:
        return
    named = (
        ("checkpoint.best_metric", config.checkpoint.best_metric),
        ("train.stop_metric", config.train.stop_metric),
    )
    for key, value in named:
        used = key != "train.stop_metric" or config.train.stop_at_accuracy > 0
        if value == GREEDY and used:
            raise UserError(
                f"{key}={value!r} needs eval.greedy=true; without decoding there is "
                f"{LOSS} (with checkpoint.best_mode=min)"
            )
