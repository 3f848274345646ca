"""Does the carrier do what carriers must? `python conforms.py` asks secagg's suite, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

from carrier import Hub, serve_client

import secagg
from secagg.testing import conformance

PATIENCE = 1.5  # seconds; the suite lets clients fall silent, and a busy machine takes its time


class Tcp:
    """The hub and its clients, each client a task behind a socket of its own."""

    def __init__(self, sites: Mapping[str, conformance.Site]) -> None:
        self._sites = sites
        self._most = next(iter(sites.values())).max_frame_bytes
        self._hub = Hub(sites, self._most)
        self._loop = asyncio.new_event_loop()
        self._listener = self._loop.run_until_complete(asyncio.start_server(self._hub.accept, "127.0.0.1", 0))
        self._tasks: set[asyncio.Task[None]] = set()

    async def _serve(self, site: conformance.Site) -> None:
        port = self._listener.sockets[0].getsockname()[1]
        with contextlib.suppress(conformance.Lost):  # the connection ends, as it does when a process dies
            await serve_client(site.name, "127.0.0.1", port, self._most, lambda frame: site.answer([frame]))

    async def _round(self, server: secagg.Server) -> None:
        self._tasks |= {
            asyncio.create_task(self._serve(site)) for name, site in self._sites.items() if name not in self._hub.links
        }
        while self._hub.links.keys() != self._sites.keys():
            await asyncio.sleep(0.01)
        await self._hub.run(server, PATIENCE)

    def run(self, server: secagg.Server) -> None:
        self._loop.run_until_complete(self._round(server))

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        while self._hub.links:
            await asyncio.sleep(0.01)
        self._listener.close()
        await self._listener.wait_closed()

    def close(self) -> None:
        self._loop.run_until_complete(self._end())
        self._loop.close()


if __name__ == "__main__":
    print(conformance.check(Tcp))
