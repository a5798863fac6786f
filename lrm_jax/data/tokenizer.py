# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Text to token ids and back: symbol and byte vocabularies, and the seam they meet.

Files in the Hugging Face format are read by `hf_tokenizer.py`.
"""

import dataclasses
import re
from collections.abc import Iterable, Sequence
from typing import Literal, Protocol

from lrm_jax.types import UserError

PAD, END, FIRST = 0, 1, 2
"""Ids of the padding and of the end in our own vocabularies, and the first symbol."""

DEFAULT_SYMBOLS = (
    "<think>",
    "</think>",
    *"\n 0123456789",
    *"abcdefghijklmnopqrstuvwxyz",
    *"ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    *"+-*/=()[]{}<>.,:;?!'\"#_|",
)
"""Digits, letters, signs and the tags of a thought: 96 ids with padding and end."""


class Tokenizer(Protocol):
    """Text to ids and back.

    Ids, not text, are what a policy is trained on: `encode(decode(ids))` may differ
    from `ids` wherever a text can be cut into tokens in several ways.
    """

    @property
    def vocab_size(self) -> int:
        """One more than the largest id."""
        ...

    @property
    def pad_id(self) -> int:
        """Fills what a mask hides; may be an end token (see `pad_is_end`)."""
        ...

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """Ids that end a completion; the first is the one that training appends."""
        ...

    @property
    def bos_ids(self) -> tuple[int, ...]:
        """What a raw prompt begins with; chat templates write it themselves."""
        ...

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text; nothing is added before or after it."""
        ...

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids; padding and end tokens give none."""
        ...

    def token_bytes(self) -> list[bytes]:
        """Return what each id adds to a text in UTF-8, `[vocab_size]`."""
        ...


def pad_is_end(tokenizer: Tokenizer) -> bool:
    """Return whether padding looks like an end: only masks tell the two apart."""
    return tokenizer.pad_id in tokenizer.eos_ids


class SymbolTokenizer:
    """A vocabulary of a few symbols; a text is cut greedily, longest match first.

    Id 0 is padding, 1 the end, 2 the first symbol.
    """

    def __init__(self, symbols: Sequence[str]) -> None:
        """Take the symbols, characters or longer ones such as `</think>`.

        Raises:
          UserError: one is empty or occurs twice.
        """
        self.symbols = tuple(symbols)
        if not self.symbols:
            raise UserError("tokenizer.symbols is empty; give at least one symbol")
        for i, symbol in enumerate(self.symbols):
            if not symbol:
                raise UserError(f"tokenizer.symbols[{i}] is empty text")
            if symbol in self.symbols[:i]:
                raise UserError(f"tokenizer.symbols[{i}]={symbol!r} occurs twice")
        self._ids = {symbol: i + FIRST for i, symbol in enumerate(self.symbols)}
        longest_first = sorted(self.symbols, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)))
        self._texts = ["", "", *self.symbols]
        self.vocab_size = len(self._texts)
        self.pad_id = PAD
        self.eos_ids: tuple[int, ...] = (END,)
        self.bos_ids: tuple[int, ...] = ()

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text.

        Raises:
          UserError: names the first character that begins no symbol.
        """
        pieces = self._pattern.findall(text)
        if sum(map(len, pieces)) != len(text):
            at = self._first_unknown(text)
            raise UserError(
                f"character {text[at]!r} (U+{ord(text[at]):04X}) at place {at + 1} "
                f"of {_excerpt(text, at)!r} is not in the vocabulary of "
                f"{len(self.symbols)} symbols"
            )
        return [self._ids[piece] for piece in pieces]

    def _first_unknown(self, text: str) -> int:
        at = 0
        while found := self._pattern.match(text, at):
            at = found.end()
        return at

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids; ids outside the vocabulary show as U+FFFD."""
        known = range(len(self._texts))
        return "".join(self._texts[i] if i in known else "\ufffd" for i in ids)

    def token_bytes(self) -> list[bytes]:
        """Return what each id adds to a text in UTF-8."""
        return [text.encode() for text in self._texts]


class ByteTokenizer:
    """UTF-8 bytes: 0 is padding, 1 the end, byte b is b + 2."""

    vocab_size = 256 + FIRST
    pad_id = PAD
    eos_ids: tuple[int, ...] = (END,)
    bos_ids: tuple[int, ...] = ()

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text."""
        return [byte + FIRST for byte in text.encode("utf-8", errors="replace")]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids; bytes that are no UTF-8 show as U+FFFD."""
        data = bytes(i - FIRST for i in ids if FIRST <= i < 256 + FIRST)
        return data.decode("utf-8", errors="replace")

    def token_bytes(self) -> list[bytes]:
        """Return what each id adds to a text."""
        return [b"", b"", *(bytes([byte]) for byte in range(256))]


@dataclasses.dataclass(frozen=True)
class TokenizerConfig:
    """How text becomes tokens.

    Attributes:
      kind: `task` (the task's own, or bytes where it has none), `symbols`, `bytes`,
        or `hf`: a folder in the Hugging Face format.
      path: that folder.
      symbols: of `symbols`; empty for digits, letters and signs.
    """

    kind: Literal["task", "symbols", "bytes", "hf"] = "task"
    path: str = ""
    symbols: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a kind without what it needs."""
        if self.kind == "hf" and not self.path:
            raise UserError("tokenizer.path is empty; tokenizer.kind='hf' needs it")
        if self.kind != "hf" and self.path:
            raise UserError(
                f"tokenizer.path={self.path!r} has no meaning with tokenizer.kind="
                f"{self.kind!r}; set tokenizer.kind=hf"
            )
        if self.kind != "symbols" and self.symbols:
            raise UserError(
                "tokenizer.symbols has no meaning with tokenizer.kind="
                f"{self.kind!r}; set tokenizer.kind=symbols"
            )


def make_tokenizer(cfg: TokenizerConfig, own: Tokenizer | None = None) -> Tokenizer:
    """Return the tokenizer of a config.

    Args:
      cfg: which one.
      own: the task's, for `task`.
    """
    if cfg.kind == "task":
        return own if own is not None else ByteTokenizer()
    if cfg.kind == "symbols":
        return SymbolTokenizer(cfg.symbols or DEFAULT_SYMBOLS)
    if cfg.kind == "bytes":
        return ByteTokenizer()
    from lrm_jax.data.hf_tokenizer import HfTokenizer

    return HfTokenizer(cfg.path)


def _excerpt(text: str, at: int) -> str:
    start, end = max(0, at - 20), at + 20
    head, tail = "..." if start else "", "..." if end < len(text) else ""
    return head + text[start:end] + tail
