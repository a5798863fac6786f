# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reinforcement learning with verifiable rewards, as pure functions of arrays.

Shape letters: `Q` prompts, `G` completions of a prompt, `B` = Q * G rows (group
major: rows q * G .. q * G + G - 1 are of prompt q), `C` tokens of a completion.
"""
