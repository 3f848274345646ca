"""Clients that answer with wrong shares, well sealed and signed."""

from __future__ import annotations

import msgspec

from secagg.protocols.pairwise import unmasking
from secagg.protocols.pairwise.messages import Answer
from secagg.wire import encode_body
from support.federation import fields

__all__ = ["garble", "lying_answer", "shares"]


def lying_answer(f, name, change):
    """Replace one client's answer by what `change` makes of it, sealed and signed by that client."""
    client = f.clients[name]
    real = client.receive

    def lie(frame):
        made = unmasking.make_answer
        unmasking.make_answer = lambda *args: change(made(*args))
        try:
            real(frame)
        finally:
            unmasking.make_answer = made

    client.receive = lie


def garble(plain):
    body = msgspec.msgpack.Decoder(Answer).decode(plain)
    seeds = bytearray(body.seed_shares)
    seeds[0] ^= 1
    return encode_body(fields(body, seed_shares=bytes(seeds)))


def shares(plain):
    """The fields of an answer's plaintext."""
    return msgspec.msgpack.Decoder(Answer).decode(plain)
