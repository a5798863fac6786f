# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""The child's side of `pool.py`: reads calls as JSON lines, answers each at once.

Free of JAX, and of everything else that is slow to import. What the called function
prints goes to standard error; it finds standard input empty.
"""

import importlib
import json
import os
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, BinaryIO

BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from lrm_jax.data.verify.worker import main; main(json.loads(sys.argv[2]))"
)
"""What the child's interpreter runs; arguments: `sys.path`, and `main`'s settings."""


def main(settings: dict[str, Any]) -> None:
    """Serve calls of `settings["target"]` until the parent goes away."""
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.dup2(2, 1)
    batches: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(source, batches), daemon=True).start()
    _limit_memory(settings["memory_mb"])
    try:
        function = _find(settings["target"])
        for path in settings["imports"]:
            _find(path)
    except BaseException as error:
        _send(sink, {"failed": describe(error)})
        return
    _send(sink, {"ready": True})
    while True:
        for item in json.loads(batches.get()):
            _limit_cpu(settings["deadline_s"])
            _send(sink, _call(function, item))


def _read(source: BinaryIO, batches: queue.SimpleQueue[bytes]) -> None:
    """Pass batches on; end the process when the parent has gone."""
    for line in source:
        batches.put(line)
    os._exit(0)


def _find(target: str) -> Callable[[Any], Any]:
    """Return `function` of `package.module:function`."""
    module, _, name = target.partition(":")
    function = getattr(importlib.import_module(module), name)
    if not callable(function):
        raise TypeError(f"{name} is a {type(function).__name__}, not a function")
    return function


def _call(function: Callable[[Any], Any], item: Any) -> dict[str, Any]:
    try:
        value = function(item)
        json.dumps(value, default=plain)
    except BaseException as error:
        return {"error": describe(error)}
    return {"value": value}


def plain(value: Any) -> Any:
    """Turn arrays and their scalars into lists and numbers."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be passed between processes")


def _send(sink: BinaryIO, message: dict[str, Any]) -> None:
    sink.write(json.dumps(message, default=plain).encode() + b"\n")
    sink.flush()


def describe(error: BaseException) -> str:
    """Return one line about an error: its type, text and place."""
    at, place = error.__traceback__, ""
    while at is not None:
        place = f" ({at.tb_frame.f_code.co_filename}:{at.tb_lineno})"
        at = at.tb_next
    text = " ".join(str(error).split())[:500]
    return f"{type(error).__name__}: {text}{place}" if text else type(error).__name__


def _limit_memory(memory_mb: int) -> None:
    if memory_mb:
        import resource

        limit = memory_mb * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _limit_cpu(deadline_s: float) -> None:
    """Let the kernel end a call that outlives its deadline after the parent died.

    A call that never lets go of the interpreter would keep `_read` from seeing it.
    """
    import resource

    threads = os.cpu_count() or 1
    soft = int(time.process_time() + (deadline_s + 2) * threads) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))
