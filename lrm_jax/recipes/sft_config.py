# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""`SftRunConfig`: a run of supervised fine-tuning."""

from dataclasses import dataclass, field
from typing import Literal

from lrm_jax.recipes.policy_config import PolicyRunBase, validate_policy
from lrm_jax.types import UserError


@dataclass(frozen=True)
class SftConfig:
    """What is learned from worked solutions, and how rows are filled.

    Attributes:
      seq_len: tokens of a row; a shorter row is padded.
      pack: several examples in a row, none of which sees another.
      chunk: columns of the vocabulary scored at a time.
      balance_coef: weight of the experts' load-balance loss, where there are experts.
      balance: what is to be even: the load of the `batch`, or of each `sequence`.
      mtp_coef: weight of what multi-token-prediction blocks predict, where there are
        such blocks; 0 leaves them as they are.
    """

    seq_len: int = 128
    pack: bool = True
    chunk: int = 4096
    balance_coef: float = 0.001
    balance: Literal["batch", "sequence"] = "batch"
    mtp_coef: float = 0.1

    def __post_init__(self) -> None:
        """Refuse values that no run can mean."""
        least_of = {"seq_len": 2, "chunk": 1, "balance_coef": 0, "mtp_coef": 0}
        for name, least in least_of.items():
            if not getattr(self, name) >= least:
                raise UserError(
                    f"sft.{name}={getattr(self, name)}: expected {least} or more"
                )


@dataclass(frozen=True)
class SftRunConfig(PolicyRunBase):
    """A run of supervised fine-tuning, fully resolved.

    Attributes:
      recipe: `sft`.
      sft: rows and loss.
    """

    recipe: Literal["sft"] = "sft"  # pyright: ignore[reportIncompatibleVariableOverride]
    sft: SftConfig = field(default_factory=SftConfig)


def validate(config: SftRunConfig, n_devices: int | None = None) -> None:
    """Refuse what cannot run; see `validate_policy`."""
    validate_policy(config, n_devices)
    if config.sft.seq_len > config.model.max_seq_len:
        raise UserError(
            f"sft.seq_len={config.sft.seq_len}: more than model.max_seq_len="
            f"{config.model.max_seq_len}"
        )
