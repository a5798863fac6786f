# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""`lrm import hf` and `lrm export hf`: Hugging Face folders <-> run folders.

What the run's config cannot say about the source (its config.json, the dtype of each
tensor) is kept in `hf_origin.json`; tokenizer and chat template in `tokenizer/`, which
the config names relative to the run folder, so that an import may be moved. Both are
found again through `init_from`, however many runs lie between.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax

from lrm_jax.config import to_dict
from lrm_jax.data.tokenizer import TokenizerConfig
from lrm_jax.interop.hf import HfPolicy, hf_tensors, load_hf, open_hf
from lrm_jax.interop.hf_config import read_hf_config
from lrm_jax.interop.hf_export import hf_config
from lrm_jax.interop.hf_files import HfWeights, write_shards
from lrm_jax.interop.hf_reward import is_reward_folder
from lrm_jax.models.policy import count_params
from lrm_jax.models.policy_config import PolicyConfig
from lrm_jax.recipes.policy_build import TOKENIZER, read_policy_config
from lrm_jax.recipes.policy_config import ImportedPolicyConfig, PolicyRunBase
from lrm_jax.recipes.policy_state import merged_weights, trained_part
from lrm_jax.storage.paths import AnyPath, local_only, to_read
from lrm_jax.training import files
from lrm_jax.training.checkpoint import list_steps
from lrm_jax.training.loading import (
    CHECKPOINTS,
    load_params,
    parse_source,
    write_params,
)
from lrm_jax.training.run_folder import open_run
from lrm_jax.types import Params, UserError

ORIGIN_FILE = "hf_origin.json"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
)
"""What a folder may hold about text; copied with `config.json`, which names ends."""

EXPORT_DTYPES = {"float32": "F32", "bfloat16": "BF16"}
SHARD_BYTES = 5 * 10**9
"""A shard is closed before it grows beyond this (as transformers does)."""


class HfOrigin(NamedTuple):
    """What an import keeps of its source beside the parameters.

    Attributes:
      config: its config.json.
      dtypes: of each tensor, in safetensors' words, in the source's order.
      metadata: of its files.
      sha256: see `source_sha256`; empty in imports that are older than it.
    """

    config: dict[str, Any]
    dtypes: dict[str, str]
    metadata: dict[str, str] | None
    sha256: str = ""


def import_hf(
    src: str | Path,
    dst: str | Path,
    *,
    dtype: str = "float32",
    param_dtype: str = "float32",
    scan_layers: bool = False,
    mtp_layers: int = 0,
) -> dict[str, Any]:
    """Make a run folder of a Hugging Face folder.

    Args:
      src: with config.json, safetensors, and tokenizer files where there are.
      dst: run folder to make; must not exist, or be empty.
      dtype: of activations.
      param_dtype: of the weights; float32 holds bfloat16 exactly.
      scan_layers: stack equal layers, which compiles faster and decodes slower.
      mtp_layers: blocks of multi-token prediction to keep; the others are left out.

    Returns:
      {run_dir, params, unused, missing, notes}.

    Raises:
      UserError: `src` is not such a folder, its model is not known, or `dst` is
        taken.
    """
    src = local_only(src, "Hugging Face folder")
    dst = local_only(dst, "run folder of an import")
    refuse_taken(dst, "import")
    if mtp_layers < 0:
        raise UserError(f"--mtp-layers {mtp_layers}: expected 0 or more")
    if is_reward_folder(raw := read_hf_config(src)):
        raise UserError(
            f"{src}: config.json names {raw['architectures'][0]}, a reward model; say "
            "how it is read: --reader qwen, trl or skywork"
        )
    loaded = load_hf(
        src,
        dtype=dtype,
        param_dtype=param_dtype,
        scan_layers=scan_layers,
        mtp_layers=mtp_layers,
    )
    return write_import(src, dst, loaded, import_config(src, loaded.cfg, TOKENIZER))


def write_import(
    src: Path, dst: Path, loaded: HfPolicy, config: ImportedPolicyConfig
) -> dict[str, Any]:
    """Write the run folder of an import; see `import_hf`.

    Args:
      src: the Hugging Face folder.
      dst: run folder to make.
      loaded: from it; its `params` become JAX's in place.
      config: see `import_config`.
    """
    sha256 = source_sha256(src, loaded.sha256)
    origin = HfOrigin(loaded.raw, loaded.dtypes, {"format": "pt"}, sha256)
    with open_run(dst, to_dict(config)) as folder:
        extra = {"imported_from": _name(src), "kind": "hf"}
        _move_to_jax(loaded.params)
        write_params(dst, {"weights": loaded.params}, extra=extra)
        with files.user_errors(f"{dst} cannot be written"):
            if config.tokenizer.path:
                _copy_text(src, dst / TOKENIZER, (*TOKENIZER_FILES, "config.json"))
            body = json.dumps(origin._asdict(), indent=1)  # last: it is whole now
            files.write_atomic(folder.path / ORIGIN_FILE, body + "\n")
    return {
        "run_dir": str(folder.path),
        "params": count_params(loaded.params),
        "unused": loaded.unused,
        "missing": [],
        "notes": loaded.notes,
    }


def config_of_hf(src: str | Path, **changes: Any) -> ImportedPolicyConfig:
    """Return the config that an import would have; no weights are read.

    Args:
      src: see `import_hf`; its tokenizer is named where it lies.
      **changes: see `load_hf`.

    Raises:
      UserError: see `import_hf`.
    """
    return import_config(Path(src), open_hf(src, **changes).cfg, str(src))


def source_sha256(src: Path, weights: str | None = None) -> str:
    """Return what tells a Hugging Face folder's contents from another's.

    Args:
      src: the folder; it may have been moved or sharded anew since.
      weights: fingerprint of its weights; None to look.
    """
    digest = hashlib.sha256((weights or HfWeights(src).fingerprint()).encode())
    for name in ("config.json", *TOKENIZER_FILES):
        path = src / name
        body = path.read_bytes() if path.is_file() else b""
        digest.update(f"{name} {len(body)}\n".encode() + body)
    return digest.hexdigest()


def refuse_other_source(src: str | Path, run: str | Path) -> None:
    """Refuse a folder that is not the one that `run` was imported from.

    Raises:
      UserError: the folder is missing or another, or `run` is no whole import.
    """
    src, run = Path(src), Path(run)
    if not (run / ORIGIN_FILE).is_file():
        raise UserError(
            f"{run}: no finished import of a Hugging Face folder; remove it, or name "
            "another"
        )
    origin = _read_origin(run / ORIGIN_FILE)
    raw = read_hf_config(src)
    weights = HfWeights(src)
    same = source_sha256(src, weights.fingerprint()) == origin.sha256
    if not origin.sha256:  # all that is known of it
        dtypes = {name: weights.dtype(name) for name in weights.names()}
        same = raw == origin.config and dtypes.items() <= origin.dtypes.items()
    if not same:
        name = read_policy_config(str(run)).name.removesuffix("-import")
        raise UserError(
            f"{src}: its config, weights or tokenizer are not those that {run} was "
            f"imported from ({name}); name that folder, or import into another"
        )


def export_hf(
    run: str | Path,
    dst: str | Path,
    *,
    step: str | int | None = None,
    ema: bool = True,
    dtype: str | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> dict[str, Any]:
    """Write a run's policy as a Hugging Face folder, adapters merged.

    Args:
      run: run folder of a policy, or `RUN@step`.
      dst: folder to write to; must not exist, or be empty.
      step: a number, `latest` or `best`; None for what `run` says, or the best that
        was evaluated, or the newest.
      ema: write the averaged weights where there are.
      dtype: `float32` or `bfloat16`; None for what each tensor of the source had.
      shard_bytes: a file is closed before it grows beyond this.

    Returns:
      {files, step, tensors}, and `warning` where it is not the newest step that was
      asked for.

    Raises:
      UserError: no run of a policy, no family has its shape, or `dst` is taken.
    """
    dst = local_only(dst, "export folder")
    refuse_taken(dst, "export")
    if dtype is not None and dtype not in EXPORT_DTYPES:
        raise UserError(
            f"dtype {dtype!r}: expected {' or '.join(EXPORT_DTYPES)}, or none"
        )
    if shard_bytes < 1:
        raise UserError(f"shard size {shard_bytes}: expected 1 byte or more")
    folder, which = parse_source(str(run))
    config = read_policy_config(folder)
    if step is None:
        step = which if "@" in str(run) else best_or_latest(to_read(folder))
    origin, text = find_origin(to_read(folder), config)
    loaded = load_params(folder, step)
    params = loaded.params
    if ema and loaded.ema is not None:
        params = {**params, trained_part(params): loaded.ema}
    dtypes: Mapping[str, str] | str = EXPORT_DTYPES[dtype or "float32"]
    if origin is not None and dtype is None:
        dtypes = origin.dtypes
    raw = hf_config(config.model, origin.config if origin else None, dtype)
    tensors = hf_tensors(config.model, merged_weights(params), dtypes)
    metadata = origin.metadata if origin else {"format": "pt"}
    with files.user_errors(f"{dst} cannot be written"):
        dst.mkdir(parents=True, exist_ok=True)
        written, count = write_shards(dst, tensors, shard_bytes, metadata)
        body = json.dumps(raw, indent=2) + "\n"
        (dst / "config.json").write_text(body, encoding="utf-8")
        written += [dst / "config.json"]
        if text is not None:
            written += _copy_text(text, dst, TOKENIZER_FILES)
    told = {"files": list(map(str, written)), "step": loaded.step, "tensors": count}
    return told | ({"warning": loaded.warning} if loaded.warning else {})


def _move_to_jax(params: Params) -> None:
    """Turn NumPy leaves into JAX's one by one, in place, in the host's memory.

    Saving would copy all of NumPy's at once, and hold the model twice.
    """
    try:
        device = jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # no CPU device beside the accelerator
        return
    for name, part in params.items():
        if isinstance(part, dict):
            _move_to_jax(part)
        else:
            params[name] = jax.device_put(part, device).block_until_ready()


def find_origin(
    folder: AnyPath, config: PolicyRunBase
) -> tuple[HfOrigin | None, Path | None]:
    """Return what is known of the Hugging Face folder that a run goes back to.

    Returns:
      The origin and the folder of tokenizer files, None where there is none.
    """
    text = Path(config.tokenizer.path) if config.tokenizer.kind == "hf" else None
    seen = set()
    while folder not in seen:
        seen.add(folder)
        path = folder / ORIGIN_FILE
        if path.is_file():
            return _read_origin(path), text
        if not config.init_from:
            break
        folder = to_read(parse_source(config.init_from)[0])
        if not folder.is_dir():
            break
        config = read_policy_config(str(folder))
    return None, text


def best_or_latest(run: AnyPath) -> str:
    """Return which checkpoint of a run stands for it."""
    infos = list_steps(files.as_path(run) / CHECKPOINTS)
    return "best" if any(info.best for info in infos) else "latest"


def refuse_taken(dst: Path, what: str) -> None:
    """Refuse to write over anything."""
    if dst.is_file() or (dst.is_dir() and any(dst.iterdir())):
        raise UserError(f"{dst}: not empty; {what} never writes over anything")


def import_config(src: Path, cfg: PolicyConfig, text: str) -> ImportedPolicyConfig:
    """Return an import's config, its tokenizer files in `text` where it has any."""
    tokenizer = TokenizerConfig()
    if (src / "tokenizer.json").is_file():
        tokenizer = TokenizerConfig(kind="hf", path=text)
    return ImportedPolicyConfig(
        name=f"{_name(src)}-import", model=cfg, tokenizer=tokenizer
    )


def _name(src: Path) -> str:
    return src.resolve().name or "hf"


def _read_origin(path: AnyPath) -> HfOrigin:
    try:
        return HfOrigin(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is damaged: {error}") from error


def _copy_text(src: Path, dst: Path, names: tuple[str, ...]) -> list[Path]:
    dst.mkdir(parents=True, exist_ok=True)
    there = [name for name in names if (src / name).is_file()]
    return [Path(shutil.copyfile(src / name, dst / name)) for name in there]
