# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A stand-in for Google Cloud Storage: what gcsfs and tensorstore ask of it.

Buckets in memory behind the JSON API: objects by get, insert (media, multipart,
resumable), list, delete, copy and compose, with generations and their
preconditions. `environment` goes into the environment of whoever is to use it.
"""

import dataclasses
import datetime
import itertools
import json
import re
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

_OBJECT = re.compile(r"/(?:download/)?storage/v1/b/([^/]+)/o/(.+)")
_BUCKET = re.compile(r"/storage/v1/b/([^/]+)(/o)?")
_UPLOAD = re.compile(r"/(?:resumable/)?upload/storage/v1/b/([^/]+)/o")


@dataclasses.dataclass(frozen=True)
class Blob:
    data: bytes
    generation: int
    time: float


class Refused(Exception):
    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class FakeGcs:
    """The buckets and the server; a context manager.

    Attributes:
      buckets: bucket -> object name -> Blob.
      denied: buckets that exist and that nobody may use.
      requests: (method, target) of every request so far.
      failures: how many of the next requests to answer with 503.
      watch: called with (method, bucket, name) before an object changes.
    """

    def __init__(self, *buckets: str) -> None:
        self.buckets: dict[str, dict[str, Blob]] = {name: {} for name in buckets}
        self.denied: set[str] = set()
        self.requests: list[tuple[str, str]] = []
        self.failures = 0
        self.watch: Callable[[str, str, str], None] = lambda *_: None
        self.lock = threading.RLock()
        self._generations = itertools.count(1000)
        self._uploads: dict[str, dict[str, Any]] = {}
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.fake = self
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def environment(self) -> dict[str, str]:
        """What points both clients here, without asking for credentials."""
        return {
            "STORAGE_EMULATOR_HOST": self.url,
            "TENSORSTORE_GCS_HTTP_URL": self.url,
            "GOOGLE_AUTH_TOKEN_FOR_TESTING": "none",
            "NO_GCE_CHECK": "true",
        }

    def names(self, bucket: str, prefix: str = "") -> list[str]:
        with self.lock:
            return sorted(n for n in self.buckets[bucket] if n.startswith(prefix))

    def put(self, bucket: str, name: str, data: bytes, age_s: float = 0.0) -> Blob:
        """Write an object, whatever is there, that much in the past."""
        with self.lock:
            blob = Blob(data, next(self._generations), time.time() - age_s)
            self.bucket(bucket)[name] = blob
            return blob

    def bucket(self, name: str) -> dict[str, Blob]:
        if name in self.denied:
            raise Refused(403, f"no storage.objects.list access to {name}")
        if name not in self.buckets:
            raise Refused(404, "The specified bucket does not exist.")
        return self.buckets[name]

    def change(
        self, bucket: str, name: str, query: dict[str, str], data: bytes | None
    ) -> Blob | None:
        """Write (or, of None, delete) under the preconditions of a query."""
        self.watch("DELETE" if data is None else "PUT", bucket, name)
        with self.lock:
            there = self.bucket(bucket).get(name)
            check_generation(there, query)
            if data is not None:
                return self.put(bucket, name, data)
            if there is None:
                raise Refused(404, f"No such object: {bucket}/{name}")
            del self.buckets[bucket][name]
            return None

    def fails(self) -> bool:
        with self.lock:
            failed = self.failures > 0
            self.failures -= failed
            return failed

    def upload(self, bucket: str, name: str, query: dict[str, str]) -> str:
        """Begin a resumable upload."""
        self.bucket(bucket)
        key = f"u{next(self._generations)}"
        self._uploads[key] = {"to": (bucket, name, query), "data": b""}
        return key

    def add_chunk(self, key: str, data: bytes, last: bool) -> Blob | None:
        upload = self._uploads[key]
        upload["data"] += data
        if not last:
            return None
        return self.change(*upload["to"], self._uploads.pop(key)["data"])

    def uploaded(self, key: str) -> int:
        return len(self._uploads[key]["data"])

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> "FakeGcs":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def check_generation(there: Blob | None, query: dict[str, str]) -> None:
    generation = there.generation if there else 0
    if "ifGenerationMatch" in query and generation != int(query["ifGenerationMatch"]):
        raise Refused(412, "At least one of the pre-conditions did not hold.")
    not_match = query.get("ifGenerationNotMatch")
    if not_match is not None and generation == int(not_match):
        raise Refused(304, "Not modified")


def described(bucket: str, name: str, blob: Blob) -> dict[str, Any]:
    written = datetime.datetime.fromtimestamp(blob.time, datetime.UTC)
    written = written.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {
        "kind": "storage#object",
        "id": f"{bucket}/{name}/{blob.generation}",
        "name": name,
        "bucket": bucket,
        "generation": str(blob.generation),
        "metageneration": "1",
        "contentType": "application/octet-stream",
        "size": str(len(blob.data)),
        "timeCreated": written,
        "updated": written,
    }


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    fake: FakeGcs

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that were killed."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer("GET")

    do_PUT = lambda self: self._answer("PUT")
    do_POST = lambda self: self._answer("POST")
    do_DELETE = lambda self: self._answer("DELETE")

    def _answer(self, method: str) -> None:
        parts = urlsplit(self.path)
        self.query = dict(parse_qsl(parts.query, keep_blank_values=True))
        self.body = self._read_body()
        self.server.fake.requests.append((method, self.path))
        try:
            if self.server.fake.fails():
                raise Refused(503, "Service Unavailable")
            self._route(method, parts.path)
        except Refused as error:
            if error.status == 304:
                self._send(304, b"")
            else:
                text = {"error": {"code": error.status, "message": str(error)}}
                self._send(error.status, json.dumps(text).encode())

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _route(self, method: str, path: str) -> None:
        fake = self.server.fake
        if path == "/batch/storage/v1":
            self._batch()
        elif found := _UPLOAD.fullmatch(path):
            self._upload(method, found[1])
        elif found := _OBJECT.fullmatch(path):
            bucket, rest = found[1], found[2]
            for verb in ("/rewriteTo/", "/copyTo/"):
                if verb in rest:
                    source, target = rest.split(verb)
                    self._copy(bucket, unquote(source), target)
                    return
            name = unquote(rest.removesuffix("/compose"))
            if method == "GET":
                self._get(bucket, name)
            elif method == "DELETE":
                fake.change(bucket, name, self.query, None)
                self._send(204, b"")
            elif rest.endswith("/compose"):
                names = [s["name"] for s in json.loads(self.body)["sourceObjects"]]
                data = b"".join(fake.bucket(bucket)[n].data for n in names)
                self._send_blob(
                    bucket, name, fake.change(bucket, name, self.query, data)
                )
            else:
                raise Refused(501, f"{method} {path}")
        elif (found := _BUCKET.fullmatch(path)) and method == "GET":
            if found[2]:
                self._list(found[1])
            else:
                fake.bucket(found[1])
                self._send_json({"kind": "storage#bucket", "name": found[1]})
        else:
            raise Refused(501, f"{method} {path}")

    def _get(self, bucket: str, name: str) -> None:
        blob = self.server.fake.bucket(bucket).get(name)
        if blob is None:
            raise Refused(404, f"No such object: {bucket}/{name}")
        check_generation(blob, self.query)
        if self.query.get("alt") != "media":
            self._send_json(described(bucket, name, blob))
            return
        headers = {
            "x-goog-generation": str(blob.generation),
            "x-goog-stored-content-length": str(len(blob.data)),
            "Content-Type": "application/octet-stream",
        }
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or "")
        if not asked or not blob.data:
            self._send(200, blob.data, headers)
            return
        size = len(blob.data)
        if asked[1]:
            first = int(asked[1])
            last = min(int(asked[2]) if asked[2] else size - 1, size - 1)
        else:
            first, last = max(size - int(asked[2]), 0), size - 1
        if first >= size:
            raise Refused(416, "The requested range cannot be satisfied.")
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        self._send(206, blob.data[first : last + 1], headers)

    def _list(self, bucket: str) -> None:
        fake, query = self.server.fake, self.query
        with fake.lock:
            objects = dict(fake.bucket(bucket))
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        start, end = query.get("startOffset", ""), query.get("endOffset")
        after = query.get("pageToken", "")
        limit = int(query.get("maxResults", 1000))
        items, prefixes, token, count = [], set(), "", 0
        for name in sorted(objects):
            if not name.startswith(prefix) or name < start:
                continue
            if (end and name >= end) or (after and name <= after):
                continue
            head, cut, _ = name[len(prefix) :].partition(delimiter or "\0")
            if cut and prefix + head + cut in prefixes:
                token = token and name
                continue
            if count == limit:
                break
            count, token = count + 1, name
            if cut:
                prefixes.add(prefix + head + cut)
            else:
                items.append(described(bucket, name, objects[name]))
        else:
            token = ""
        answer = {"kind": "storage#objects", "items": items}
        answer |= {"prefixes": sorted(prefixes)} if prefixes else {}
        self._send_json(answer | ({"nextPageToken": token} if token else {}))

    def _upload(self, method: str, bucket: str) -> None:
        fake, query = self.server.fake, self.query
        kind = query.get("uploadType")
        if "upload_id" in query:
            self._chunk(method, bucket, query["upload_id"])
        elif kind == "media":
            blob = fake.change(bucket, query["name"], query, self.body)
            self._send_blob(bucket, query["name"], blob)
        elif kind == "multipart":
            name, data = self._parts()
            self._send_blob(bucket, name, fake.change(bucket, name, query, data))
        elif kind == "resumable":
            name = query.get("name") or json.loads(self.body)["name"]
            key = fake.upload(bucket, name, query)
            path = f"/upload/storage/v1/b/{bucket}/o?uploadType=resumable"
            where = f"{fake.url}{path}&upload_id={key}"
            self._send(200, b"", {"Location": where})
        else:
            raise Refused(501, f"uploadType {kind}")

    def _chunk(self, method: str, bucket: str, key: str) -> None:
        if method == "DELETE":
            self._send(204, b"")
            return
        fake = self.server.fake
        span = self.headers.get("Content-Range", "bytes 0-0/0")
        last = not span.endswith("/*")
        name = fake._uploads[key]["to"][1]
        blob = fake.add_chunk(key, self.body, last)
        if blob is None:
            self._send(308, b"", {"Range": f"bytes=0-{fake.uploaded(key) - 1}"})
        else:
            self._send_blob(bucket, name, blob)

    def _batch(self) -> None:
        """Delete many objects in one request; each has an answer of its own."""
        answers = []
        text = self.body.decode()
        for bucket, name in re.findall(r"DELETE \S+/b/([^/\s]+)/o/(\S+) HTTP", text):
            try:
                self.server.fake.change(bucket, unquote(name), {}, None)
                answers.append("HTTP/1.1 204 No Content\r\n\r\n")
            except Refused as error:
                said = {"error": {"code": error.status, "message": str(error)}}
                head = f"HTTP/1.1 {error.status} Refused\r\n\r\n"
                answers.append(head + json.dumps(said) + "\r\n")
        head = "Content-Type: application/http\r\n\r\n"
        parts = [f"--batch_x\r\n{head}{answer}" for answer in answers]
        body = "".join([*parts, "--batch_x--"]).encode()
        self._send(200, body, {"Content-Type": "multipart/mixed; boundary=batch_x"})

    def _parts(self) -> tuple[str, bytes]:
        """Name and content of a multipart insert."""
        boundary = re.search(r'boundary="?([^";]+)', self.headers["Content-Type"])
        assert boundary is not None
        mark = b"--" + boundary[1].encode()
        _, meta, data, _ = self.body.split(mark, 3)
        head = re.split(rb"\r?\n\r?\n", meta.strip(), maxsplit=1)[1]
        content = re.split(rb"\r?\n\r?\n", data, maxsplit=1)[1]
        end = b"\r\n" if content.endswith(b"\r\n") else b"\n"
        return json.loads(head)["name"], content.removesuffix(end)

    def _copy(self, bucket: str, name: str, target: str) -> None:
        fake = self.server.fake
        to_bucket, to_name = target.removeprefix("b/").split("/o/")
        blob = fake.bucket(bucket).get(name)
        if blob is None:
            raise Refused(404, f"No such object: {bucket}/{name}")
        new = fake.change(to_bucket, unquote(to_name), self.query, blob.data)
        assert new is not None
        resource = described(to_bucket, unquote(to_name), new)
        self._send_json({"done": True, "resource": resource, **resource})

    def _send_blob(self, bucket: str, name: str, blob: Blob | None) -> None:
        assert blob is not None
        self._send_json(described(bucket, name, blob))

    def _send_json(self, value: dict[str, Any]) -> None:
        text = json.dumps(value).encode()
        self._send(200, text, {"Content-Type": "application/json"})

    def _send(
        self, status: int, body: bytes, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
