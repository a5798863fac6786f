# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""JSONL of prompts and answers: one object a line, `.gz` too.

Lines end at a newline and nowhere else: U+2028 and its like are data. A line that
cannot be used is named by file and number.
"""

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from lrm_jax.types import UserError

Message = Mapping[str, Any]
"""`{"role": ..., "content": ...}`; further keys go to the chat template."""
Prompt = str | Sequence[Message]

_BOM = b"\xef\xbb\xbf"


class Columns(NamedTuple):
    """Under which names a file keeps what is read from it."""

    prompt: str = "prompt"
    answer: str = "answer"
    solution: str = "solution"


class Row(NamedTuple):
    """One line.

    Attributes:
      prompt: text, or messages.
      answer: as text; empty where the line has none.
      solution: worked, with the answer; empty where the line has none.
      columns: everything else, as it stands.
      line: its number in the file, from 1.
    """

    prompt: Prompt
    answer: str
    solution: str
    columns: dict[str, Any]
    line: int


def read_jsonl(
    path: str | Path, names: Columns | None = None, *, needs: str = "answer"
) -> list[Row]:
    """Read a file of prompts.

    Args:
      path: a file of one JSON object a line; gzip by its first bytes.
      names: of the columns.
      needs: `answer`, `completion` (an answer or a solution) or `prompt`.

    Raises:
      UserError: no such file, no rows, or a line that cannot be used.
    """
    names = names or Columns()
    rows = [
        _row(data, names, needs, line, f"{path}, line {line}")
        for line, data in read_objects(path)
    ]
    if not rows:
        raise UserError(f"{path}: no rows")
    return rows


def read_objects(
    path: str | Path, *, constants: bool = False
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) of every line that is not blank.

    Args:
      path: the file.
      constants: let NaN and Infinity pass, which Python writes and JSON has not.

    Raises:
      UserError: no such file, damaged gzip, or a line that is no JSON object.
    """
    for number, line in enumerate(_lines_of(Path(path)), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            refuse = None if constants else _no_constant
            data = json.loads(line.decode("utf-8"), parse_constant=refuse)
            if rb"\u" in line:  # half a pair can be escaped, and is no text
                json.dumps(data, ensure_ascii=False).encode("utf-8")
        except RecursionError:
            raise UserError(f"{where}: nested too deeply") from None
        except ValueError as error:  # bad UTF-8 and bad JSON are ValueErrors
            text = " ".join(str(error).split())
            raise UserError(f"{where}: not valid JSON: {text}") from error
        if not isinstance(data, dict):
            raise UserError(
                f"{where}: expected an object with a prompt, got {_kind(data)}"
            )
        yield number, data


def check_prompt(prompt: Any, where: str) -> Prompt:
    """Return a prompt that is text or messages, and not empty.

    Args:
      prompt: as read.
      where: file and line, for messages.

    Raises:
      UserError: it is neither, or empty.
    """
    if isinstance(prompt, str):
        if not prompt.strip():
            raise UserError(f"{where}: the prompt is empty")
        return prompt
    if not isinstance(prompt, list):
        raise UserError(
            f"{where}: expected text or a list of messages, got {_kind(prompt)}"
        )
    for i, message in enumerate(prompt):
        if not isinstance(message, Mapping):
            raise UserError(
                f"{where}: message {i + 1}: expected an object with role and "
                f"content, got {_kind(message)}"
            )
        for name in ("role", "content"):
            if not isinstance(message.get(name), str):
                raise UserError(
                    f"{where}: message {i + 1}: {name}: expected text, got "
                    f"{_kind(message.get(name))}"
                )
    if not any(message["content"].strip() for message in prompt):
        raise UserError(f"{where}: the prompt is empty")
    return prompt


def _row(
    data: dict[str, Any], names: Columns, needs: str, line: int, where: str
) -> Row:
    if names.prompt not in data:
        found = ", ".join(map(repr, data)) or "none"
        raise UserError(f"{where}: no column {names.prompt!r}; found: {found}")
    prompt = check_prompt(data[names.prompt], f"{where}, {names.prompt}")
    answer = _text(data, names.answer, where)
    solution = _text(data, names.solution, where)
    if needs == "answer" and names.answer not in data:
        raise UserError(f"{where}: no column {names.answer!r}")
    if needs == "answer" and not answer.strip():
        given = data[names.answer]
        raise UserError(
            f"{where}: {names.answer}={json.dumps(given)}: expected an answer"
        )
    if needs == "completion" and not (answer or solution):
        raise UserError(
            f"{where}: nothing to learn: no {names.answer!r} and no {names.solution!r}"
        )
    columns = {name: value for name, value in data.items() if name not in names}
    return Row(prompt, answer, solution, columns, line)


def _text(data: dict[str, Any], name: str, where: str) -> str:
    value = data.get(name)
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return json.dumps(value)
    raise UserError(f"{where}, {name}: expected text or a number, got {_kind(value)}")


def _lines_of(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file, gzip or not, one in memory at a time."""
    if path.is_dir():
        raise UserError(f"{path}: a folder; expected a JSONL file")
    try:
        with open(path, "rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            lines = gzip.open(file) if packed else file
            first = True
            for line in lines:
                yield line.removeprefix(_BOM) if first else line
                first = False
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _kind(value: Any) -> str:
    """Say what a JSON value is."""
    if value is None:
        return "nothing"
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false"}
    return names.get(type(value), "a number")
