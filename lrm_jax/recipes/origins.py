# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a run folder says about where its run came from, asked before it goes on."""

from collections.abc import Sequence

from lrm_jax.training import files, manifest
from lrm_jax.training.checkpoint import list_steps
from lrm_jax.training.run_folder import read_config
from lrm_jax.types import UserError


def has_begun(run_dir: str) -> bool:
    """Return whether the run has a whole checkpoint of its own already."""
    folder = files.as_path(run_dir) / "checkpoints"
    return any(info.complete for info in list_steps(folder))


def started_from(run_dir: str, init_from: str) -> str | None:
    """Return the source's hash where the run has a checkpoint of its own already.

    Its source may have been trained on, moved or deleted since.
    """
    if not has_begun(run_dir):
        return None
    written = read_config(run_dir)
    if written.get("init_from") != init_from:
        return None
    return written.get("init_from_sha256")


def refuse_other_data(path: str, run_dir: str, fingerprint: str) -> None:
    """Refuse to go on with other training data than a run began with.

    Paths are no part of a run's identity; what the files hold is.

    Args:
      path: `data.path`, for the message.
      run_dir: the run folder.
      fingerprint: of the data at hand.
    """
    checkpoints = files.as_path(run_dir) / "checkpoints"
    extras = [
        manifest.sound_extra(checkpoints / str(info.step))
        for info in list_steps(checkpoints)
    ]
    told = [(extra or {}).get("data", {}).get("sha256") for extra in extras]
    before = next((text for text in reversed(told) if text), fingerprint)
    if before != fingerprint:
        raise UserError(
            f"data.path={path!r}: these are not the training data of the "
            f"run in {run_dir} (sha256 {fingerprint[:12]} here, {before[:12]} there); "
            "name its data, or choose another --run-dir"
        )


def refuse_unequal_data(path: str, fingerprints: Sequence[str]) -> None:
    """Refuse processes whose rows of one batch would come from different data.

    Args:
      path: `data.path`, for the message.
      fingerprints: of the data that each process has.
    """
    for process, other in enumerate(fingerprints):
        if other != fingerprints[0]:
            raise UserError(
                f"data.path={path!r}: process {process} has other training data than "
                f"process 0 (sha256 {other[:12]} and {fingerprints[0][:12]})"
            )
