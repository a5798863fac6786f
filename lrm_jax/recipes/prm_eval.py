# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Held-out evaluation of a reward model, step by step."""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from lrm_jax.data.step_rows import StepRows
from lrm_jax.evaluation.step_quality import step_quality
from lrm_jax.prm.losses import StepLossConfig, judge_steps, loss_count, loss_sum
from lrm_jax.prm.scorer import WholeScorer
from lrm_jax.recipes.policy_eval import batches_of
from lrm_jax.recipes.prm_step import read_steps
from lrm_jax.training.own_rows import own_rows, place
from lrm_jax.types import Params


class HeldOutSteps:
    """Loss, accuracy and AUROC on held-out steps; compiles once.

    Attributes:
      count: rows that are used.
    """

    def __init__(
        self,
        scorer: WholeScorer,
        loss: StepLossConfig,
        rows: StepRows,
        mesh: Mesh,
        *,
        size: int,
        batch_size: int,
    ) -> None:
        """Bind a scorer to rows.

        Args:
          scorer: the model's functions.
          loss: what is learned, which says what is right.
          rows: held out.
          mesh: where batches go.
          size: rows to use; 0 for all.
          batch_size: rows at a time.
        """
        self._rows, self._mesh, self._batch_size = rows, mesh, batch_size
        self.count = min(size or len(rows), len(rows))
        self._own = own_rows(mesh, batch_size)

        def measure(params: Params, batch: Any) -> tuple[Any, ...]:
            logits = read_steps(scorer, params, batch)
            given = (batch["labels"], batch["label_mask"])
            total, count = loss_sum(loss, logits, *given), loss_count(loss, *given)
            return logits, *judge_steps(loss, logits, *given), total, count

        # Whole on every process: pairs of steps are compared across rows.
        self._measure = jax.jit(measure, out_shardings=NamedSharding(mesh, P()))

    def __call__(self, params: Params) -> dict[str, float]:
        """Return metrics `prm/...` of parameters as the scorer takes them.

        AUROC is of right against wrong steps: all of them (`prm/auroc`), those at the
        same place in their texts (`prm/auroc_within_index`), and of the place alone
        (`prm/auroc_by_index`); 0.5 where there are none of one kind.
        """
        found: list[list[np.ndarray]] = []
        total = count = 0.0
        for numbers in batches_of(range(self.count), self._batch_size):
            batch = self._batch(list(numbers))
            logits, says, right, known, nats, terms = self._measure(params, batch)
            kept = np.asarray(known)
            index = np.broadcast_to(np.arange(kept.shape[1]), kept.shape)
            found.append([np.asarray(x)[kept] for x in (logits, says, right)])
            found[-1].append(index[kept])
            total, count = total + float(nats), count + float(terms)
        logits, says, right, index = map(np.concatenate, zip(*found, strict=True))
        quality = step_quality(logits, right, index)
        defined = lambda x: float(x) if np.isfinite(x) else 0.5
        return {
            "prm/held_out_loss": total / max(count, 1),
            "prm/held_out_accuracy": float(np.mean(says == right)),
            "prm/held_out_label_rate": float(np.mean(right)),
            "prm/auroc": defined(quality.auroc),
            "prm/auroc_within_index": defined(quality.within_index),
            "prm/auroc_by_index": defined(quality.by_index),
        }

    def _batch(self, numbers: list[int]) -> dict[str, jax.Array]:
        """Rows by number; a short last batch is filled with rows without a label."""
        filled = [numbers[i] if i < len(numbers) else numbers[0] for i in self._own]
        batch = self._rows.batch(filled)
        batch["label_mask"] &= (self._own < len(numbers))[:, None]
        return place(self._mesh, batch, self._own, self._batch_size)
