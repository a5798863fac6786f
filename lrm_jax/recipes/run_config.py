# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""`RunConfig`: everything a run is made of; its identity; what it refuses.

Each part is defined beside the code that reads it. `validate` finds whatever can
be known before the first compile, and names the key, the value and what is
accepted.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import jax

from lrm_jax.config import config_hash, resolve
from lrm_jax.config.tree import suggest
from lrm_jax.data.pipeline import PuzzleDataConfig
from lrm_jax.evaluation.harness import EvalConfig
from lrm_jax.losses import LossConfig
from lrm_jax.meshes import check_batches, check_parts
from lrm_jax.models.latent import LatentConfig
from lrm_jax.reasoning.budget import ThinkingBudget
from lrm_jax.reasoning.halting import RULES, HaltingConfig
from lrm_jax.sharding import MeshConfig
from lrm_jax.training.checkpoint import CheckpointConfig
from lrm_jax.training.loop import TrainConfig
from lrm_jax.training.optim import OptimConfig
from lrm_jax.types import UserError


@dataclass(frozen=True)
class RunConfig:
    """A run, fully resolved.

    Attributes:
      recipe: which recipe reads it.
      name: for people, and the head of the run id.
      seed: of parameters, data order, augmentation and exploration.
      data: puzzles.
      model: the latent core.
      halting: when a lane stops.
      loss: of a segment.
      optim: optimizer and schedule.
      train: length, batch, logging, averaging.
      eval: what is evaluated, and how often.
      checkpoint: when state is saved, and how much is kept.
      mesh: layout of the devices.
      deterministic: bit-equal results on GPU too, at its cost in speed.
      init_from: `RUN[@step]` whose parameters the run started from; empty for none.
      init_from_sha256: of that checkpoint, so that the folder says what it was.
    """

    recipe: Literal["latent"] = "latent"
    name: str = "run"
    seed: int = 0
    data: PuzzleDataConfig = field(default_factory=PuzzleDataConfig)
    model: LatentConfig = field(default_factory=LatentConfig)
    halting: HaltingConfig = field(default_factory=HaltingConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    mesh: MeshConfig = field(default_factory=MeshConfig)
    deterministic: bool = False
    init_from: str = ""
    init_from_sha256: str = ""


NOT_IDENTITY = frozenset(
    {
        "name",
        "mesh",
        "halting.eval_margin",
        "init_from",
        "data.path",
        "data.test_path",
        "data.resident",
        "data.num_workers",
        "eval",
        "checkpoint",
        "train.log_every",
        "train.max_time_s",
        "train.steps_per_dispatch",
        "train.stop_at_accuracy",
        "train.stop_evaluations",
        "train.stop_metric",
    }
)
"""Keys that may change between two starts of one run: hardware, paths, logging,
evaluation and saving. What is computed by a step does not depend on them."""


def not_identity(config: RunConfig) -> frozenset[str]:
    """Return the keys on which a resumed run may differ from its folder.

    A longer total is the same run unless the learning rate depends on the total.
    """
    if config.optim.lr_min_ratio == 1.0:
        return NOT_IDENTITY | {"train.total_steps"}
    return NOT_IDENTITY


_PATHS_AND_MESH = frozenset({"mesh", "data.path", "data.test_path", "init_from"})


def run_id(config: RunConfig) -> str:
    """Return the name of the run: equal configs but for hardware and paths.

    Data files count by what is in them, wherever they lie.
    """
    name = config_hash(config, _PATHS_AND_MESH)
    named = (config.data.path, config.data.test_path)
    paths = [path for path in named if path and Path(path).exists()]
    if paths:
        digest = hashlib.sha256(name.encode())
        for path in paths:
            digest.update(content_hash(path).encode())
        name = digest.hexdigest()[: len(name)]
    return f"{config.name}-{name}"


def content_hash(path: str) -> str:
    """Hash a file, or names and contents of all files of a folder."""
    root = Path(path)
    files = sorted(root.rglob("*")) if root.is_dir() else [root]
    digest = hashlib.sha256()
    for file in files:
        if file.is_file():
            digest.update(str(file.relative_to(root)).encode())
            with open(file, "rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()


def validate(config: RunConfig, n_devices: int | None = None) -> None:
    """Refuse what cannot run.

    Args:
      config: to check.
      n_devices: devices there are; asks JAX if not given.

    Raises:
      UserError: names the key, the value and what is accepted.
    """
    _in_range("seed", config.seed, 0, 2**63 - 1)
    _in_range("data.seed", config.data.seed, 0, 2**63 - 1)
    _check_model(config.model)
    _check_dtype(config.model.dtype)
    _check_grid(config.model)
    _check_data(config)
    _check_halting(config)
    _check_user_code(config)
    check_batches(
        config.mesh,
        n_devices,
        train=config.train.batch_size,
        grad_accum=config.train.grad_accum,
        evaluate=config.eval.batch_size,
    )
    heads = config.model.n_heads if config.model.mixer == "attention" else None
    check_parts(config.mesh, n_devices, heads=heads)


def _check_model(model: LatentConfig) -> None:
    for name in ("vocab_size", "seq_len", "d_model", "n_heads", "l_layers"):
        _at_least(f"model.{name}", getattr(model, name), 1)
    for name in ("h_cycles", "l_cycles", "ff_multiple"):
        _at_least(f"model.{name}", getattr(model, name), 1)
    for name in ("h_layers", "puzzle_emb_dim", "puzzle_prefix_len"):
        _at_least(f"model.{name}", getattr(model, name), 0)
    if model.d_model % model.n_heads:
        heads = [n for n in range(1, model.d_model + 1) if model.d_model % n == 0]
        near = sorted(heads, key=lambda n: (abs(n - model.n_heads), n))[:3]
        raise UserError(
            f"model.n_heads={model.n_heads}: must divide model.d_model="
            f"{model.d_model}; for example {', '.join(map(str, sorted(near)))}"
        )
    if model.positions == "rope" and (model.d_model // model.n_heads) % 2:
        raise UserError(
            f"model.n_heads={model.n_heads}: rope needs an even head width, "
            f"got {model.d_model // model.n_heads}"
        )
    if model.positions == "rope" and not model.rope_theta > 0:
        raise UserError(f"model.rope_theta={model.rope_theta}: expected more than 0")
    if not model.norm_eps >= 0:
        raise UserError(f"model.norm_eps={model.norm_eps}: expected 0 or more")
    if not model.expansion > 0:
        raise UserError(f"model.expansion={model.expansion}: expected more than 0")
    if isinstance(model.grad_depth, int):
        _at_least("model.grad_depth", model.grad_depth, 1)
    if model.puzzle_emb_dim:
        _at_least("model.num_puzzle_ids", model.num_puzzle_ids, 1)
        room = model.prefix_len * model.d_model
        if model.puzzle_emb_dim > room:
            raise UserError(
                f"model.puzzle_emb_dim={model.puzzle_emb_dim}: at most "
                f"puzzle_prefix_len x d_model = {room}"
            )
    elif model.puzzle_prefix_len:
        raise UserError(
            f"model.puzzle_prefix_len={model.puzzle_prefix_len}: must be 0 where "
            "model.puzzle_emb_dim is 0"
        )


def _check_dtype(dtype: str) -> None:
    if dtype == "float64" and not jax.config.read("jax_enable_x64"):
        raise UserError(
            "model.dtype='float64': JAX has 64 bits switched off and would compute in "
            "float32; set JAX_ENABLE_X64=1 in the environment"
        )


def _check_grid(model: LatentConfig) -> None:
    if model.positions != "grid" and not model.relation_bias:
        return
    rows, cols, box_rows, box_cols = model.grid_shape
    shown = ",".join(map(str, model.grid_shape))
    if min(model.grid_shape) < 1 or rows * cols != model.seq_len:
        raise UserError(
            f"model.grid_shape={shown}: rows x columns must be "
            f"model.seq_len={model.seq_len}"
        )
    if rows % box_rows or cols % box_cols:
        raise UserError(f"model.grid_shape={shown}: boxes must tile rows and columns")


def data_shape(data: PuzzleDataConfig) -> tuple[int, int] | None:
    """Return (vocab_size, seq_len) that a kind of data needs; None if unknown."""
    if data.kind == "sudoku" and data.side:
        return data.side + 2, data.side**2
    if data.kind == "maze" and data.side:
        return 6, data.side**2
    if data.kind == "arc":
        return 12, 900
    return None


def _check_data(config: RunConfig) -> None:
    if config.data.kind == "sudoku" and config.data.side not in (0, 4, 6, 9):
        raise UserError(
            f"data.side={config.data.side}: expected 4, 6 or 9 for sudoku, or 0 to "
            "take it from the files"
        )
    needed = data_shape(config.data)
    if needed is None:
        return
    vocab_size, seq_len = needed
    what = f"data.kind={config.data.kind!r}, data.side={config.data.side}"
    if config.model.seq_len != seq_len:
        raise UserError(f"model.seq_len={config.model.seq_len}: {what} needs {seq_len}")
    if config.model.vocab_size < vocab_size:
        raise UserError(
            f"model.vocab_size={config.model.vocab_size}: {what} needs at least "
            f"{vocab_size}"
        )


def _check_halting(config: RunConfig) -> None:
    halting = config.halting
    _at_least("halting.max_steps", halting.max_steps, 1)
    _in_range("halting.exploration_prob", halting.exploration_prob, 0, 1)
    _in_range("loss.label_smoothing", config.loss.label_smoothing, 0, 1)
    cap = config.eval.max_steps or halting.max_steps
    for budget in config.eval.budgets:
        ThinkingBudget.parse(budget, cap=cap)


def _check_user_code(config: RunConfig) -> None:
    """Known names, or `package.module:name` that can be imported."""
    named: list[tuple[str, str, tuple[str, ...]]] = [
        ("data.kind", config.data.kind, ("sudoku", "maze", "arc")),
        ("model.mixer", config.model.mixer, ("attention", "mlp_t")),
        ("halting.rule", config.halting.rule, RULES),
        ("loss.kind", config.loss.kind, ("stablemax", "softmax")),
    ]
    for key, value, known in named:
        if ":" in value:
            resolve(value, key)
        elif value not in known:
            accepted = ", ".join(known)
            raise UserError(
                f"{key}={value!r}: expected {accepted} or package.module:name"
                f"{suggest(value, known)}"
            )


def _at_least(key: str, value: int, least: int) -> None:
    if value < least:
        raise UserError(f"{key}={value}: expected {least} or more")


def _in_range(key: str, value: Any, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UserError(f"{key}={value}: expected between {low} and {high}")
