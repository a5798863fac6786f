# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""`lrm import hf --reader`: a published reward model into a run folder.

The folder knows its head and how it is read; nothing more is asked when it scores.
"""

import dataclasses
from pathlib import Path
from typing import Any

from lrm_jax.config.tree import suggest
from lrm_jax.interop.hf import load_hf
from lrm_jax.interop.hf_config import read_hf_config
from lrm_jax.interop.hf_reward import is_reward_folder, load_hf_reward
from lrm_jax.prm.readers import READERS, ReaderConfig
from lrm_jax.recipes.convert_hf import import_config, refuse_taken, write_import
from lrm_jax.recipes.imported_reward import (
    HEAD,
    ImportedRewardConfig,
    StepTokenizer,
    make_reader,
)
from lrm_jax.recipes.policy_build import TOKENIZER, tokenizer_of
from lrm_jax.storage.paths import local_only
from lrm_jax.types import UserError


def import_reward(
    src: str | Path,
    dst: str | Path,
    *,
    reader: str | ReaderConfig,
    separator: str = "",
    dtype: str = "float32",
    param_dtype: str = "float32",
    scan_layers: bool = False,
) -> dict[str, Any]:
    """Make a run folder of a reward model's Hugging Face folder.

    Args:
      src: with config.json, safetensors and the tokenizer's files.
      dst: run folder to make; must not exist, or be empty.
      reader: how it is read: a name of `prm.readers.READERS`, or the whole of it.
      separator: of steps, in place of the reader's own.
      dtype: of activations.
      param_dtype: of the weights; float32 holds bfloat16 exactly.
      scan_layers: stack equal layers.

    Returns:
      {run_dir, params, unused, missing, notes}.

    Raises:
      UserError: see `import_hf`; or the model has no head where the reader needs one
        (or the reverse), or its tokenizer cannot write what the reader reads.
    """
    src = local_only(src, "Hugging Face folder")
    dst = local_only(dst, "run folder of an import")
    refuse_taken(dst, "import")
    how = _with_separator(find_reader(reader), separator)
    raw = read_hf_config(src)
    changes = dict(dtype=dtype, param_dtype=param_dtype, scan_layers=scan_layers)
    if how.kind == "head":
        found = load_hf_reward(src, **changes)
        loaded = found.policy
        loaded.params[HEAD] = found.head
    else:
        if is_reward_folder(raw):
            raise UserError(
                f"{src}: config.json names {raw['architectures'][0]}, which has a head "
                "and writes nothing; a reader of signs needs a model that writes"
            )
        loaded = load_hf(src, **changes)
    if not (src / "tokenizer.json").is_file():
        raise UserError(f"{src}: has no tokenizer.json, by which steps are read")
    plain = import_config(src, loaded.cfg, str(src))
    named = {f.name: getattr(plain, f.name) for f in dataclasses.fields(plain)}
    named |= {"recipe": "reward", "reader": how}
    del named["eval"]
    config = ImportedRewardConfig(**named)
    tokenizer = tokenizer_of(config)
    # What it cannot write is said before anything is.
    StepTokenizer(tokenizer, how)("a", ["b"])
    make_reader(config, tokenizer)
    inside = dataclasses.replace(config.tokenizer, path=TOKENIZER)
    config = dataclasses.replace(config, tokenizer=inside)
    return write_import(src, dst, loaded, config)


def find_reader(reader: str | ReaderConfig) -> ReaderConfig:
    """Return a reader by its name.

    Raises:
      UserError: there is none of that name.
    """
    if isinstance(reader, ReaderConfig):
        return reader
    if reader not in READERS:
        raise UserError(
            f"reader {reader!r}: expected one of {', '.join(READERS)}"
            f"{suggest(reader, list(READERS))}"
        )
    return READERS[reader]


def _with_separator(reader: ReaderConfig, separator: str) -> ReaderConfig:
    if not separator:
        return reader
    rule = dataclasses.replace(reader.rule, separator=separator)
    return dataclasses.replace(reader, rule=rule)
