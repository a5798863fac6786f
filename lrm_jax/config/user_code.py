# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""User code by import path: presets, tasks, blocks, losses, halting rules."""

import importlib
import os
import sys
import traceback
from typing import Any

from lrm_jax.config.tree import one_line, suggest
from lrm_jax.types import UserError


def resolve(path: str, what: str = "import path") -> Any:
    """Return the object named `package.module:name`.

    Args:
      path: the import path; the working directory is searched last.
      what: the config key or option it came from, for messages.
    """
    module_name, colon, name = path.partition(":")
    if not (module_name and colon and name.isidentifier()):
        raise UserError(f"{what}={path!r}: expected package.module:name")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and module_name.startswith(
            str(error.name)
        ):
            raise UserError(f"{what}={path!r}: no module {error.name!r}") from error
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise UserError(
            f"{what}={path!r}: importing it failed with {type(error).__name__}: "
            f"{one_line(error)} ({frame.filename}:{frame.lineno})"
        ) from error
    if not hasattr(module, name):
        hint = suggest(name, [n for n in vars(module) if not n.startswith("_")])
        raise UserError(f"{what}={path!r}: {module_name} has no {name!r}{hint}")
    return getattr(module, name)
