# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Fixtures of layouts: names, shapes, counts and initial values at official sizes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lrm_jax.interop.arch import Kind, arch_to_configs
from lrm_jax.interop.hrm_trm import Entry, layout, published_tensor, split_prefix
from lrm_jax.models.latent import LatentConfig, latent_core
from lrm_jax.recipes.verify_report import Report, need, read_json

LAYOUT_FILE = "state_dict_layout.json"

# The stored statistics are rounded to six digits after the point.
_ROUNDING = 1e-6
# Truncation at two sigma of the normal before its variance was corrected.
_BOUND = 2 / 0.8796256610342398


def layout_kind(folder: Path) -> Kind:
    """Tell whose layouts a folder holds."""
    path = folder / LAYOUT_FILE
    configs = [need(case, "config", path) for case in read_json(path).values()]
    return "hrm" if all(config.get("H_layers") for config in configs) else "trm"


def verify_layout(folder: Path, kind: Kind) -> Report:
    """Compare our parameter trees with the references' state dicts.

    Checks every name, shape, dtype, whether it is trained, the number of trained
    parameters, and that our initialiser draws from the same distributions.
    """
    report, path = Report(), folder / LAYOUT_FILE
    with jax.enable_x64(False):
        for name, case in read_json(path).items():
            _verify_case(report, kind, name, case, path)
    return report


def _verify_case(
    report: Report, kind: Kind, name: str, case: Mapping[str, Any], path: Path
) -> None:
    stored = need(case, "tensors", path)
    prefix = split_prefix(list(stored))
    # The references run in bfloat16 unless told otherwise, and draw the initial
    # states in it.
    arch = {"forward_dtype": "bfloat16", **need(case, "config", path)}
    model = arch_to_configs(kind, {"arch": arch}).model
    entries = {prefix + entry.name: entry for entry in layout(model)}
    missing, extra = set(stored) - set(entries), set(entries) - set(stored)
    report.expect("names", not missing, f"{name}: ours lacks {sorted(missing)}")
    report.expect("names", not extra, f"{name}: only ours has {sorted(extra)}")
    trained = sum(
        int(np.prod(entry.shape)) for entry in entries.values() if not entry.is_buffer
    )
    want = need(case, "n_trainable_params", path)
    report.compare("n_trainable_params", trained, want, where=name)
    params = _fresh_params(model)
    for key, facts in stored.items():
        entry = entries.get(key)
        if entry is None:
            continue
        shape = tuple(facts["shape"])
        what = f"{name} {key}: shape {entry.shape}, expected {shape}"
        report.expect("shapes", entry.shape == shape, what)
        what = f"{name} {key}: dtype {entry.dtype}, expected {facts['dtype']}"
        report.expect("dtypes", str(entry.dtype) == facts["dtype"], what)
        what = f"{name} {key}: expected a {facts['kind']}"
        is_buffer = facts["kind"] == "buffer"
        report.expect("kinds", entry.is_buffer == is_buffer, what)
        if entry.shape == shape:
            _compare_init(report, f"{name} {key}", entry, params, facts)


def _fresh_params(model: LatentConfig) -> Any:
    return latent_core(model).init(jax.random.key(0))


def _compare_init(
    report: Report, where: str, entry: Entry, params: Any, facts: Mapping[str, float]
) -> None:
    """Compare statistics within five standard errors of two samples."""
    x = published_tensor(entry, params).astype(np.float64)
    spread = facts["init_std"]
    error = 5 * spread * np.sqrt(2 / x.size) + _ROUNDING
    report.compare("init_mean", np.mean(x), facts["init_mean"], atol=error, where=where)
    report.compare("init_std", np.std(x), spread, atol=error, where=where)
    widest = np.max(np.abs(x - facts["init_mean"]))
    bound = (spread + error) * _BOUND * (1 + 2**-8) + _ROUNDING
    what = f"{where}: reaches {widest:.4g}, more than two sigma"
    report.expect("init_bounds", bool(widest <= bound), what)
