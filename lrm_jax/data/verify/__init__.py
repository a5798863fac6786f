# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Verifiers of written answers, and the killable processes slow ones run in.

Import the modules themselves: child processes import this package, so it and
what judges an answer stay free of JAX.
"""
