# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Dataclass <-> JSON, hash, difference and replacement of configs.

A config is a tree of frozen dataclasses whose leaves are bool, int, float, str,
None, literals and tuples of these. A *key* is the dotted path of a leaf.
"""

import contextlib
import dataclasses
import difflib
import functools
import hashlib
import json
import math
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin
from typing import get_type_hints as _get_type_hints

from lrm_jax.types import UserError

C = TypeVar("C")
TYPE_KEY = "type"  # names the member class where a field is a union of dataclasses


def to_dict(config: Any) -> dict[str, Any]:
    """Return the config as JSON-ready dicts, lists and scalars."""
    return _encode(type(config), config)


def to_json(config: Any) -> str:
    """Return the config as indented JSON, fields in their declared order."""
    return json.dumps(to_dict(config), indent=2, allow_nan=False) + "\n"


def from_dict(cls: type[C], data: Any, where: str = "") -> C:
    """Build a config from what `to_dict` made; absent keys take their default.

    Args:
      cls: the dataclass to build.
      data: nested dicts, as read from JSON.
      where: the key of this part, for messages.

    Raises:
      UserError: an unknown or missing key, or a value of a wrong type.
    """
    if not isinstance(data, Mapping):
        raise UserError(f"{where or 'config'}={data!r}: expected an object of settings")
    hints = field_types(cls)
    for name in data:
        if name not in hints:
            raise _unknown_key(join(where, name), [join(where, n) for n in hints])
    values = {
        name: _decode(hints[name], value, join(where, name))
        for name, value in data.items()
    }
    for field in dataclasses.fields(cls):  # pyright: ignore[reportArgumentType]
        if field.name not in values and not _has_default(field):
            raise UserError(f"missing key {join(where, field.name)!r}")
    return construct(functools.partial(cls, **values), where)


def from_json(cls: type[C], text: str, where: str = "config.json") -> C:
    """Build a config from JSON text."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: not valid JSON: {error}") from error
    return from_dict(cls, data)


def checked(config: C) -> C:
    """Return the config with every leaf's type checked (an int becomes a float)."""
    return from_dict(type(config), to_dict(config))


@functools.cache
def field_types(cls: type) -> dict[str, Any]:
    """Return the resolved annotation of each field."""
    hints = _get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def flatten(config: Any) -> dict[str, Any]:
    """Return `{dotted key: JSON value}` of every leaf."""
    leaves: dict[str, Any] = {}

    def visit(node: Mapping[str, Any], where: str) -> None:
        for name, value in node.items():
            if isinstance(value, Mapping):
                visit(value, join(where, name))
            else:
                leaves[join(where, name)] = value

    visit(config if isinstance(config, Mapping) else to_dict(config), "")
    return leaves


def config_hash(config: Any, ignore: Iterable[str] = ()) -> str:
    """Return 12 hex digits that depend on every leaf not ignored.

    Args:
      config: a config, or the dict that `to_dict` made of one.
      ignore: dotted keys, of a leaf or of a whole part.
    """
    if not isinstance(config, Mapping):
        config = checked(config)
    leaves = _without(flatten(config), ignore)
    text = json.dumps(leaves, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


class Difference(NamedTuple):
    """One leaf on which two configs differ; `None` where one lacks it."""

    key: str
    first: Any
    second: Any

    def __str__(self) -> str:
        """Return `key: first -> second`."""
        return f"{self.key}: {self.first!r} -> {self.second!r}"


def diff(first: Any, second: Any, ignore: Iterable[str] = ()) -> list[Difference]:
    """Return the leaves on which two configs (or their dicts) differ, by key."""
    one = _without(flatten(first), ignore)
    two = _without(flatten(second), ignore)
    return [
        Difference(key, one.get(key), two.get(key))
        for key in sorted(one.keys() | two.keys())
        if (key in one) != (key in two) or one.get(key) != two.get(key)
    ]


def replace(config: C, changes: Mapping[str, Any]) -> C:
    """Return the config with leaves or whole parts replaced, all at once.

    Args:
      config: the config to start from.
      changes: dotted key -> Python value (a part may be given as a dataclass).
    """
    for key in changes:
        key_type(config, key)
    return _replace(config, changes, "")


def _replace(config: C, changes: Mapping[str, Any], where: str) -> C:
    here: dict[str, Any] = {}
    deeper: dict[str, dict[str, Any]] = {}
    for key, value in changes.items():
        name, _, rest = key.partition(".")
        if rest:
            deeper.setdefault(name, {})[rest] = value
        else:
            annotation = field_types(type(config))[name]
            plain = _encode(annotation, value)
            here[name] = _decode(annotation, plain, join(where, name))
    for name, part in deeper.items():
        old = here.get(name, getattr(config, name))
        here[name] = _replace(old, part, join(where, name))
    old_part: Any = config
    return construct(lambda: dataclasses.replace(old_part, **here), where)


def key_type(config: Any, key: str) -> Any:
    """Return the annotation of a dotted key; refuse one that does not exist."""
    node, annotation = config, type(config)
    for name in key.split("."):
        hints = field_types(type(node)) if dataclasses.is_dataclass(node) else {}
        if name not in hints:
            raise _unknown_key(key, all_keys(config))
        node, annotation = getattr(node, name), hints[name]
    return annotation


def all_keys(config: Any, where: str = "") -> list[str]:
    """Return the dotted key of every leaf, and of every union of parts."""
    keys = []
    for name, annotation in field_types(type(config)).items():
        value = getattr(config, name)
        if not dataclasses.is_dataclass(value) or len(union_parts(annotation)) > 1:
            keys.append(join(where, name))
        if dataclasses.is_dataclass(value):
            keys += all_keys(value, join(where, name))
    return keys


def describe(annotation: Any) -> str:
    """Return what a leaf accepts, in words."""
    names = {int: "an integer", float: "a number", str: "text", bool: "true or false"}
    if annotation in names:
        return names[annotation]
    if annotation is type(None):
        return "none"
    arguments = get_args(annotation)
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(repr(choice) for choice in arguments)
    if get_origin(annotation) is tuple:
        if arguments[-1:] == (Ellipsis,):
            return f"a list, each {describe(arguments[0])}"
        return f"a list of {len(arguments)}: " + ", ".join(map(describe, arguments))
    if get_origin(annotation) in (Union, types.UnionType):
        return " or ".join(describe(member) for member in arguments)
    if get_origin(annotation) is dict:
        return f"an object, each value {describe(arguments[1])}"
    return getattr(annotation, "__name__", str(annotation))


def _encode(annotation: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        hints = field_types(type(value))
        data = {name: _encode(hints[name], getattr(value, name)) for name in hints}
        return _tagged(annotation, type(value), data)
    if isinstance(value, Mapping):
        inner = (get_args(annotation) or (str, Any))[1]
        return {key: _encode(inner, item) for key, item in value.items()}
    if isinstance(value, tuple | list | range):
        return [_encode(Any, item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no inf or nan
    return value


def _tagged(annotation: Any, cls: type, data: dict[str, Any]) -> dict[str, Any]:
    if len(union_parts(annotation)) < 2:
        return data
    if TYPE_KEY in data:
        raise TypeError(f"{cls.__name__}: a union's member has a field {TYPE_KEY!r}")
    return {TYPE_KEY: cls.__name__, **data}


def _decode(annotation: Any, value: Any, where: str) -> Any:
    arguments = get_args(annotation)
    origin = get_origin(annotation)
    if annotation is Any:
        return value
    if origin in (Union, types.UnionType):
        return _decode_union(annotation, value, where)
    if dataclasses.is_dataclass(annotation):
        return from_dict(annotation, value, where)  # pyright: ignore[reportArgumentType]
    if origin is Literal:
        for choice in arguments:
            if type(choice) is type(value) and choice == value:
                return value
    if origin is tuple and isinstance(value, list | tuple):
        kinds = arguments
        if arguments[-1:] == (Ellipsis,):
            kinds = arguments[:1] * len(value)
        if len(kinds) == len(value):
            pairs = enumerate(zip(kinds, value, strict=True))
            return tuple(_decode(k, v, f"{where}[{i}]") for i, (k, v) in pairs)
    if origin is dict and isinstance(value, Mapping):
        return {k: _decode(arguments[1], v, join(where, k)) for k, v in value.items()}
    if annotation is float and type(value) is int:
        return float(value)
    if annotation is float and value in ("inf", "-inf", "nan"):
        return float(value)
    if annotation in (bool, int, float, str, type(None)) and type(value) is annotation:
        return value
    raise UserError(f"{where}={value!r}: expected {describe(annotation)}")


def _decode_union(annotation: Any, value: Any, where: str) -> Any:
    parts = {part.__name__: part for part in union_parts(annotation)}
    if isinstance(value, Mapping) and len(parts) == 1:
        return from_dict(next(iter(parts.values())), value, where)
    if isinstance(value, Mapping) and parts:
        data = dict(value)
        tag = data.pop(TYPE_KEY, None)
        if tag not in parts:
            raise UserError(
                f"{join(where, TYPE_KEY)}={tag!r}: expected one of {', '.join(parts)}"
            )
        return from_dict(parts[tag], data, where)
    for member in get_args(annotation):
        if not dataclasses.is_dataclass(member):
            with contextlib.suppress(UserError):
                return _decode(member, value, where)
    raise UserError(f"{where}={value!r}: expected {describe(annotation)}")


def union_parts(annotation: Any) -> list[type]:
    """Return the dataclasses of a union (none for any other annotation)."""
    if get_origin(annotation) not in (Union, types.UnionType):
        return []
    members: list[type] = list(get_args(annotation))
    return [member for member in members if dataclasses.is_dataclass(member)]


def construct(build: Callable[[], C], where: str = "") -> C:
    """Build a config part; what its own checks refuse is the user's error."""
    try:
        return build()
    except ValueError as error:
        text = one_line(error)
        raise UserError(f"{where}: {text}" if where else text) from error


def _without(leaves: Mapping[str, Any], ignore: Iterable[str]) -> dict[str, Any]:
    ignored = tuple(ignore)
    return {
        key: value
        for key, value in leaves.items()
        if not any(key == i or key.startswith(i + ".") for i in ignored)
    }


def _unknown_key(key: str, known: Sequence[str]) -> UserError:
    return UserError(f"unknown key {key!r}{suggest(key, known)}")


def suggest(name: str, known: Sequence[str]) -> str:
    """Return `; did you mean 'x'?`, by whole key first and then by its last part."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
    if not near:
        by_last = {key.rpartition(".")[2]: key for key in reversed(known)}
        last = name.rpartition(".")[2]
        near = [
            by_last[n]
            for n in difflib.get_close_matches(last, list(by_last), n=1, cutoff=0.75)
        ] or difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _has_default(field: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return field.default is not missing or field.default_factory is not missing


def join(head: str, tail: str) -> str:
    """Return `head.tail`, or the tail alone under the root."""
    return f"{head}.{tail}" if head else tail


def one_line(error: BaseException) -> str:
    """Return the error's message on one line."""
    return " ".join(str(error).split())
