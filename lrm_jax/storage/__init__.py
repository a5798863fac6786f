# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where run folders lie: a file system, or a bucket of Google Cloud Storage."""
