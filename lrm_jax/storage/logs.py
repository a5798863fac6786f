# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Logs of lines that grow: a file, or numbered parts where nothing can be appended.

`metrics.jsonl` is a file on a file system and `metrics/00001.jsonl`, ... on
`gs://`. All read both, the file first, so a folder may be copied either way.
Many small parts become a large one: `00001-00032.jsonl` takes the place of 32.
"""

import contextlib
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

from lrm_jax.storage import gcs
from lrm_jax.storage.paths import AnyPath, Path, is_remote
from lrm_jax.types import UserError

_PART = re.compile(r"(\d+)(?:-(\d+))?\.jsonl")
_MERGED = 32
_EVERY_S = 2.0
_PATIENCE_S = 600.0
_RETRY_S = 5.0
_TRIES = 5
_THREADS = 16


def parts_folder(path: AnyPath) -> AnyPath:
    """Return where the parts of `metrics.jsonl` are: `metrics/`."""
    return path.with_suffix("")


def read_log(path: AnyPath) -> bytes | None:
    """Return a whole log, or None where there is none."""
    for attempt in range(_TRIES):
        try:
            pieces = _read_all(_pieces(path))
        except FileNotFoundError:
            if attempt == _TRIES - 1:
                raise
            continue  # parts were merged meanwhile: list again
        return b"".join(pieces) if pieces else None
    raise AssertionError("unreachable")


@contextlib.contextmanager
def open_log(path: AnyPath) -> Iterator[BinaryIO]:
    """Open a whole log for reading, empty where there is none; it can seek."""
    pieces = _pieces(path)
    if pieces == [path] and not is_remote(path):
        with open(path, "rb") as file:
            yield file
        return
    with tempfile.TemporaryFile() as copy:
        if pieces:
            copy.write(read_log(path) or b"")
            copy.seek(0)
        yield copy


def trim_log(path: AnyPath, keep: Callable[[str], str]) -> None:
    """Cut every piece of a log down to what `keep` returns of its text.

    A kill in between leaves less to cut the next time.
    """
    if is_remote(path):
        _drop_leftovers(Path(parts_folder(path)))
    pieces = _pieces(path)
    contents = zip(pieces, _read_all(pieces), strict=True)
    for piece, data in reversed(list(contents)):
        text = data.decode("utf-8", errors="replace")
        kept = keep(text)
        if kept.encode() == data:
            continue
        if is_remote(piece):
            _trim_object(piece, kept)
        elif text.startswith(kept):  # needs no space on a full disk
            os.truncate(piece, len(kept.encode()))
        else:
            _replace(piece, kept)


def _drop_leftovers(folder: Path) -> None:
    """Delete parts that are in a merged one already: they must not come back."""
    names = list(gcs.sizes_below(folder))
    chosen = {_name(*span) for span in in_order(names)}
    for name in names:
        if _PART.fullmatch(name) and name not in chosen:
            gcs.remove(folder / name)


def _trim_object(path: AnyPath, kept: str) -> None:
    if kept:
        gcs.write(Path(path), kept.encode())
    else:
        gcs.remove(Path(path))


def _replace(path: AnyPath, text: str) -> None:
    """Write a local piece anew, whole or not at all."""
    part = path.with_name(path.name + ".part")
    try:
        with open(part, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise


def _pieces(path: AnyPath) -> list[AnyPath]:
    """The file, where there is one, and then the parts in order."""
    folder = parts_folder(path)
    if is_remote(path):
        names = list(gcs.sizes_below(Path(folder)))
        first = [path] if path.exists() else []
    else:
        names = [p.name for p in folder.iterdir()] if folder.is_dir() else []
        first = [path] if path.exists() else []
    return first + [folder / _name(*span) for span in in_order(names)]


def _read_all(paths: list[AnyPath]) -> list[bytes]:
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(_read, paths))


def _read(path: AnyPath) -> bytes:
    return gcs.read(Path(path)) if is_remote(path) else path.read_bytes()


def in_order(names: list[str]) -> list[tuple[int, int]]:
    """Return first and last number of the parts that make up the log, in order.

    A part that lies within a larger one is what a merge has not deleted yet.
    """
    spans = set()
    for name in names:
        found = _PART.fullmatch(name)
        if found:
            spans.add((int(found[1]), int(found[2] or found[1])))
    chosen: list[tuple[int, int]] = []
    for first, last in sorted(spans, key=lambda span: (span[0], -span[1])):
        if not chosen or first > chosen[-1][1]:
            chosen.append((first, last))
    return chosen


def _name(first: int, last: int) -> str:
    return f"{first:05d}.jsonl" if first == last else f"{first:05d}-{last:05d}.jsonl"


class PartLog:
    """Writes a log on `gs://` as numbered parts; the only writer of it."""

    def __init__(self, path: Path, confirm: Callable[[], None] | None = None) -> None:
        """Go on after the parts that are there.

        Args:
          path: as of a file, `.../metrics.jsonl`.
          confirm: raises where this process may not write the log any more. With it
            a part that came from elsewhere (a former writer's last, sent late) is
            passed; without it that is an error.
        """
        self._folder = Path(parts_folder(path))
        self._confirm = confirm
        self._list()

    def _list(self) -> None:
        self._spans = in_order(list(gcs.sizes_below(self._folder)))

    def write(self, text: str) -> None:
        """Write lines as the next part; they are stored when this returns.

        Raises:
          UserError: another process writes this log.
        """
        # Before the write: what fails here is tried again with the same lines.
        self._merge()
        for attempt in range(_TRIES):
            number = self._spans[-1][1] + 1 if self._spans else 1
            path = self._folder / _name(number, number)
            if gcs.write_if(path, text.encode(), 0) is not None:
                self._spans.append((number, number))
                return
            if self._confirm is None or attempt == _TRIES - 1:
                raise UserError(
                    f"{path} is there already: another process writes this run"
                )
            self._confirm()
            self._list()

    def _merge(self) -> None:
        """Make one of the last parts, where enough of one size have come together."""
        while len(self._spans) >= _MERGED:
            last = self._spans[-_MERGED:]
            if len({b - a for a, b in last}) > 1:
                return
            whole = (last[0][0], last[-1][1])
            parts = [self._folder / _name(*span) for span in last]
            gcs.compose(self._folder / _name(*whole), parts)
            self._spans[-_MERGED:] = [whole]
            with ThreadPoolExecutor(_THREADS) as pool:
                list(pool.map(gcs.remove, parts))


class BackgroundLog:
    """A `PartLog` that costs its caller nothing: a thread writes every 2 s."""

    def __init__(self, path: Path, confirm: Callable[[], None] | None = None) -> None:
        """Go on after the parts that are there; `confirm` as of a `PartLog`."""
        self._log = PartLog(path, confirm)
        self._lines: list[str] = []
        self._error: Exception | None = None
        self._urgent = self._closed = False
        self._given = self._stored = 0  # lines
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def append(self, line: str) -> None:
        """Take a line; raise what went wrong with those before."""
        with self._change:
            self._raise()
            self._lines.append(line)
            self._given += 1
            self._change.notify_all()

    def flush(self) -> None:
        """Return once every line that was given before is stored."""
        with self._change:
            given = self._given
            while self._stored < given and self._error is None:
                self._urgent = True
                self._change.notify_all()
                self._change.wait()
            self._urgent = False
            self._raise()

    def close(self, *, keep: bool = True) -> None:
        """Store what there is (or drop it), and end the thread."""
        try:
            if keep:
                self.flush()
        finally:
            with self._change:
                self._lines, self._closed = [], True
                self._change.notify_all()
            self._thread.join()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._lines or self._closed)
                self._change.wait_for(lambda: self._urgent or self._closed, _EVERY_S)
                if not self._lines:
                    return
                taken, self._lines = self._lines, []
            error = self._write("".join(taken))
            with self._change:
                self._stored += len(taken)
                self._error = error
                self._change.notify_all()
            if error is not None:
                return

    def _write(self, text: str) -> Exception | None:
        """Write a part; a store that is away for minutes does not end a run."""
        end = time.monotonic() + _PATIENCE_S
        while True:
            try:
                self._log.write(text)
            except PermissionError as error:
                return error
            except OSError as error:
                if time.monotonic() > end:
                    return error
                time.sleep(_RETRY_S)
            except Exception as error:
                return error
            else:
                return None
