# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""`lrm import` and `lrm export`: published HRM and TRM checkpoints <-> run folders.

What a run's own config cannot say about the source (names, dtypes, metadata, the
text of its config) is kept beside it in `interop.json`, so that a checkpoint that
came in goes out again byte for byte.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from lrm_jax.config import from_dict, to_dict
from lrm_jax.data.pipeline import PuzzleDataConfig
from lrm_jax.interop import torch_files
from lrm_jax.interop.arch import (
    KINDS,
    Arch,
    Kind,
    arch_to_configs,
    configs_to_arch,
    dump_yaml,
    read_settings,
)
from lrm_jax.interop.hrm_trm import (
    COMPILED_PREFIX,
    export_state_dict,
    import_state_dict,
)
from lrm_jax.interop.tensors import (
    StateDict,
    file_format,
    read_safetensors,
    read_tensors,
    write_safetensors,
)
from lrm_jax.losses import LossConfig
from lrm_jax.models.latent import LatentConfig, count_params, latent_core
from lrm_jax.reasoning.halting import HaltingConfig
from lrm_jax.recipes.run_config import RunConfig, validate
from lrm_jax.storage.paths import AnyPath, local_only, to_read
from lrm_jax.training import files
from lrm_jax.training.checkpoint import list_steps
from lrm_jax.training.loading import (
    CHECKPOINTS,
    load_params,
    parse_source,
    write_params,
)
from lrm_jax.training.optim import OptimConfig
from lrm_jax.training.run_folder import open_run, read_config
from lrm_jax.training.train_config import TrainConfig
from lrm_jax.types import Params, UserError

INTEROP_FILE = "interop.json"
CONFIG_NAMES = ("all_config.yaml", "config.json", "config.yaml")
WEIGHT_NAMES = ("checkpoint", "model.safetensors", "weights.safetensors", "model.pt")
WEIGHT_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")

Format = Literal["safetensors", "torch"]


class Origin(NamedTuple):
    """What an import keeps of its source beside the parameters.

    Attributes:
      kind: whose format it had.
      file: name of the weights' file.
      format: of that file.
      prefix: before every name.
      dtypes: of each tensor, in the file's order.
      metadata: of a safetensors file; None where it has none.
      config_file: name of the config.
      config_text: the config, as it was.
    """

    kind: str
    file: str
    format: str
    prefix: str
    dtypes: dict[str, str]
    metadata: dict[str, str] | None
    config_file: str
    config_text: str


def import_checkpoint(
    kind: str, src: str | Path, dst: str | Path, *, arch: str | Path | None = None
) -> dict[str, Any]:
    """Make a run folder of a published checkpoint.

    Args:
      kind: `hrm` or `trm`.
      src: folder with the config and the weights, or the weights' file.
      dst: run folder to make; must not exist, or be empty.
      arch: the config, where `src` has none or another is meant.

    Returns:
      {run_dir, params, unused, missing}: how many parameters are trained, and
      which tensors of the file no parameter took.

    Raises:
      UserError: `src` is no checkpoint of that kind and config, or is damaged, or
        `dst` is taken.
    """
    kind = _checked_kind(kind)
    _refuse_taken(to_read(dst), "import")
    weights = find_weights(local_only(src, "checkpoint"))
    config_path = _find_config(Path(src), arch)
    settings = read_settings(config_path)
    metadata = None
    if file_format(weights) == "safetensors":
        tensors, metadata = read_safetensors(weights)
    else:
        tensors = read_tensors(weights)
    if not tensors:
        raise UserError(f"{weights}: holds no tensors")
    ours = arch_to_configs(kind, settings, tensors)
    config = run_config(kind, ours, settings, name=f"{kind}-import")
    validate(config, n_devices=1)
    imported = import_state_dict(ours.model, tensors, where=str(weights))
    params = _run_params(ours.model, imported.params)
    origin = Origin(
        kind=kind,
        file=weights.name,
        format=file_format(weights),
        prefix=imported.prefix,
        dtypes={name: str(value.dtype) for name, value in tensors.items()},
        metadata=metadata,
        config_file=config_path.name,
        config_text=config_path.read_text(encoding="utf-8"),
    )
    with open_run(dst, to_dict(config)) as folder:
        write_params(dst, params, extra={"imported_from": weights.name, "kind": kind})
        with files.user_errors(f"{dst} cannot be written"):
            text = json.dumps(origin._asdict(), indent=1)
            files.write_atomic(folder.path / INTEROP_FILE, text + "\n")
    return {
        "run_dir": str(folder.path),
        "params": count_params(params["weights"]),
        "unused": imported.unused,
        "missing": [],
    }


def export_checkpoint(
    kind: str,
    run: str | Path,
    dst: str | Path,
    *,
    step: str | int | None = None,
    ema: bool = True,
    fmt: Format | None = None,
) -> dict[str, Any]:
    """Write a run's parameters as the reference's own checkpoint.

    Args:
      kind: `hrm` or `trm`.
      run: run folder, or `RUN@step`.
      dst: folder to write to; must not exist, or be empty.
      step: a number, `latest` or `best`; None for what `run` says, or the best
        that was evaluated, or the newest.
      ema: write the averaged weights where there are (as TRM does).
      fmt: of the weights' file; None for the one the run was imported from, or
        safetensors.

    Returns:
      {files, step, tensors}, and `warning` where it is not the newest step that was
      asked for.

    Raises:
      UserError: the run cannot be written in that format, or `dst` is taken.
    """
    kind = _checked_kind(kind)
    _refuse_taken(local_only(dst, "export folder"), "export")
    folder, which = parse_source(str(run))
    config = from_dict(RunConfig, read_config(folder))
    halting, loss = vars(config.halting), vars(config.loss)
    arch = configs_to_arch(kind, config.model, halting, loss)
    abstract = jax.eval_shape(latent_core(config.model).init, jax.random.key(0))
    if step is None:
        step = which if "@" in str(run) else _best_or_latest(to_read(folder))
    loaded = load_params(folder, step, abstract=abstract)
    params = loaded.params
    if ema and loaded.ema is not None:
        params = {**params, "weights": loaded.ema}
    origin = _read_origin(to_read(folder))
    if origin is not None and origin.kind != kind:
        raise UserError(f"{run} was imported from kind {origin.kind}, not {kind}")
    prefix = COMPILED_PREFIX if origin is None else origin.prefix
    tensors = export_state_dict(config.model, params, prefix=prefix)
    if origin is not None:
        tensors = _as_in_source(tensors, origin)
    weights, settings = _target_names(Path(dst), origin, fmt)
    target = fmt or (origin.format if origin else "safetensors")
    with files.user_errors(f"{dst} cannot be written"):
        Path(dst).mkdir(parents=True, exist_ok=True)
        if target == "torch":
            torch_files.write_torch(weights, tensors)
        else:
            write_safetensors(weights, tensors, origin.metadata if origin else None)
        text = dump_yaml({"arch": arch}) if origin is None else origin.config_text
        settings.write_text(text, encoding="utf-8")
    written = [str(weights), str(settings)]
    told = {"files": written, "step": loaded.step, "tensors": len(tensors)}
    return told | ({"warning": loaded.warning} if loaded.warning else {})


def find_weights(src: Path) -> Path:
    """Return the weights' file of a checkpoint folder, or the file itself.

    Raises:
      UserError: there is none, or several of which none has a usual name.
    """
    if src.is_file():
        return src
    if not src.is_dir():
        raise UserError(f"{src}: no such file or folder; expected a checkpoint")
    for name in WEIGHT_NAMES:
        if (src / name).is_file():
            return src / name
    found = sorted(
        path
        for path in src.iterdir()
        if path.is_file()
        and (path.suffix in WEIGHT_SUFFIXES or path.name.startswith("step_"))
    )
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(path.name for path in found)
        raise UserError(f"{src}: several weight files ({names}); give one as SRC")
    usual = ", ".join(WEIGHT_NAMES)
    raise UserError(f"{src}: no weights; expected {usual}, step_N or *.safetensors")


def run_config(
    kind: Kind, arch: Arch, settings: Mapping[str, Any], *, name: str
) -> RunConfig:
    """Return the run config of a published model and its training settings."""
    train = {**settings, **dict(settings.get("train") or {})}
    optim = {
        field: _number(train, field, default)
        for field, default in vars(OptimConfig()).items()
        if field in train and not isinstance(default, str)
    }
    ema = train.get("ema_rate") if train.get("ema") else settings.get("ema_mu")
    batch = train.get("global_batch_size") or settings.get("batch_size") or 64
    return RunConfig(
        name=name,
        data=_data_config(arch.model),
        model=arch.model,
        halting=HaltingConfig(**arch.halting),
        loss=LossConfig(**arch.loss),
        optim=from_dict(OptimConfig, {"kind": "adam_atan2", **optim}, "optim"),
        train=TrainConfig(
            total_steps=int(train.get("total_steps") or TrainConfig().total_steps),
            batch_size=int(batch),
            ema_decay=float(ema or 0.0),
        ),
    )


def _data_config(model: LatentConfig) -> PuzzleDataConfig:
    """The published tasks by their sizes; otherwise what files say themselves."""
    side = math.isqrt(model.seq_len)
    square = side * side == model.seq_len
    if square and side in (4, 6, 9) and model.vocab_size >= side + 2:
        return PuzzleDataConfig(kind="sudoku", side=side)
    if square and model.vocab_size == 6:
        return PuzzleDataConfig(kind="maze", side=side, augment=False)
    if model.seq_len == 900 and model.vocab_size == 12:
        return PuzzleDataConfig(kind="arc", side=30, augment=False)
    return PuzzleDataConfig(kind="sudoku", side=0)


def _number(settings: Mapping[str, Any], field: str, like: float) -> float | int:
    value = settings[field]
    try:
        number = float(value)  # YAML 1.1 reads 1e-4 as text
    except (TypeError, ValueError) as error:
        raise UserError(f"{field}={value!r}: expected a number") from error
    return int(number) if isinstance(like, int) else number


def _run_params(model: LatentConfig, params: Params) -> Params:
    """Return the parameters in the dtypes of a run, which must hold them exactly."""
    abstract = jax.eval_shape(latent_core(model).init, jax.random.key(0))

    def convert(path: Any, leaf: jax.ShapeDtypeStruct, value: np.ndarray) -> np.ndarray:
        ours = value.astype(leaf.dtype)
        if not np.array_equal(ours.astype(value.dtype), value):
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            raise UserError(
                f"{name}: {value.dtype} values in the checkpoint that {leaf.dtype} "
                "cannot hold; set arch.forward_dtype to float32"
            )
        return ours

    return jax.tree_util.tree_map_with_path(convert, abstract, params)


def _as_in_source(tensors: StateDict, origin: Origin) -> StateDict:
    """Give tensors the dtypes and the order of the file they came from."""
    ordered = {}
    for name, dtype in origin.dtypes.items():
        if name in tensors:
            ordered[name] = tensors[name].astype(np.dtype(dtype))
    return ordered


def _target_names(
    dst: Path, origin: Origin | None, fmt: Format | None
) -> tuple[Path, Path]:
    if origin is None:
        name = "checkpoint" if fmt == "torch" else "model.safetensors"
        return dst / name, dst / "all_config.yaml"
    if fmt in (None, origin.format):
        return dst / origin.file, dst / origin.config_file
    name = "checkpoint" if fmt == "torch" else "model.safetensors"
    return dst / name, dst / origin.config_file


def _best_or_latest(run: AnyPath) -> str:
    infos = list_steps(files.as_path(run) / CHECKPOINTS)
    return "best" if any(info.best for info in infos) else "latest"


def _read_origin(run: AnyPath) -> Origin | None:
    path = run / INTEROP_FILE
    if not path.is_file():
        return None
    try:
        return Origin(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is damaged: {error}") from error


def _find_config(src: Path, arch: str | Path | None) -> Path:
    if arch is not None:
        return Path(arch)
    folder = src if src.is_dir() else src.parent
    for name in CONFIG_NAMES:
        if (folder / name).is_file():
            return folder / name
    raise UserError(
        f"{folder}: no {' or '.join(CONFIG_NAMES)}; give the model's config with "
        "--arch FILE"
    )


def _checked_kind(kind: str) -> Kind:
    for known in KINDS:
        if kind == known:
            return known
    raise UserError(f"kind {kind!r}: expected {' or '.join(KINDS)}")


def _refuse_taken(dst: AnyPath, what: str) -> None:
    if dst.is_file() or (dst.is_dir() and any(dst.iterdir())):
        raise UserError(f"{dst}: not empty; {what} never writes over anything")
