"""A federation that sums TenSEAL's ciphertexts: everybody in one process, and messages that can be forged."""

from __future__ import annotations

import msgspec
import numpy as np

from secagg import Identity, Roster
from secagg.integrations.tenseal import SumClient, SumParams, SumServer
from secagg.integrations.tenseal.messages import seal, sha256_of
from secagg.wire import decode_frame
from support import tenseal_bytes as tb

SESSION = bytes(range(16))


class TensealRound:
    def __init__(self, clients=3, length=100, name="4096-40-41", **terms):
        self.shared = tb.shared(name)
        self.ids = [f"h{i}" for i in range(clients)]
        self.keys = {name: Identity.generate() for name in self.ids}
        self.server_key = Identity.generate()
        self.roster = Roster({name: key.verify_key for name, key in self.keys.items()}, self.server_key.verify_key)
        self.params = SumParams(
            **{"context": self.shared.public(), "clients": clients, "min_clients": 2, "length": length}
            | {"bound": 1.0, "threat": "semi-honest"}
            | terms
        )
        self.server = SumServer(self.params, identity=self.server_key, roster=self.roster, session=SESSION)
        self.clients = {name: self.client(name) for name in self.ids}
        rng = np.random.default_rng(0)
        self.updates = {name: rng.uniform(-1, 1, length) for name in self.ids}

    def client(self, name, shared=None, params=None):
        return SumClient(
            shared or self.shared, params or self.params, me=name, identity=self.keys[name], roster=self.roster,
            session=SESSION,
        )  # fmt: skip

    def uploads(self, round_id=1, context=b""):
        return {name: c.encrypt(self.updates[name], round_id, context) for name, c in self.clients.items()}

    def expected(self, names):
        return sum(np.rint(self.updates[name] / self.params.step) for name in names) * self.params.step


def taken_apart(message):
    """(kind, envelope, vectors) of a message."""
    size = int.from_bytes(message[:4], "big")
    kind, envelope = decode_frame(message[4 : 4 + size], max_bytes=1 << 20)
    return kind, envelope, message[4 + size :]


def forged(message, header_type, key, vectors=None, sender=None, session=None, kind=None, **changes):
    """The message with changed header or vectors, rightly signed by `key`."""
    was, envelope, body = taken_apart(message)
    header = msgspec.msgpack.decode(envelope.payload, type=header_type)
    if vectors is not None:
        changes = {"sizes": [len(v) for v in vectors], "sha256": sha256_of(vectors)} | changes
        body = b"".join(vectors)
    header = msgspec.structs.replace(header, **changes)
    return seal(
        was if kind is None else kind, session or envelope.session, envelope.sender if sender is None else sender,
        header, [body], key.sign,
    ).message  # fmt: skip
