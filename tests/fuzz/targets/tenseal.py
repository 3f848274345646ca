"""What TenSEAL's bytes and messages of strangers do to those who read them: the SEAL parser, and both ends of a sum."""

from __future__ import annotations

import msgspec
import numpy as np

from fuzz.recipe import CHANGES, Recipe, change
from secagg import Identity
from secagg.errors import AbortError, DecodeError, ParameterError, PeerError
from secagg.integrations.tenseal import PublicContext, SumServer
from secagg.integrations.tenseal.ciphertexts import CiphertextSum
from secagg.integrations.tenseal.context import key_id_of
from secagg.integrations.tenseal.messages import SUM, UPLOAD, sha256_of
from secagg.wire.frames import Envelope, _encoder, _header, _statement
from support import tenseal_bytes as tb
from support.tenseal_round import SESSION, TensealRound, taken_apart

NAME = "2048-27-27"
LENGTH = 1500  # two ciphertexts


class Seal:
    """The parser: `CiphertextSum.add`, and what reads contexts. The first byte says which, the rest what is changed."""

    def __init__(self) -> None:
        self._shared = tb.shared(NAME)
        vector = tb.encrypted(np.linspace(-1, 1, LENGTH), NAME)
        self._vectors = [vector, tb.rewrap(vector, "none"), tb.rewrap(vector, "zlib")]
        made = tb.context(NAME)
        self._contexts = [
            made.serialize(save_secret_key=False, save_public_key=False, save_galois_keys=False, save_relin_keys=False),
            made.serialize(save_secret_key=True, save_public_key=False, save_galois_keys=False, save_relin_keys=False),
        ]
        self._sum = CiphertextSum(self._shared.public(), LENGTH)
        self._sum.add(vector)

    def run(self, data: bytes) -> None:
        recipe = Recipe(data)
        what, raw = recipe.below(8), recipe.byte()
        if what < 6:
            given = self._vectors[what % 3]
            given = recipe.rest() if raw % 8 == 7 else self._changed(recipe, given)
            self._add(given)
        else:
            given = self._contexts[what - 6]
            given = recipe.rest() if raw % 8 == 7 else self._changed(recipe, given)
            self._read(given)

    def _changed(self, recipe: Recipe, data: bytes) -> bytes:
        """Return the message with something changed in it as protobuf, as SEAL objects, or as bytes."""
        for _ in range(CHANGES):
            if recipe.left <= 0:
                break
            how = recipe.byte() % 4
            if how == 0:
                data = change_bytes(recipe, data)
                continue
            try:
                parts = tb.fields(data)
            except (IndexError, MemoryError):
                data = change_bytes(recipe, data)
                continue
            if not parts:
                return data
            at = recipe.below(len(parts))
            number, wire, content = parts[at]
            if how == 1:
                extra = (number, wire, content)
                parts = [parts[:at] + parts[at + 1 :], [*parts, extra], parts[::-1], [*parts, (15, 0, recipe.byte())]][
                    recipe.below(4)
                ]
            elif how == 2 or wire != 2:
                if wire == 0:
                    changed = change(recipe, content)
                    parts[at] = (number, 0, changed if isinstance(changed, int) and changed >= 0 else 1 << 70)
                else:
                    parts[at] = (number, wire, change_bytes(recipe, content))
            else:
                parts[at] = (number, 2, self._object(recipe, content))
            data = tb.message(parts)
        return data

    @staticmethod
    def _object(recipe: Recipe, item: bytes) -> bytes:
        """Return a SEAL object with something changed under its compression."""
        try:
            minor, body = tb.unpack(item)
        except Exception:  # noqa: BLE001  # it need not be a SEAL object any more
            return change_bytes(recipe, item)
        body = change_bytes(recipe, body, within=160 if recipe.byte() % 4 else None)
        mode = ("none", "zlib", "zstd")[recipe.byte() % 3]
        header = {}
        if recipe.byte() % 4 == 0:
            name = ("magic", "head", "major", "minor", "compression", "zero", "size")[recipe.below(7)]
            limit = {"magic": 1 << 16, "zero": 1 << 16, "size": 1 << 64}.get(name, 256)
            header = {name: int.from_bytes(recipe.take(8), "big") % limit}
            minor = header.pop("minor", minor)
        return tb.pack(body, minor, mode, **header)

    def _add(self, given: bytes) -> None:
        before = self._sum.residues()
        try:
            self._sum.add(given)
        except DecodeError:
            assert np.array_equal(self._sum.residues(), before), "a vector that was refused changed the sum"
            return
        moduli = np.array(self._shared.public().moduli, np.uint64)[:, np.newaxis]
        assert bool((self._sum.residues() < moduli).all())
        self._sum.undo(given)
        assert np.array_equal(self._sum.residues(), before)

    @staticmethod
    def _read(given: bytes) -> None:
        for read in (key_id_of, PublicContext.from_bytes, lambda data: PublicContext.from_tenseal(data, bytes(32))):
            try:
                read(given)
            except (DecodeError, ParameterError):
                continue

    def seeds(self) -> list[bytes]:
        public = self._shared.public().to_bytes()
        edits = [
            bytes([what, 0, how, at, 3, 9, at, 8, 1, 2, 3]) for what in range(8) for how in range(4) for at in (0, 1, 2)
        ]
        return [*(bytes([what, 0]) for what in range(8)), bytes([6, 7]) + public, *edits]


def change_bytes(recipe: Recipe, data: bytes, within: int | None = None) -> bytes:
    """Return bytes with a piece replaced, cut out or put in, near their beginning if `within` says so."""
    at = recipe.below(min(len(data), within or len(data)) + 1)
    piece = recipe.take(1 + recipe.byte() % 16)
    how = recipe.byte() % 4
    if how == 0:
        return data[:at]
    if how == 1:
        return data[:at] + piece + data[at:]
    if how == 2:
        return data[:at] + b"\xff" * (len(data) - at)
    return data[:at] + piece + data[at + len(piece) :]


class Messages:
    """`SumServer.receive` and `SumClient.decrypt`: bytes from outside, and headers that a liar signed with its own key."""

    def __init__(self) -> None:
        self._table = TensealRound(clients=3, length=100, name="4096-40-41")
        self._uploads = self._table.uploads()
        server = self._table.server
        server.open_round(1)
        for name in ("h1", "h2"):
            server.receive(self._uploads[name])
        second = SumServer(
            self._table.params, identity=self._table.server_key, roster=self._table.roster, session=SESSION
        )
        second.open_round(1)
        for upload in self._uploads.values():
            second.receive(upload)
        self._sum = second.close_round()

    def run(self, data: bytes) -> None:
        recipe = Recipe(data)
        up = recipe.byte() % 2 == 0
        message = self._uploads["h0"] if up else self._sum
        key = self._table.keys["h0"] if up else self._table.server_key
        message = self._message(recipe, message, key)
        if up:
            self._to_server(message)
        else:
            self._to_client(message)

    def _message(self, recipe: Recipe, message: bytes, key: Identity) -> bytes:
        kind, envelope, body = taken_apart(message)
        fields = msgspec.msgpack.decode(envelope.payload)
        signed = recipe.byte() % 4
        for _ in range(CHANGES):
            if recipe.left <= 0:
                break
            how = recipe.byte() % 4
            if how == 0:
                body = change_bytes(recipe, body, within=300)
                if recipe.byte() % 2:
                    fields = (
                        [*fields[:4], [len(body)], sha256_of([body]), *fields[6:]]
                        if isinstance(fields, list)
                        else fields
                    )
            elif signed:
                fields = change(recipe, fields)
            else:
                message = change_bytes(recipe, message, within=600)
        if not signed:
            return message
        if signed == 3:
            kind = (UPLOAD, SUM, 0, 1)[recipe.below(4)]
        try:
            payload = msgspec.msgpack.encode(fields)
        except (OverflowError, UnicodeEncodeError):
            payload = b"\x90"
        signature = key.sign(_statement(kind, SESSION, envelope.sender, payload))
        frame = _header(kind) + _encoder.encode(Envelope(SESSION, envelope.sender, signature, payload))
        return len(frame).to_bytes(4, "big") + frame + body

    def _to_server(self, message: bytes) -> None:
        server = self._table.server
        before = [total.residues() for total in server._round.sums]
        try:
            server.receive(message)
        except PeerError:
            after = [total.residues() for total in server._round.sums]
            assert all(map(np.array_equal, before, after)), "an upload that was refused changed the sum"
            assert set(server._round.uploads) == {"h1", "h2"}
            return
        # It is h0's to say what its update is. Whatever it was, it is in the sum whole, and can be taken out again.
        if "h0" in server._round.uploads:
            self._table.server._round.uploads.pop("h0")
            for total, vector in zip(server._round.sums, [taken_apart(message)[2]], strict=True):
                total.undo(vector)

    def _to_client(self, message: bytes) -> None:
        client = self._table.client("h0")
        try:
            found = client.decrypt(message, 1)
        except (PeerError, AbortError):
            return
        assert len(found.contributors) >= 2
        assert bool(np.isfinite(found.sum).all())

    def seeds(self) -> list[bytes]:
        edits = [bytes([who, how, 1, 5, at, 7, 2, 1, 9]) for who in (0, 1) for how in range(4) for at in range(8)]
        bodies = [bytes([who, 1, 0, at, 3, 5, 6, 7, 3, 1]) for who in (0, 1) for at in (0, 20, 40, 100)]
        return [b"\x00\x01", b"\x01\x01", b"\x00\x00", b"\x01\x00", *edits, *bodies]
