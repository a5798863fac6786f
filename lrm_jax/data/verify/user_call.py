# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs in a child process: calls the user's reward function."""

import importlib
from typing import Any


def score(call: dict[str, Any]) -> Any:
    """Return the rewards of a batch."""
    module, _, name = call["path"].partition(":")
    rewards = getattr(importlib.import_module(module), name)(
        call["prompts"], call["completions"], call["answers"], **call["columns"]
    )
    return list(rewards) if isinstance(rewards, tuple) else rewards
