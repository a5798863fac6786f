# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Mathematical equality by math-verify (extra `math`), in processes with a deadline."""

import importlib.util
from collections.abc import Sequence
from typing import Literal

from lrm_jax.data.verify.equivalence import equal_answers
from lrm_jax.data.verify.offered import offers_more
from lrm_jax.data.verify.pool import Pool
from lrm_jax.data.verify.towers import is_tower
from lrm_jax.types import UserError

Answered = bool | None | Literal["timeout", "crash"]
"""Equal or not; None where one cannot be read; or why there is no result."""


class MathPool:
    """Compares answers: our rules first, math-verify for what they do not settle.

    What offers several candidates is wrong, a tower of powers is not read.

    A context manager; its processes start with the first pair that needs them.
    """

    def __init__(
        self, *, deadline_s: float = 5.0, workers: int = 2, memory_mb: int = 4096
    ) -> None:
        """Take the limits of one comparison.

        Raises:
          UserError: math-verify is not installed.
        """
        if importlib.util.find_spec("math_verify") is None:
            raise UserError(
                "answers of mathematics are compared by math-verify, which is not "
                "installed; pip install 'lrm-jax[math]'"
            )
        self._pool = Pool(
            "lrm_jax.data.verify.math_call:equal",
            workers=workers,
            deadline_s=deadline_s,
            memory_mb=memory_mb,
        )

    def equal(self, pairs: Sequence[tuple[str, str]]) -> list[Answered]:
        """Compare (gold, answer) pairs."""
        known: dict[tuple[str, str], Answered] = {
            pair: equal_answers(*pair) for pair in pairs
        }
        for pair in [pair for pair, same in known.items() if same is False]:
            if any(is_tower(text) for text in pair):
                known[pair] = None
        open_pairs = [
            pair
            for pair, same in known.items()
            if same is False and not offers_more(*pair)
        ]
        outcomes = self._pool.map([list(pair) for pair in open_pairs])
        for pair, outcome in zip(open_pairs, outcomes, strict=True):
            if outcome.status == "ok":
                known[pair] = outcome.value
            elif outcome.status == "error":
                known[pair] = None
            else:
                known[pair] = outcome.status
        return [known[pair] for pair in pairs]

    def close(self) -> None:
        """End the processes."""
        self._pool.close()

    def __enter__(self) -> "MathPool":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()
