"""Frames of ckks that have to be refused without a trace, and the round that ends exactly all the same."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from secagg.errors import PeerError
from secagg.wire import HOLDER, SERVER, decode_frame
from secagg.wire.frames import Envelope, _encoder, _header, _statement
from support.encrypted import Encrypted

ODD = [None, -1, 1 << 64, "x", b"", [], [0, 0], [5, 1], [-1], [1 << 63], b"x" * 31, 1.5, {}, [[]], [b"x"], True]


def five(**changes):
    return Encrypted(5, max_participants=4, min_clients=3, rounds_per_setup=3, **changes)


def at(f, phase, round_id=1):
    """Run to a phase of a round of four participants, and return the inbox."""
    f.server.open_round(round_id, participants=f.ids[:4])
    f.until(phase)
    return f.requests()


def finish(f, inbox):
    """Whatever was refused, the round ends with the exact sum."""
    f.errors.clear()
    f.bring(f.hand(inbox))
    f.server.close_phase()
    while f.server.phase != "idle":
        f.phase()
    assert not f.errors
    f.check(f.ids[:4])


def seen(f, who):
    """What a party knows, to be compared: its snapshot's bytes, and where its round stands."""
    if who == SERVER:
        state = f.server._core._state
        current, key = state.round, state.key
        return (
            f.server.phase, f.server.missing, {name: dict(kept) for name, kept in current.kept.items() if kept},
            dict(current.headers), set(current.excluded), current.answer, dict(current.opened), key.frame, set(key.shown),
            f.server._core.bulk._spool.in_memory,
        )  # fmt: skip
    party = f.party(who)
    current = party._core._state.round
    gathered = (
        who == HOLDER and current is not None and (current.request, {k: dict(v) for k, v in current.contents.items()})
    )
    return party._core.freeze(), id(current), gathered, list(party._core._state.out)


def refused(f, who, frame, words="", error=PeerError):
    before = seen(f, who)
    with pytest.raises(error, match=words):
        (f.server if who == SERVER else f.party(who)).receive(frame)
    assert seen(f, who) == before


def raw_frame(f, name, kind, payload, key):
    signature = key.sign(_statement(kind, f.server.session, name, payload))
    return _header(kind) + _encoder.encode(Envelope(f.server.session, name, signature, payload))


def mutations(frame):
    """Every field of a body replaced by every odd value, one at a time, as payload bytes; then too few and too many."""
    _, outer = decode_frame(frame, max_bytes=1 << 30)
    values = msgspec.msgpack.decode(outer.payload)
    for where, odd in itertools.product(range(len(values)), ODD):
        if values[where] != odd or type(values[where]) is not type(odd):
            yield (
                msgspec.msgpack.encode([*values[:where], odd, *values[where + 1 :]]) if odd != 1 << 64 else b"\x91" * 50
            )
    yield from map(msgspec.msgpack.encode, (values[:-1], [*values, 0], [], {}, None))
    yield outer.payload + b"\x00"
