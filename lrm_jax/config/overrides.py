# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Command-line overrides of a config, parsed by tyro and reported in one line."""

import contextlib
import dataclasses
import io
from collections.abc import Sequence
from typing import Any, TypeVar, get_args, get_origin

from lrm_jax.config.tree import (
    all_keys,
    construct,
    describe,
    join,
    key_type,
    replace,
    union_parts,
)
from lrm_jax.types import UserError

C = TypeVar("C")


def apply_overrides(config: C, arguments: Sequence[str]) -> C:
    """Return the config changed by command-line overrides.

    Args:
      config: what to start from; decides which keys exist.
      arguments: `key.path=value`, `--key.path=value` or `--key.path value`;
        a tuple takes `1,2,3` (or several words after a flag), a switch takes
        true/false or the bare flag forms `--key.path` and `--key.no-path`.

    Raises:
      UserError: an unknown key (with the nearest one), or a value that does
        not fit; tyro parses the values, its own output never shows.
    """
    changes: dict[str, Any] = {}
    rest = list(arguments)
    while rest:
        key, annotation, words = _next_override(config, rest)
        value = _parse(annotation, words, key)
        if union_parts(annotation):  # a whole part; later keys are looked up in it
            changes = {k: v for k, v in changes.items() if not k.startswith(f"{key}.")}
            config = replace(config, {key: value})
        else:
            changes[key] = value
    return replace(config, changes)


def _next_override(config: Any, rest: list[str]) -> tuple[str, Any, list[str]]:
    """Take one override off the front of `rest`."""
    word = rest.pop(0)
    is_flag = word.startswith("--")
    key, has_value, value = word.removeprefix("--").partition("=")
    if not is_flag and not has_value:
        raise UserError(f"override {word!r}: expected key.path=value")
    key = key.replace("-", "_")
    head, _, last = key.rpartition(".")
    if is_flag and not has_value and last.startswith("no_"):
        positive = join(head, last.removeprefix("no_"))
        if positive in all_keys(config) and key_type(config, positive) is bool:
            return positive, bool, ["False"]
    annotation = key_type(config, key)
    if dataclasses.is_dataclass(annotation):
        inside = [k for k in all_keys(config) if k.startswith(key + ".")]
        raise UserError(f"override {word!r}: {key} is a group; set {', '.join(inside)}")
    is_tuple = get_origin(annotation) is tuple
    if has_value:
        words = value.strip("()[]").replace(",", " ").split() if is_tuple else [value]
        return key, annotation, words
    words = []
    limit = len(rest) if is_tuple else 1
    while rest and len(words) < limit and not _starts_override(config, rest[0]):
        if annotation is bool and rest[0].lower() not in _SWITCH:
            break
        words.append(rest.pop(0))
    if annotation is bool and not words:
        words = ["True"]
    if not words:
        raise UserError(f"override {word!r}: a value must follow")
    return key, annotation, words


def _starts_override(config: Any, word: str) -> bool:
    key, equals, _ = word.partition("=")
    return word.startswith("--") or (bool(equals) and key in all_keys(config))


_SWITCH = {"true": "True", "false": "False", "1": "True", "0": "False"}


def _parse(annotation: Any, words: list[str], key: str) -> Any:
    """Parse command-line words as one leaf, by tyro."""
    import tyro

    if type(None) in get_args(annotation):
        words = ["None" if word in ("null", "none") else word for word in words]
        if words == ["None"]:
            return None
    members = {part.__name__: part for part in union_parts(annotation)}
    if words[:1] and words[0] in members:
        return construct(members[words[0]], key)
    if members:
        raise UserError(f"{key}={words[0]!r}: expected {' or '.join(members)}")
    if annotation is str:
        return words[0]
    if annotation is bool:
        words = [_SWITCH.get(word.lower(), word) for word in words]
    leaf = dataclasses.make_dataclass("Leaf", [("value", annotation)])
    silence = io.StringIO()
    arguments = ["--value", *words] if len(words) != 1 else [f"--value={words[0]}"]
    try:
        with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
            return tyro.cli(
                leaf, args=arguments, config=(tyro.conf.FlagConversionOff,)
            ).value
    except SystemExit:
        shown = ",".join(words)
        raise UserError(f"{key}={shown!r}: expected {describe(annotation)}") from None
