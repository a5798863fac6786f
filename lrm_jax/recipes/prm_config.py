# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""`PrmRunConfig`: a run that trains a reward model on labels of steps."""

import dataclasses
from dataclasses import dataclass, field
from typing import Literal

from lrm_jax.data.step_files import StepFileConfig
from lrm_jax.prm.losses import StepLossConfig
from lrm_jax.prm.semantics import Semantics
from lrm_jax.recipes.policy_config import (
    PolicyEvalConfig,
    PolicyRunBase,
    validate_policy,
)
from lrm_jax.steps import StepRule
from lrm_jax.training.checkpoint import CheckpointConfig
from lrm_jax.training.train_config import TrainConfig
from lrm_jax.types import UserError

AUROC = "prm/auroc"
"""Of held-out steps, right against wrong ones."""

MEANS: dict[str, tuple[Semantics, ...]] = {
    "hard": ("step_correctness", "future_success"),
    "soft": ("step_correctness", "future_success"),
    "mse": ("step_correctness", "future_success"),
    "ranking": ("step_correctness", "future_success"),
    "outcome": ("future_success",),
    "progress": ("progress",),
    "implicit": ("implicit",),
}
"""What scores can mean after training on a loss."""


@dataclass(frozen=True)
class PrmConfig:
    """What is learned from labelled steps, and how they are written.

    Attributes:
      semantics: what the scores mean, and so how those of a solution are pooled.
      loss: what is learned from the labels.
      files: how files of labelled steps are read.
      bad_steps: what becomes of a solution whose steps cannot be told apart as
        tokens (a separator inside a step): `refuse` or `drop`.
      steps: how steps become text and where they end.
      seq_len: tokens of a row, prompt and steps; one text a row.
      max_steps: steps of a row.
      chunk: columns of the vocabulary scored at a time (`implicit`).
    """

    semantics: Semantics = "future_success"
    loss: StepLossConfig = field(default_factory=StepLossConfig)
    files: StepFileConfig = field(default_factory=StepFileConfig)
    bad_steps: Literal["refuse", "drop"] = "refuse"
    steps: StepRule = field(default_factory=StepRule)
    seq_len: int = 256
    max_steps: int = 32
    chunk: int = 4096

    def __post_init__(self) -> None:
        """Refuse values that no run can mean."""
        for name, least in (("seq_len", 2), ("max_steps", 1), ("chunk", 1)):
            if getattr(self, name) < least:
                raise UserError(
                    f"prm.{name}={getattr(self, name)}: expected {least} or more"
                )
        if self.semantics not in MEANS[self.loss.kind]:
            raise UserError(
                f"prm.semantics={self.semantics!r}: scores trained by prm.loss.kind="
                f"{self.loss.kind!r} mean {' or '.join(MEANS[self.loss.kind])}"
            )


@dataclass(frozen=True)
class PrmRunConfig(PolicyRunBase):
    """A run that trains a reward model, fully resolved.

    `data.path` is a JSONL of labelled steps; `task`, where there is one, gives the
    tokenizer and no problems.

    Attributes:
      recipe: `prm`.
      prm: steps and loss.
    """

    recipe: Literal["prm"] = "prm"  # pyright: ignore[reportIncompatibleVariableOverride]
    train: TrainConfig = field(default_factory=lambda: TrainConfig(stop_metric=AUROC))
    eval: PolicyEvalConfig = field(
        default_factory=lambda: PolicyEvalConfig(greedy=False)
    )
    checkpoint: CheckpointConfig = field(
        default_factory=lambda: CheckpointConfig(best_metric=AUROC)
    )
    prm: PrmConfig = field(default_factory=PrmConfig)

    @property
    def implicit(self) -> bool:
        """Whether scores are log-ratios to a reference, not read by a head."""
        return self.prm.semantics == "implicit"

    @property
    def weight_copies(self) -> int:
        """The reference of an implicit reward model; adapters leave theirs."""
        return int(self.implicit and self.lora is None)


def with_head(config: PrmRunConfig) -> PrmRunConfig:
    """Return the config whose model has the head that its scores need."""
    model = dataclasses.replace(config.model, value_head=not config.implicit)
    return dataclasses.replace(config, model=model)


def validate(config: PrmRunConfig, n_devices: int | None = None) -> None:
    """Refuse what cannot run; see `validate_policy`."""
    validate_policy(config, n_devices)
    if config.eval.greedy:
        raise UserError(
            "eval.greedy=true: a reward model writes nothing; expected false"
        )
    if config.prm.seq_len > config.model.max_seq_len:
        raise UserError(
            f"prm.seq_len={config.prm.seq_len}: more than model.max_seq_len="
            f"{config.model.max_seq_len}"
        )
