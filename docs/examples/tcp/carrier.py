"""A carrier of secagg's frames over plain TCP: one connection for each client, every frame after its length."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Callable, Collection

import secagg
from secagg.errors import PeerError

LENGTH = struct.Struct("!I")


async def read(reader: asyncio.StreamReader, most: int) -> bytes:
    """Return the next frame; ConnectionError at the end, and for one that is too long to be looked at."""
    try:
        (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
        if length > most:
            raise ConnectionError("a frame that is too long")
        return await reader.readexactly(length)
    except asyncio.IncompleteReadError:
        raise ConnectionError("the other side has gone") from None


class Hub:
    """The server's side: `accept` serves one connection, `run` carries one round."""

    def __init__(self, names: Collection[str], most: int) -> None:
        self.links: dict[str, asyncio.StreamWriter] = {}
        self._names, self._most = names, most
        self._inbox: asyncio.Queue[tuple[str, bytes | None]] = asyncio.Queue(
            maxsize=64
        )  # full: nobody's socket is read on

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError), contextlib.closing(writer):
            name = (await read(reader, 64)).decode(errors="replace")  # a hint for routing: signatures say who it was
            if name not in self._names:
                return
            self.links[name] = writer
            try:
                while True:
                    await self._inbox.put((name, await read(reader, self._most)))
            finally:
                if self.links.get(name) is writer:  # and not a newer connection of the same client
                    del self.links[name]
                await self._inbox.put((name, None))  # `run` wakes up: one less to wait for

    async def run(self, server: secagg.Server, patience: float) -> None:
        while server.phase != "idle":
            for to, frame in server.outbox():
                for name in list(self.links) if to is None else [to]:
                    if name in self.links:  # not drained: requests are small, and nobody waits for one slow reader
                        self.links[name].write(LENGTH.pack(len(frame)) + frame)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    while self.links.keys() & server.missing:
                        name, frame = await self._inbox.get()
                        with contextlib.suppress(PeerError):  # refused, and nothing of it kept: the round goes on
                            if frame is not None:
                                server.receive(frame, sender=name)
            server.close_phase()  # an AbortError is the caller's to hear


async def serve_client(name: str, host: str, port: int, most: int, answer: Callable[[bytes], list[bytes]]) -> None:
    """The client's side: each frame that comes is answered by some, until the connection ends."""
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(LENGTH.pack(len(name.encode())) + name.encode())
    with contextlib.suppress(ConnectionError), contextlib.closing(writer):
        while True:
            for frame in answer(await read(reader, most)):
                writer.write(LENGTH.pack(len(frame)) + frame)
                await writer.drain()
