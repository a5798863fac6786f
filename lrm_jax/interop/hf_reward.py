# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Published reward models: a Hugging Face folder with a head in place of `lm_head`.

Known heads: one linear layer of 1 or 2 classes (`score`, of `*ForTokenClassification`
as TRL trains it), two with a ReLU between (`score.0`, `score.2`, Qwen2.5-Math-PRM), and
TRL's value head (`v_head.summary`, Skywork). Two classes become one logit: of class 1
against class 0, whose sigmoid is the softmax.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lrm_jax.interop.hf import HfPolicy, fp8_block, open_parts, take_all
from lrm_jax.interop.hf_config import FAMILIES, read_hf_config
from lrm_jax.interop.hf_files import HfWeights
from lrm_jax.interop.hf_layout import LM_HEAD
from lrm_jax.types import Params, UserError, first_of

_CAUSAL = "ForCausalLM"
_LAYERS = (("score",), ("score.0", "score.2"), ("v_head.summary",))
"""Names of a head's layers, without `.weight` and `.bias`."""


class HfReward(NamedTuple):
    """A reward model from a Hugging Face folder.

    Attributes:
      policy: its backbone; `raw` is the folder's own `config.json`.
      head: `{kernel [D, 1], bias [1]}`, float32, and `hidden: {kernel, bias}` where
        there is a layer before it.
      classes: of the head in the folder, 1 or 2.
    """

    policy: HfPolicy
    head: Params
    classes: int


def is_reward_folder(raw: dict[str, Any]) -> bool:
    """Return whether a `config.json` names a known family with another head."""
    name = str((raw.get("architectures") or [""])[0])
    return not name.endswith(_CAUSAL) and _family(name) is not None


def load_hf_reward(folder: str | Path, **changes: Any) -> HfReward:
    """Read a reward model from a Hugging Face folder.

    Args:
      folder: config.json, and model.safetensors or shards with an index.
      **changes: fields of `PolicyConfig`, see `load_hf`.

    Raises:
      UserError: see `load_hf`; or there is no head that is known, or it has more
        than two classes.
    """
    folder = Path(folder)
    raw = read_hf_config(folder)
    weights = HfWeights(folder, fp8_block(raw))
    sha256 = weights.fingerprint()
    head, classes, width = _take_head(weights)
    backbone = raw | {"architectures": [_backbone(raw)]}
    if LM_HEAD in weights.stored:  # some files carry it; nothing reads it
        del weights.stored[LM_HEAD]
    there = open_parts(backbone | {"tie_word_embeddings": True}, weights, **changes)
    if width != there.cfg.d_model:
        raise UserError(
            f"{folder}: the head reads {width} numbers; hidden_size is "
            f"{there.cfg.d_model}"
        )
    policy = take_all(there)._replace(raw=raw, sha256=sha256)
    notes = [*policy.notes, f"head of {classes} class{'es' * (classes > 1)}"]
    return HfReward(policy._replace(notes=notes), head, classes)


def _backbone(raw: dict[str, Any]) -> str:
    """Return the name of the model that writes, of the same family."""
    names = raw.get("architectures") or []
    if not names:
        raise UserError(
            "config.json has no architectures; a reward model names its own"
        )
    family = _family(str(names[0]))
    if family is None:
        shown = ", ".join(one.architecture.removesuffix(_CAUSAL) for one in FAMILIES)
        raise UserError(
            f"architecture {names[0]!r}: no reward model of a known family; known are "
            f"{shown}, each with For... after it"
        )
    return f"{family}{_CAUSAL}"


def _family(name: str) -> str | None:
    """Return what comes before `For` in the name of a known family's class."""
    found = re.match(r"(\w+?)For[A-Z]", name)
    known = [one.architecture for one in FAMILIES]
    return found[1] if found and f"{found[1]}{_CAUSAL}" in known else None


def _take_head(weights: HfWeights) -> tuple[Params, int, int]:
    """Read the head, and take its tensors out of the folder's.

    Returns:
      The head, its classes in the folder, and the width that it reads.
    """
    for layers in _LAYERS:
        if all(f"{name}.weight" in weights.stored for name in layers):
            break
    else:
        raise UserError(
            f"{weights.folder}: no head of a reward model; expected tensors "
            f"{' or '.join(' and '.join(names) for names in _LAYERS)}, there are "
            f"{first_of(list(weights.stored), limit=3)}"
        )
    read = [_layer(weights, name) for name in layers]
    for name in [n for n in weights.stored if n.startswith(layers)]:
        raise UserError(f"{weights.folder}: unexpected tensor {name} of the head")
    kernel, bias = read[-1]
    classes = kernel.shape[1]
    if classes not in (1, 2):
        raise UserError(
            f"{weights.folder}: a head of {classes} classes; expected 1, or 2 of which "
            "class 1 is right"
        )
    if classes == 2:
        kernel, bias = kernel[:, 1:] - kernel[:, :1], bias[1:] - bias[:1]
    head: Params = {"kernel": kernel, "bias": bias}
    if len(read) == 2:
        head["hidden"] = {"kernel": read[0][0], "bias": read[0][1]}
    return head, classes, read[0][0].shape[0]


def _layer(weights: HfWeights, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Take a linear layer: kernel `[in, out]` and bias, 0 where there is none."""
    kernel = weights.read(f"{name}.weight").astype(np.float32).T
    del weights.stored[f"{name}.weight"]
    bias = np.zeros(kernel.shape[1], np.float32)
    if f"{name}.bias" in weights.stored:
        bias = weights.read(f"{name}.bias").astype(np.float32)
        del weights.stored[f"{name}.bias"]
    return np.ascontiguousarray(kernel), bias
