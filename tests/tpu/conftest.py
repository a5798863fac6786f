# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A fresh folder of stand-ins for each test."""

from pathlib import Path

import pytest

from tests.tpu.stand_ins import Cloud


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)
