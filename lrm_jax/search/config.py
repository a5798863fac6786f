# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""How a tree is searched: one frozen dataclass for the core and for run configs."""

from dataclasses import dataclass
from typing import Literal

from lrm_jax.types import UserError

Method = Literal["puct", "uct", "gumbel"]
QTransform = Literal["auto", "parent_siblings", "min_max", "mix", "none"]
Backup = Literal["mean", "max"]
Solved = Literal["mask", "count"]
Capped = Literal["resample", "keep"]
Recommend = Literal["auto", "visits", "value"]


@dataclass(frozen=True)
class SearchConfig:
    """How a tree is searched; static under `jax.jit`.

    Attributes:
      simulations: leaves that are evaluated in a tree, the root not counted; the most
        that any lane's budget may be.
      method: `puct` (MuZero, arXiv 1911.08265 appendix B), `uct` (Kocsis and
        Szepesvari 2006; needs no prior) or `gumbel` (sequential halving at the root,
        improved policy below; Danihelka et al., ICLR 2022).
      max_depth: deepest node, the root being 0; 0: no limit.
      leaves: leaves that a tree evaluates at once (one call of the model has
        trees * leaves rows); divides `simulations`.
      lanes: trees that are searched at a time on a device, short batches padded; 0:
        all. Where it is fixed, a network multiplies matrices of one shape whatever
        the batch, so that a tree's bits do not depend on its company.
      backup: a node's value is the `mean` of the returns through it, or the `max` over
        the children it has (exact for the best plan once all is expanded).
      q_transform: how values enter a score: `parent_siblings` and `min_max` scale to
        [0, 1] (by the values of a node and its children, or by `value_range`), `mix`
        completes with the mixed value, `none` takes values as they are; `auto`:
        parent_siblings for puct, none for uct, mix for gumbel.
      value_range: least and greatest value, for `min_max`.
      pb_c_init: c1 of PUCT.
      pb_c_base: c2 of PUCT.
      uct_c: factor of UCT's exploration term.
      dirichlet_fraction: share of Dirichlet noise in the root's prior (puct, uct).
      dirichlet_alpha: its concentration.
      gumbel_scale: factor of the Gumbel noise at the root; 0 searches without chance.
      max_considered: actions that sequential halving starts with, at most.
      value_scale: sigma's factor (gumbel).
      maxvisit_init: sigma's offset (gumbel).
      rescale_values: whether completed values are scaled to [0, 1] before sigma.
      solved: `mask` leads no simulation into a subtree of which everything is known,
        and stops where that is the whole tree; `count` goes on visiting (the visits
        that the papers train on).
      capped: what a visit to a node at `max_depth` does: `resample` asks the model
        again with a new key and averages, `keep` counts the value there is.
      virtual_loss: value that a leaf on its way is thought to return below its mean,
        in units of the scaled value; only where `leaves` > 1.
      recommend: `visits` or `value` decides between the root's actions; `auto`: visits
        for puct and uct, and for gumbel what sequential halving leaves.
      memory_limit_bytes: of the trees on a device; 0: none.
    """

    simulations: int = 64
    method: Method = "puct"
    max_depth: int = 0
    leaves: int = 1
    lanes: int = 0
    backup: Backup = "mean"
    q_transform: QTransform = "auto"
    value_range: tuple[float, float] = (0.0, 1.0)
    pb_c_init: float = 1.25
    pb_c_base: float = 19652.0
    uct_c: float = 2.0**0.5
    dirichlet_fraction: float = 0.0
    dirichlet_alpha: float = 0.3
    gumbel_scale: float = 1.0
    max_considered: int = 16
    value_scale: float = 0.1
    maxvisit_init: float = 50.0
    rescale_values: bool = True
    solved: Solved = "mask"
    capped: Capped = "resample"
    virtual_loss: float = 0.0
    recommend: Recommend = "auto"
    memory_limit_bytes: int = 0

    @property
    def rounds(self) -> int:
        """Calls of the model after the root's."""
        return self.simulations // self.leaves

    @property
    def transform(self) -> QTransform:
        """The transform of values, `auto` resolved."""
        if self.q_transform != "auto":
            return self.q_transform
        methods: dict[str, QTransform] = {
            "puct": "parent_siblings",
            "uct": "none",
            "gumbel": "mix",
        }
        return methods[self.method]


def check_config(config: SearchConfig) -> None:
    """Refuse what no search can be made of.

    Raises:
      UserError: names the field, its value and what is accepted.
    """
    least = {"simulations": 1, "leaves": 1, "max_depth": 0, "lanes": 0}
    least |= {"max_considered": 1, "memory_limit_bytes": 0}
    for name, low in least.items():
        if getattr(config, name) < low:
            raise UserError(
                f"search.{name}={getattr(config, name)}: expected {low} or more"
            )
    if config.simulations % config.leaves:
        raise UserError(
            f"search.leaves={config.leaves}: expected a divisor of "
            f"search.simulations={config.simulations}"
        )
    choices = {
        "method": ("puct", "uct", "gumbel"),
        "q_transform": ("auto", "parent_siblings", "min_max", "mix", "none"),
        "backup": ("mean", "max"),
        "solved": ("mask", "count"),
        "capped": ("resample", "keep"),
        "recommend": ("auto", "visits", "value"),
    }
    for name, accepted in choices.items():
        if getattr(config, name) not in accepted:
            raise UserError(
                f"search.{name}={getattr(config, name)!r}: expected one of "
                f"{', '.join(accepted)}"
            )
    low, high = config.value_range
    if not low < high:
        raise UserError(f"search.value_range={low}, {high}: expected low < high")
    if not 0 <= config.dirichlet_fraction <= 1 or config.dirichlet_alpha <= 0:
        raise UserError(
            f"search.dirichlet_fraction={config.dirichlet_fraction}, "
            f"dirichlet_alpha={config.dirichlet_alpha}: expected 0..1 and above 0"
        )
