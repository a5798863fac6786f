# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Completions that a run of a token policy wrote down (`samples.jsonl`), by group.

A line is one completion; consecutive lines of one step, split and prompt are a
group. A run may write more than a page can show: groups are then chosen evenly.
"""

import json
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple

from lrm_jax.data.verify.tags import TAGS, THINK_CLOSE, THINK_OPEN, open_thought
from lrm_jax.storage.logs import open_log
from lrm_jax.storage.paths import to_read

FILE = "samples.jsonl"
MAX_GROUPS = 160
MAX_BYTES = 4 * 1024**2
"""What is shown of a file, at most: groups, and bytes of their lines."""

THOUGHT, ANSWER, TAG, TEXT = "t", "a", "g", "o"
"""What a token is part of: thought, answer, one of their tags, or other text."""

_TAG = re.compile("|".join(map(re.escape, TAGS)))
_SURROGATE = re.compile("[\ud800-\udfff]")
_WHY = {
    "no_tag": "the tags of thought and answer are missing, repeated or out of order",
    "no_answer": "nothing was answered",
    "parse_error": "the answer cannot be read",
    "timeout": "the verifier did not finish in time",
    "crash": "the verifier crashed",
}


@dataclass(frozen=True)
class Sample:
    """One completion.

    Attributes:
      tokens: pieces of text, the end token included.
      logps: of each, in nats; NaN where unknown.
      forced: of each, whether a thinking budget wrote it.
      advantage: None where none was computed (evaluation).
      reward: total.
      parts: what it consists of.
      strict: the verifier's score of the whole completion.
      lenient: of an answer that can be found in it.
      status: of the strict reading, see `Verdict`.
      extracted: the answer that was judged.
      stop: why the completion ended.
    """

    tokens: list[str]
    logps: list[float]
    forced: list[bool]
    advantage: float | None
    reward: float
    parts: dict[str, float]
    strict: float
    lenient: float
    status: str
    extracted: str
    stop: str

    @property
    def verdict(self) -> str:
        """The status by the score: a `right` one below 1 is `partial`."""
        if self.strict >= 1:
            return "right"
        return "partial" if self.status == "right" else self.status


@dataclass(frozen=True)
class SampleGroup:
    """Completions of one prompt, written at one step."""

    step: int
    split: str
    prompt: str
    answer: str
    samples: list[Sample] = field(default_factory=list)


@dataclass(frozen=True)
class SampleSet:
    """What was read.

    Attributes:
      groups: in the order of the file.
      total: completions in the file; those of `groups` and those left out.
      unreadable: lines that are no completion (one torn by a crash, say).
    """

    groups: list[SampleGroup]
    total: int
    unreadable: int = 0

    @property
    def shown(self) -> int:
        """Completions in `groups`."""
        return sum(len(group.samples) for group in self.groups)


class _Place(NamedTuple):
    """A group's lines in the file."""

    key: tuple[int, str, str]  # step, split, prompt
    lines: list[tuple[int, int]]  # where each begins, and its bytes

    @property
    def size(self) -> int:
        return sum(size for _, size in self.lines)


def read_samples(
    path: str | os.PathLike[str],
    *,
    max_groups: int = MAX_GROUPS,
    max_bytes: int = MAX_BYTES,
) -> SampleSet:
    """Read the completions of a run folder, or of a file.

    Where there are more than the bounds allow, whole groups are left out, evenly
    over the run; its first and its last stay.

    Args:
      path: a run folder or its `samples.jsonl`.
      max_groups: groups at most.
      max_bytes: of their lines, at most (but one group in any case).
    """
    file = to_read(path)
    file = file / FILE if file.is_dir() else file
    with open_log(file) as lines:
        places, unreadable = _places(lines)
        total = sum(len(place.lines) for place in places)
        chosen = _evenly(places, max_groups, max_bytes)
        groups = []
        for place in chosen:
            records = []
            for start, size in place.lines:
                lines.seek(start)
                records.append(json.loads(lines.read(size)))
            head = records[0]
            groups.append(
                SampleGroup(
                    *place.key,
                    answer=_as_text(head.get("answer", "")),
                    samples=[_sample(record) for record in records],
                )
            )
    return SampleSet(groups, total, unreadable)


def regions(sample: Sample, prompt: str = "") -> str:
    """Return one letter a token: what it is part of.

    What follows a thought is the answer where no answer tag comes.

    Args:
      sample: the completion.
      prompt: its prompt, whose end may have opened the thought.
    """
    text = "".join(sample.tokens)
    opened = open_thought(prompt)
    state = THOUGHT if opened and THINK_CLOSE not in opened else TEXT
    letters, at = "", 0
    for tag in _TAG.finditer(text):
        letters += state * (tag.start() - at) + TAG * len(tag[0])
        at = tag.end()
        if tag[0] == THINK_CLOSE:
            state = TEXT if "<answer>" in text[at:] else ANSWER
        else:
            opens = {THINK_OPEN: THOUGHT, "<answer>": ANSWER}
            state = opens.get(tag[0], TEXT)
    letters += state * (len(text) - at)
    found, at = "", 0
    for token in sample.tokens:
        found += letters[at] if at < len(letters) else TEXT
        at += len(token)
    return found


def reason(sample: Sample, answer: str) -> str:
    """Return the verifier's verdict in words.

    Args:
      sample: the completion.
      answer: what would have been right; "" where it is not known as text.
    """
    said = f"answered {sample.extracted}" if sample.extracted else "answered"
    if sample.verdict == "right":
        return f"right: {said}"
    if sample.verdict == "partial":
        return f"scored {sample.strict:g}: {said}"
    text = _WHY.get(sample.status)
    if text is None:
        instead = f", not {answer}" if answer else ""
        text = f"{sample.status}: {said}{instead}"
    if sample.lenient > sample.strict:
        text += f"; leniently read it scores {sample.lenient:g}"
    return text


def _places(lines: BinaryIO) -> tuple[list[_Place], int]:
    """Groups and their lines; a step written again (after a crash) replaces itself."""
    places: dict[tuple[int, str, str], _Place] = {}
    start, unreadable, current = 0, 0, None
    for line in lines:
        size = len(line)
        try:
            record = json.loads(line)
            prompt = _as_text(record["prompt"])
            key = (int(record["step"]), str(record.get("split", "train")), prompt)
            _sample(record)
        except (ValueError, KeyError, TypeError, AttributeError):
            unreadable += bool(line.strip())
        else:
            if key != current:
                places.pop(key, None)
                places[key] = _Place(key, [])
                current = key
            places[key].lines.append((start, size))
        start += size
    return list(places.values()), unreadable


def _evenly(places: list[_Place], count: int, max_bytes: int) -> list[_Place]:
    """At most `count` of the places, evenly spread, together within the bytes."""
    count = min(count, len(places))
    while count > 1:
        last = len(places) - 1
        chosen = [places[round(i * last / (count - 1))] for i in range(count)]
        if sum(place.size for place in chosen) <= max_bytes:
            return chosen
        count = count * 4 // 5
    return places[-count:] if count else []


def _sample(record: dict[str, Any]) -> Sample:
    tokens = [_clean(token) for token in record["tokens"]]
    verdict = record.get("verdict") or {}
    advantage = record.get("advantage")
    return Sample(
        tokens=tokens,
        logps=[_number(x) for x in _padded(record.get("logps"), len(tokens), None)],
        forced=[bool(x) for x in _padded(record.get("forced"), len(tokens), False)],
        advantage=None if advantage is None else _number(advantage),
        reward=_number(record.get("reward")),
        parts={str(k): _number(v) for k, v in (record.get("parts") or {}).items()},
        strict=_number(verdict.get("strict", 0.0)),
        lenient=_number(verdict.get("lenient", 0.0)),
        status=_clean(verdict.get("status", "unknown")),
        extracted=_clean(verdict.get("extracted", "")),
        stop=str(record.get("stop", "")),
    )


def _padded(values: Sequence[Any] | None, count: int, fill: Any) -> list[Any]:
    """Exactly `count` values, one a token."""
    values = list(values or [])[:count]
    return values + [fill] * (count - len(values))


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _as_text(value: Any) -> str:
    """A prompt as text; messages one after the other."""
    if isinstance(value, list):
        value = "\n".join(f"{m['role']}: {m['content']}" for m in value)
    return _clean(value)


def _clean(value: Any) -> str:
    """A text without halves of surrogate pairs, which no file can hold."""
    return _SURROGATE.sub("\ufffd", str(value))
