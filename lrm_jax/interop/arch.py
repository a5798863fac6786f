# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The references' `arch` sections <-> our configs.

An arch section is what HRM's and TRM's `all_config.yaml` hold under `arch`: the
fields of the model class, `name`, and `loss: {name, loss_type}`. Sizes that the
references take from the data set (vocab_size, seq_len, num_puzzle_identifiers)
are not in published files; they come from the tensors where these tell.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from lrm_jax.interop.hrm_trm import split_prefix
from lrm_jax.models.latent import LatentConfig
from lrm_jax.types import UserError

Kind = Literal["hrm", "trm"]
KINDS: tuple[Kind, ...] = ("hrm", "trm")

_MODEL_NAMES = {
    "hrm": "hrm.hrm_act_v1@HierarchicalReasoningModel_ACTV1",
    "trm": "recursive_reasoning.trm@TinyRecursiveReasoningModel_ACTV1",
}
_LOSS_HEAD = "losses@ACTLossHead"
_LOSS_TYPES = {
    "stablemax_cross_entropy": "stablemax",
    "softmax_cross_entropy": "softmax",
}

_REQUIRED = (
    "H_cycles",
    "L_cycles",
    "L_layers",
    "hidden_size",
    "expansion",
    "num_heads",
    "pos_encodings",
    "halt_max_steps",
    "halt_exploration_prob",
)
_FIELDS: dict[str, tuple[str, ...]] = {
    "hrm": (*_REQUIRED, "H_layers"),
    "trm": (*_REQUIRED, "H_layers", "mlp_t", "puzzle_emb_len", "no_ACT_continue"),
}
_COMMON = (
    "name",
    "loss",
    "batch_size",
    "causal",
    "forward_dtype",
    "num_puzzle_identifiers",
    "puzzle_emb_ndim",
    "rms_norm_eps",
    "rope_theta",
    "seq_len",
    "vocab_size",
)
# Cells of the published tasks, by a word of the data path they were trained on.
_TASK_CELLS = {"sudoku": 81, "maze-30x30": 900, "arc": 900}


_SAID_BY_ARCH = (
    "vocab_size",
    "seq_len",
    "num_puzzle_ids",
    "puzzle_emb_dim",
    "puzzle_prefix_len",
    "d_model",
    "n_heads",
    "expansion",
    "h_layers",
    "l_layers",
    "h_cycles",
    "l_cycles",
    "mixer",
    "positions",
    "rope_theta",
    "norm_eps",
    "dtype",
)
# How a model is trained or compiled; the weights and their meaning stay.
_NOT_OF_THE_MODEL = ("grad_depth", "scan_layers", "remat", "grid_shape")


class Arch(NamedTuple):
    """A published model, in our terms.

    Attributes:
      model: shape and kind of the core.
      halting: fields of `HaltingConfig`.
      loss: fields of `LossConfig`.
    """

    model: LatentConfig
    halting: dict[str, Any]
    loss: dict[str, Any]


def read_settings(path: Path) -> dict[str, Any]:
    """Read `all_config.yaml` or a `config.json`: a mapping with an `arch` in it.

    A file that is an arch section itself is accepted too.

    Raises:
      UserError: the file is missing, not valid, or holds no arch.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected a config with an arch section")
    try:
        text = path.read_text(encoding="utf-8")
        loaded = json.loads(text) if path.suffix == ".json" else _load_yaml(text)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file") from error
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: not readable as a config: {reason}") from error
    if isinstance(loaded, Mapping) and "hidden_size" in loaded:
        loaded = {"arch": dict(loaded)}
    if not isinstance(loaded, Mapping) or not isinstance(loaded.get("arch"), Mapping):
        raise UserError(f"{path}: has no section arch with the model's settings")
    return {str(key): value for key, value in loaded.items()}


def kind_of(arch: Mapping[str, Any], reference: Mapping[str, Any]) -> Kind | None:
    """Tell HRM from TRM by the class named in a config, None if it names none."""
    named = str(arch.get("name") or reference.get("model_class") or "").lower()
    if not named:
        return None
    return "trm" if "trm" in named or "tinyrecursive" in named else "hrm"


def arch_to_configs(
    kind: Kind,
    settings: Mapping[str, Any],
    tensors: Mapping[str, np.ndarray] | None = None,
) -> Arch:
    """Turn a published config into ours.

    Args:
      kind: which repository's model.
      settings: a whole config file; `arch` is read, and `data_path(s)` for the
        number of cells when nothing else tells it.
      tensors: the state dict, for the sizes that the config leaves out.

    Raises:
      UserError: a field is unknown, missing, or has a value that is not accepted.
    """
    reference = dict(settings.get("reference") or {})
    arch = dict(settings["arch"])
    named = kind_of(arch, reference)
    if named not in (None, kind):
        raise UserError(
            f"arch.name={arch.get('name') or reference.get('model_class')!r} is a "
            f"model of kind {named}, but {kind} was asked for"
        )
    _check_fields(kind, arch)
    shapes = _bare_shapes(tensors or {})
    mixer = "mlp_t" if _boolean(arch, "mlp_t", False) else "attention"
    width = _number(arch, "hidden_size", int)
    model = LatentConfig(
        vocab_size=_size(arch, "vocab_size", shapes, "embed_tokens.embedding_weight"),
        seq_len=1,
        num_puzzle_ids=_puzzle_ids(arch, shapes),
        puzzle_emb_dim=_number(arch, "puzzle_emb_ndim", int, 0),
        puzzle_prefix_len=_prefix_len(kind, arch, width),
        d_model=width,
        n_heads=_number(arch, "num_heads", int),
        expansion=_number(arch, "expansion", float),
        h_layers=_number(arch, "H_layers", int) if kind == "hrm" else 0,
        l_layers=_number(arch, "L_layers", int),
        h_cycles=_number(arch, "H_cycles", int),
        l_cycles=_number(arch, "L_cycles", int),
        mixer=mixer,
        positions=_choice(arch, "pos_encodings", ("rope", "learned", "none")),
        rope_theta=_number(arch, "rope_theta", float, 10000.0),
        norm_eps=_number(arch, "rms_norm_eps", float, 1e-5),
        grad_depth="one_step" if kind == "hrm" else "last_recursion",
        dtype=_choice(arch, "forward_dtype", ("float32", "bfloat16"), "float32"),
    )
    cells = _cells(arch, settings, shapes, model)
    model = LatentConfig(**{**vars(model), "seq_len": cells})
    q_learning = kind == "hrm" or not _boolean(arch, "no_ACT_continue", True)
    halting = {
        "rule": "q_learning" if q_learning else "halt_only",
        "max_steps": _number(arch, "halt_max_steps", int),
        "exploration_prob": _number(arch, "halt_exploration_prob", float),
    }
    return Arch(model, halting, {"kind": _loss_kind(arch, reference)})


def configs_to_arch(
    kind: Kind, model: LatentConfig, halting: Mapping[str, Any], loss: Mapping[str, Any]
) -> dict[str, Any]:
    """Turn our configs into an arch section that the reference can load.

    Raises:
      UserError: a setting that the reference's model class does not have.
    """
    _check_published(kind, model, halting, loss)
    arch: dict[str, Any] = {
        "name": _MODEL_NAMES[kind],
        "loss": {
            "name": _LOSS_HEAD,
            "loss_type": next(k for k, v in _LOSS_TYPES.items() if v == loss["kind"]),
        },
        "H_cycles": model.h_cycles,
        "L_cycles": model.l_cycles,
        "H_layers": model.h_layers,
        "L_layers": model.l_layers,
        "hidden_size": model.d_model,
        "expansion": model.expansion,
        "num_heads": model.n_heads,
        "pos_encodings": model.positions,
        "puzzle_emb_ndim": model.puzzle_emb_dim,
        "rms_norm_eps": model.norm_eps,
        "rope_theta": model.rope_theta,
        "halt_max_steps": halting["max_steps"],
        "halt_exploration_prob": halting["exploration_prob"],
        "forward_dtype": model.dtype,
        "vocab_size": model.vocab_size,
        "seq_len": model.seq_len,
        "num_puzzle_identifiers": model.num_puzzle_ids,
    }
    if kind == "trm":
        arch |= {
            "mlp_t": model.mixer == "mlp_t",
            "puzzle_emb_len": model.puzzle_prefix_len,
            "no_ACT_continue": halting["rule"] == "halt_only",
        }
    return arch


def dump_yaml(settings: Mapping[str, Any]) -> str:
    """Write a config as the references do (block style, sorted keys)."""
    import yaml

    return yaml.safe_dump(dict(settings), default_flow_style=False)


def _load_yaml(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _check_fields(kind: Kind, arch: Mapping[str, Any]) -> None:
    accepted = sorted({*_FIELDS[kind], *_COMMON})
    unknown = [name for name in arch if name not in accepted]
    if unknown:
        raise UserError(
            f"unknown arch fields {', '.join(map(repr, unknown))} for kind {kind}; "
            f"accepted: {', '.join(accepted)}"
        )
    needed = (*_REQUIRED, "H_layers") if kind == "hrm" else _REQUIRED
    missing = [name for name in needed if name not in arch]
    if missing:
        raise UserError(f"arch has no {', '.join(missing)}, which kind {kind} needs")
    if _boolean(arch, "causal", False):
        raise UserError("arch.causal=true: only bidirectional attention is supported")


def _number(arch: Mapping[str, Any], name: str, kind: type, default: Any = None) -> Any:
    value = arch.get(name, default)
    try:
        # YAML 1.1 reads 1e-4 as text.
        number = -1.0 if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number < float("inf") or (kind is int and number != int(number)):
        wanted = "a whole number" if kind is int else "a number"
        raise UserError(f"arch.{name}={value!r}: expected {wanted}, 0 or more")
    return kind(number)


def _boolean(arch: Mapping[str, Any], name: str, default: bool) -> bool:
    value = arch.get(name, default)
    if not isinstance(value, bool):
        raise UserError(f"arch.{name}={value!r}: expected true or false")
    return value


def _choice(
    arch: Mapping[str, Any], name: str, accepted: tuple[str, ...], default: str = ""
) -> Any:
    value = arch.get(name, default)
    if value not in accepted:
        raise UserError(f"arch.{name}={value!r}: expected {' or '.join(accepted)}")
    return value


def _bare_shapes(tensors: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    prefix = split_prefix(list(tensors))
    return {k.removeprefix(prefix): tuple(v.shape) for k, v in tensors.items()}


def _size(
    arch: Mapping[str, Any], name: str, shapes: Mapping[str, tuple], tensor: str
) -> int:
    if name in arch:
        return _number(arch, name, int)
    if tensor not in shapes:
        raise UserError(f"arch has no {name}, and the checkpoint has no {tensor}")
    return shapes[tensor][0]


def _puzzle_ids(arch: Mapping[str, Any], shapes: Mapping[str, tuple]) -> int:
    if _number(arch, "puzzle_emb_ndim", int, 0) == 0:
        return _number(arch, "num_puzzle_identifiers", int, 1)
    return _size(arch, "num_puzzle_identifiers", shapes, "puzzle_emb.weights")


def _prefix_len(kind: Kind, arch: Mapping[str, Any], width: int) -> int:
    dim = _number(arch, "puzzle_emb_ndim", int, 0)
    length = _number(arch, "puzzle_emb_len", int, 16) if kind == "trm" else 0
    if length and dim > length * width:
        raise UserError(
            f"arch.puzzle_emb_len={length}: {length} positions of {width} do not hold "
            f"puzzle_emb_ndim={dim}"
        )
    return length if dim else 0


def _cells(
    arch: Mapping[str, Any],
    settings: Mapping[str, Any],
    shapes: Mapping[str, tuple],
    model: LatentConfig,
) -> int:
    if "seq_len" in arch:
        return _number(arch, "seq_len", int)
    if "embed_pos.embedding_weight" in shapes:
        return shapes["embed_pos.embedding_weight"][0] - model.prefix_len
    if "L_level.layers.0.mlp_t.down_proj.weight" in shapes:
        mixed = shapes["L_level.layers.0.mlp_t.down_proj.weight"][0]
        return mixed - model.prefix_len
    paths = str(settings.get("data_path") or settings.get("data_paths") or "").lower()
    for word, cells in _TASK_CELLS.items():
        if word in paths:
            return cells
    raise UserError(
        "arch has no seq_len, no tensor tells it and data_path names no known task; "
        "add seq_len (Sudoku 81, Maze and ARC 900) to arch, or give --arch FILE"
    )


def _loss_kind(arch: Mapping[str, Any], reference: Mapping[str, Any]) -> str:
    loss = arch.get("loss") or {}
    if not isinstance(loss, Mapping):
        raise UserError(f"arch.loss={loss!r}: expected {{name, loss_type}}")
    default = reference.get("loss_type", "stablemax_cross_entropy")
    name = loss.get("loss_type", default)
    if name not in _LOSS_TYPES:
        known = " or ".join(_LOSS_TYPES)
        raise UserError(f"arch.loss.loss_type={name!r}: expected {known}")
    return _LOSS_TYPES[name]


def _check_published(
    kind: Kind, model: LatentConfig, halting: Mapping[str, Any], loss: Mapping[str, Any]
) -> None:
    """Refuse what the reference's model class cannot say."""
    rules = {"hrm": ("q_learning",), "trm": ("halt_only", "q_learning")}
    mixers = {"hrm": ("attention",), "trm": ("attention", "mlp_t")}
    accepted: dict[str, tuple[Any, tuple[Any, ...]]] = {
        f"model.{field.name}": (getattr(model, field.name), (field.default,))
        for field in dataclasses.fields(LatentConfig)
        if field.name not in _SAID_BY_ARCH + _NOT_OF_THE_MODEL
    }
    accepted |= {
        "model.mixer": (model.mixer, mixers[kind]),
        "model.positions": (model.positions, ("rope", "learned", "none")),
        "halting.rule": (halting["rule"], rules[kind]),
        "loss.kind": (loss["kind"], tuple(_LOSS_TYPES.values())),
    }
    if kind == "hrm":
        ceil = -(-model.puzzle_emb_dim // model.d_model)
        accepted["model.puzzle_prefix_len"] = (model.puzzle_prefix_len, (0, ceil))
    for field, (value, allowed) in accepted.items():
        if value not in allowed:
            choices = " or ".join(repr(choice) for choice in allowed)
            raise UserError(
                f"{field}={value!r}: the published {kind} model has only {choices}"
            )
    if (kind == "hrm") != bool(model.h_layers):
        wanted = "1 or more" if kind == "hrm" else "0"
        raise UserError(
            f"model.h_layers={model.h_layers}: the published {kind} model has {wanted}"
        )
