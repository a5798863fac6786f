# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Who may write a run's folder."""

from typing import Protocol


class Owner(Protocol):
    """An open run folder, as its checkpoints see it."""

    @property
    def lost(self) -> bool:
        """Whether another process has taken the folder over."""
        ...

    def confirm(self) -> None:
        """Raise where another process has taken the folder over."""
        ...

    def settle(self) -> None:
        """Store what was logged so far; raise where the folder is lost."""
        ...
