"""What a local executor and its worker processes say to each other: length-prefixed MessagePack over a socket pair."""

from collections.abc import Iterator
from typing import Any

import msgspec

from renkei.executors._port import Command


class Task(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Parent to worker: run this."""

    index: int
    run: str
    target: str | Command
    parameters: dict[str, Any]
    directory: str
    memory_bytes: int


class Begun(msgspec.Struct, array_like=True, frozen=True, tag=0, gc=False):
    """Worker to parent: the task begins; `log_size` is how long the worker's log was."""

    index: int
    log_size: int


class Done(msgspec.Struct, array_like=True, frozen=True, tag=1, gc=False):
    """Worker to parent: the task ended, in a process that lives on.

    `fault` of a failed task: "facility", "requester", or "memory" where it asked for more than its limit.
    """

    index: int
    outcome: str
    seconds: float
    outputs: dict[str, float] = {}
    files: dict[str, str] = {}
    fault: str = ""
    message: str = ""
    tail: str = ""
    exit_code: int | None = None


class Spawned(msgspec.Struct, array_like=True, frozen=True, tag=2):
    """Worker to parent: the task runs as this process group, to be ended with the worker."""

    group: int


_encode = msgspec.msgpack.Encoder().encode


def frame(message: Task | Begun | Done | Spawned) -> bytes:
    """Return the message with its length before it."""
    body = _encode(message)
    return len(body).to_bytes(4, "big") + body


class Deframer:
    """Cuts a byte stream back into messages."""

    def __init__(self, kind: Any) -> None:
        self._rest = b""
        self._decode = msgspec.msgpack.Decoder(kind).decode

    def feed(self, data: bytes) -> Iterator[Any]:
        """Yield the messages that `data` completes."""
        data = self._rest + data
        at = 0
        while len(data) - at >= 4:
            end = at + 4 + int.from_bytes(data[at : at + 4], "big")
            if end > len(data):
                break
            yield self._decode(memoryview(data)[at + 4 : end])
            at = end
        self._rest = data[at:]
