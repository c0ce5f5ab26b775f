"""A line to a site that can be stalled, cut and made to swallow everything: a TCP proxy."""

import asyncio
import contextlib
import socket
import struct

FAULTS = ("stall", "drop", "cut")
"""What can be wrong with a line: bytes wait; bytes vanish, and nobody is told; connections are reset."""

_RESET = struct.pack("ii", 1, 0)
_CHUNK_BYTES = 1 << 16


class Line:
    """Listens at a port of loopback and passes on what comes, both ways, to another one.

    Args:
        port: Where it listens.
        there: The port that it leads to.
    """

    def __init__(self, port: int, there: int) -> None:
        self.port, self._there = port, there
        self.fault = ""
        self._whole = asyncio.Event()
        self._whole.set()
        self._ends: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> "Line":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.mend()
        self._reset_all()
        await asyncio.sleep(0.05)  # those who served connections find out

    def harm(self, fault: str) -> None:
        """Begin a fault, one of `FAULTS`."""
        self.fault = fault
        self._whole.clear()
        if fault == "cut":
            self._reset_all()

    def mend(self) -> None:
        """End the fault. Connections that lost bytes are reset: nothing can be made of them any more."""
        if self.fault == "drop":
            self._reset_all()
        self.fault = ""
        self._whole.set()

    def _reset_all(self) -> None:
        for end in [*self._ends]:
            _reset(end)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.fault == "cut":
            _reset(writer)
            return
        self._ends.add(writer)
        other: asyncio.StreamWriter | None = None
        try:
            await self._whole.wait()
            answers, other = await asyncio.open_connection("127.0.0.1", self._there)
            self._ends.add(other)
            await asyncio.gather(self._pass(reader, other), self._pass(answers, writer))
        except OSError:
            pass  # nobody listens there, or the line was cut
        finally:
            for end in (writer, other):
                if end is not None:
                    self._ends.discard(end)
                    _reset(end)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK_BYTES):
            if self.fault == "stall":
                await self._whole.wait()
            if not self.fault:
                writer.write(data)
                await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection at once, so that the other side is told of an error and not of an end."""
    with contextlib.suppress(OSError, AttributeError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
