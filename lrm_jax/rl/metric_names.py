# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The names of our metrics and of the same numbers in TRL's logs."""

from collections.abc import Mapping

TRL_NAMES: Mapping[str, str] = {
    "reward/mean": "reward",
    # Theirs has ddof=1: larger by sqrt(G / (G - 1)).
    "reward/std": "reward_std",
    "reward/frac_zero_std": "frac_reward_zero_std",
    "completions/mean_length": "completions/mean_length",
    "completions/clipped_ratio": "completions/clipped_ratio",
    "completions/mean_terminated_length": "completions/mean_terminated_length",
    "kl/ref_k3": "kl",
    "entropy/mean": "entropy",
    "clip_ratio/low_mean": "clip_ratio/low_mean",
    "clip_ratio/high_mean": "clip_ratio/high_mean",
    "clip_ratio/region_mean": "clip_ratio/region_mean",
    "sampling/logp_difference_mean": "sampling/sampling_logp_difference/mean",
    "sampling/logp_difference_max": "sampling/sampling_logp_difference/max",
    # Ours are before truncation, theirs after it (their issue 5231).
    "sampling/ratio_min": "sampling/importance_sampling_ratio/min",
    "sampling/ratio_mean": "sampling/importance_sampling_ratio/mean",
    "sampling/ratio_max": "sampling/importance_sampling_ratio/max",
}
"""Ours -> TRL's. NeMo-RL's `token_mult_prob_error` is `sampling/mult_prob_error`, its
`gen_kl_error` is `kl/sampler_k3`."""


def to_trl(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return metrics under TRL's names where there is one, else under ours."""
    return {TRL_NAMES.get(name, name): value for name, value in metrics.items()}
