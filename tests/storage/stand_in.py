# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The stand-in of this test process; every test has a bucket of its own."""

import dataclasses
import functools
import itertools
from collections.abc import Iterator

import pytest

from tests.storage.fake_gcs import Blob, FakeGcs

_numbers = itertools.count(1)


@functools.cache
def server() -> FakeGcs:
    """Return the server; tensorstore asks for its address only once."""
    return FakeGcs()


@dataclasses.dataclass(frozen=True)
class Bucket:
    name: str

    @property
    def url(self) -> str:
        return f"gs://{self.name}"

    @property
    def objects(self) -> dict[str, Blob]:
        return server().buckets[self.name]

    def names(self, prefix: str = "") -> list[str]:
        return server().names(self.name, prefix)

    def put(self, name: str, data: bytes, age_s: float = 0.0) -> Blob:
        return server().put(self.name, name, data, age_s)


def a_bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """A new bucket; this process and its children find it on the stand-in."""
    gcs = server()
    for name, value in gcs.environment.items():
        monkeypatch.setenv(name, value)
    bucket = Bucket(f"bucket-{next(_numbers)}")
    gcs.buckets[bucket.name] = {}
    yield bucket
    gcs.watch, gcs.failures = (lambda *_: None), 0
