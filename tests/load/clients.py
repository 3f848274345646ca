"""Many honest clients in one process, driven over a pipe.

What a client computes from a broadcast alone (the signatures in it, the graphs that follow from it) it computes as every other
does, from the same bytes. The clients of one process share these results: ten thousand times ten thousand signatures are the work
of ten thousand machines, and this is one. The frames are the same, and so is every other computation.
"""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Iterable, Mapping
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from secagg import Client, Identity, Params, Roster

__all__ = ["identity", "main", "update"]

SHARED_BYTES = 1 << 14  # longer frames of the server's are broadcasts, or hold what is the same for all
BATCH = 64  # clients whose frames go back in one message


def identity(name: str) -> Identity:
    """Return the key of a name: of no use but here."""
    return Identity.from_bytes(hashlib.sha256(b"load " + name.encode()).digest())


def update(name: str, params: Params) -> np.ndarray[Any, Any]:
    """Return the update of a client."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    low, high = params.encoding.low, params.encoding.high
    return np.random.default_rng(seed).integers(low, high + 1, params.length)


def share(client_modules: Iterable[Any] = ()) -> None:
    """Let the clients of this process share what each would compute from the same bytes."""
    from secagg.protocols.pairwise import answering, client, client_setup, client_state, graph, setup, unmasking

    read_advertisements, read_headers = setup.read_advertisements, unmasking.read_headers
    read: dict[Any, Any] = {}

    def once(key: Any, make: Any) -> Any:
        if key not in read:
            read[key] = make()
        return read[key]

    def advertisements(body: Any, request: Any, session: bytes, roster: Roster, params: Params) -> Any:
        key = ("shares", session, request.first_round, hashlib.sha256(b"".join(body.advertisements)).digest())
        return once(key, lambda: read_advertisements(body, request, session, roster, params))

    def headers(made: Any, members: Any, request: Any, roster: Roster, params: Params) -> Any:
        key = ("headers", made.setup_hash, request.round_id, hashlib.sha256(b"".join(request.headers)).digest())
        return once(key, lambda: read_headers(made, members, request, roster, params))

    def memo(function: Any, size: int = 4) -> Any:
        """Remember the last results by the arguments, lists by their content."""
        kept: dict[Any, Any] = {}

        @functools.wraps(function)
        def remembered(*args: Any, **kwargs: Any) -> Any:
            frozen = tuple(tuple(a) if isinstance(a, list) else a for a in args)
            key = (frozen, tuple(sorted(kwargs.items())))
            if key not in kept:
                while len(kept) >= size:
                    kept.pop(next(iter(kept)))
                kept[key] = function(*args, **kwargs)
            return kept[key]

        return remembered

    def long_only(function: Any, at: int) -> Any:
        remembered = memo(function, 1)

        def chosen(*args: Any, **kwargs: Any) -> Any:
            long = isinstance(args[at], bytes) and len(args[at]) > SHARED_BYTES
            return remembered(*args, **kwargs) if long else function(*args, **kwargs)

        return chosen

    client_setup.read_advertisements = advertisements
    answering.unmasking.read_headers = headers
    graph.mask_graph = memo(graph.mask_graph)
    client_state.participants_digest = memo(client_state.participants_digest)
    unmasking.account_digest = memo(unmasking.account_digest)
    unmasking.survivors_digest = _by_size(unmasking.survivors_digest)
    unmasking.participants_digest = memo(unmasking.participants_digest)
    setup.members_digest = memo(setup.members_digest)
    client_setup.digest = long_only(client_setup.digest, 1)
    answering.digest = long_only(answering.digest, 1)
    client.decode_frame = long_only(client.decode_frame, 0)
    client.open_envelope = _by_envelope(client.open_envelope)
    client.decode_body = long_only(client.decode_body, 0)


def share_setup() -> None:
    """Let the clients of this process share the committee's keys, once one of them has checked them."""
    from secagg.protocols.oneshot.setup import Setup

    read, kept = Setup.read.__func__, {}  # type: ignore[attr-defined]

    def once(cls: Any, frames: list[bytes], session: bytes, roster: Roster, params: Params) -> Any:
        key = (session, tuple(hashlib.sha256(frame).digest() for frame in frames))
        if key not in kept:
            kept[key] = read(cls, frames, session, roster, params)
        return kept[key]

    Setup.read = classmethod(once)  # type: ignore[method-assign,assignment]


def _by_size(function: Any) -> Any:
    kept: dict[Any, bytes] = {}

    def remembered(setup_hash: bytes, round_id: int, uploads: Mapping[str, bytes]) -> bytes:
        key = (setup_hash, round_id, id(uploads))  # the one that `headers` gave to everybody
        if key not in kept:
            kept[key] = function(setup_hash, round_id, uploads)
        return kept[key]

    return remembered


def _by_envelope(function: Any) -> Any:
    kept: dict[bytes, bytes] = {}

    def remembered(kind: int, envelope: Any, verify_key: bytes) -> bytes:
        if len(envelope.payload) <= SHARED_BYTES:
            return function(kind, envelope, verify_key)
        if envelope.signature not in kept or kept[envelope.signature] != envelope.payload:
            kept.clear()
            kept[envelope.signature] = function(kind, envelope, verify_key)
        return kept[envelope.signature]

    return remembered


def main(
    pipe: Connection,
    params_bytes: bytes,
    names: list[str],
    roster: tuple[dict[str, bytes], bytes, bytes | None],
    session: bytes,
) -> None:
    """Serve until told to stop: take the frames of a phase, send back what the clients answer."""
    params, known = Params.from_bytes(params_bytes), Roster(*roster)
    if params.protocol == "pairwise":
        share()
    if params.protocol == "oneshot":
        share_setup()
    clients = {
        name: Client(params, me=name, identity=identity(name), roster=known, session=session, threads=1)
        for name in names
    }
    pipe.send(("ready", time.process_time()))
    while (told := pipe.recv()) is not None:
        shared, own = told
        begun, refused, out = time.process_time(), 0, []
        for count, name in enumerate(names, 1):
            client = clients[name]
            for frame in (*shared, *own.get(name, ())):
                try:
                    client.receive(frame)
                except Exception as error:  # noqa: BLE001  # the other process says what it was
                    refused += 1
                    pipe.send(("refused", f"{name}: {type(error).__name__}: {error}"))
            if client.awaiting is not None:
                client.submit(update(name, params))
            out += [(name, frame) for frame in client.outbox()]
            if count % BATCH == 0 and out:
                pipe.send(("frames", out))
                out = []
        if out:
            pipe.send(("frames", out))
        pipe.send(("done", time.process_time() - begun))
