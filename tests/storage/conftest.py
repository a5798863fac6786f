# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
import pytest

from tests.storage.stand_in import a_bucket

bucket = pytest.fixture(a_bucket)
