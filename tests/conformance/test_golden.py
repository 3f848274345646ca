"""Format version 1, frozen in tests/golden/wire/v1: its bytes are read for ever, and written again as they were."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import msgspec
import pytest

from golden.freeze import ANSWER, BESIDE, IDS, KINDS, V1, identity
from reference import frames as reference
from reference import msgpack
from reference.hashes import digest
from reference.settings import Roster as ReferenceRoster
from secagg import Client, Identity, KeyHolder, Member, Params, Receipt, Roster, errors
from secagg.identity import PublicKey
from secagg.protocols.ckks import messages as ckks
from secagg.protocols.oneshot import messages as oneshot
from secagg.protocols.pairwise import messages as pairwise
from secagg.store import Ledger, open_snapshot
from secagg.wire import (
    HOLDER,
    Chunk,
    Envelope,
    decode_body,
    decode_frame,
    encode_body,
    encode_chunk,
    open_envelope,
    seal_envelope,
)

DECODERS = {
    "pairwise": {int(kind): decoder for kind, decoder in pairwise.decoders.items()},
    "ckks": {int(kind): decoder for kind, decoder in ckks.decoders.items()},
    "oneshot": {int(kind): decoder for kind, decoder in oneshot.decoders.items()},
}
QUIET = {"holder": KeyHolder, "member": Member}
PROTOCOLS = sorted(path.parent.name for path in V1.glob("*/frames.json"))
FRAMES = {protocol: json.loads((V1 / protocol / "frames.json").read_text("utf-8")) for protocol in PROTOCOLS}
FACTS = {protocol: json.loads((V1 / protocol / "facts.json").read_text("utf-8")) for protocol in PROTOCOLS}
CASES = [
    pytest.param(p, entry, id=f"{p}-{i}-kind-{entry['kind']}") for p in PROTOCOLS for i, entry in enumerate(FRAMES[p])
]


def plain(value):
    """Return what a decoder made as the file has it."""
    if isinstance(value, msgspec.Struct):
        return [plain(getattr(value, name)) for name in value.__struct_fields__]
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def test_nobody_has_edited_them() -> None:
    lines = (V1 / "MANIFEST.sha256").read_text("utf-8").splitlines()
    manifest = {name: value for value, name in (line.split("  ") for line in lines)}
    assert len(manifest) == len(lines)
    there = {p.relative_to(V1).as_posix(): p for p in V1.rglob("*") if p.is_file()}
    assert set(manifest) == set(there) - {"README.md", "MANIFEST.sha256"}
    for name, value in manifest.items():
        assert hashlib.sha256(there[name].read_bytes()).hexdigest() == value, f"{name} is frozen: see CONTRIBUTING.md"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_kind_is_there(protocol: str) -> None:
    assert {entry["kind"] for entry in FRAMES[protocol]} == set(KINDS[protocol])
    assert set(KINDS[protocol]) - {0, ANSWER} == set(DECODERS[protocol])


@pytest.mark.parametrize("protocol, entry", CASES)
def test_the_engine_reads_and_writes_a_frame(protocol: str, entry: dict) -> None:
    data = bytes.fromhex(entry["frame"])
    if entry["kind"] == ANSWER:
        answer = decode_body(data, pairwise.answer_decoder, "")
        assert plain(answer) == entry["body"]
        assert encode_body(answer) == data
        return
    kind, outer = decode_frame(data, max_bytes=len(data))
    assert kind == entry["kind"]
    assert plain(outer) == entry["fields"]
    if isinstance(outer, Chunk):
        assert encode_chunk(outer) == data
        return
    assert isinstance(outer, Envelope)
    payload = open_envelope(kind, outer, bytes.fromhex(entry["signer"]))
    body = decode_body(payload, DECODERS[protocol][kind], outer.sender)
    assert plain(body) == entry["body"]
    assert seal_envelope(kind, outer.session, outer.sender, body, lambda _: outer.signature) == data
    with pytest.raises(errors.AuthenticationError):
        open_envelope(kind ^ 1, outer, bytes.fromhex(entry["signer"]))


@pytest.mark.parametrize("protocol, entry", CASES)
def test_the_reference_reads_and_writes_a_frame(protocol: str, entry: dict) -> None:
    data = bytes.fromhex(entry["frame"])
    if entry["kind"] == ANSWER:
        body = reference.read(data, reference.ANSWER)
        assert plain(body) == entry["body"]
        assert msgpack.pack(body) == data
        return
    kind, fields = reference.outer(data)
    assert (kind, plain(fields)) == (entry["kind"], entry["fields"])
    assert reference.frame(kind, fields) == data
    if kind != reference.CHUNK:
        body = reference.opened(kind, fields, bytes.fromhex(entry["signer"]))
        assert plain(body) == entry["body"]
        assert msgpack.pack(body) == fields[3]


def test_key_files(tmp_path: Path) -> None:
    secret, public = tmp_path / "ana.key", tmp_path / "ana.pub"
    shutil.copyfile(V1 / "keys" / "ana.key", secret)
    secret.chmod(0o600)  # which a checkout does not keep
    key, known = Identity.load(secret), PublicKey.load(V1 / "keys" / "ana.pub")
    assert key.verify_key == known.key == identity("ana").verify_key == reference.verify_key(identity("ana").to_bytes())
    assert known.name == "ana"
    key.save(tmp_path / "again.key")
    known.save(public)
    assert (tmp_path / "again.key").read_bytes() == (V1 / "keys" / "ana.key").read_bytes()
    assert public.read_bytes() == (V1 / "keys" / "ana.pub").read_bytes()


@pytest.mark.parametrize("protocol", PROTOCOLS)
class TestFiles:
    """Of one round."""

    @pytest.fixture
    def roster(self, protocol: str) -> Roster:
        return Roster.load(V1 / protocol / "roster")

    @pytest.fixture
    def params(self, protocol: str) -> Params:
        return Params.from_bytes((V1 / protocol / "params").read_bytes())

    def test_roster(self, protocol: str, roster: Roster, tmp_path: Path) -> None:
        assert sorted(roster) == sorted(IDS)
        assert all(roster.key(name) == identity(name).verify_key for name in IDS)
        assert roster.server == identity("server").verify_key
        assert roster.holder == (identity(HOLDER).verify_key if protocol == "ckks" else None)
        assert roster.hash().hex() == FACTS[protocol]["roster_hash"]
        second = ReferenceRoster(roster.server, {name: roster.key(name) for name in IDS}, roster.holder)
        assert second.hash == roster.hash()
        roster.save(tmp_path / "again")
        assert (tmp_path / "again").read_bytes() == (V1 / protocol / "roster").read_bytes()

    def test_params(self, protocol: str, params: Params) -> None:
        data = (V1 / protocol / "params").read_bytes()
        assert params.to_bytes() == data
        assert params.protocol == protocol
        assert params.hash.hex() == FACTS[protocol]["params_hash"] == digest("params", data).hex()

    def test_receipt(self, protocol: str, roster: Roster, params: Params) -> None:
        text = (V1 / protocol / "receipt").read_bytes()
        receipt = Receipt.from_json(text)
        receipt.verify(roster, params, threshold=1 if protocol == "ckks" else params.threshold)
        assert receipt.session.hex() == FACTS[protocol]["session"]
        assert list(receipt.survivors) == FACTS[protocol]["survivors"]
        assert receipt.account.hex() == FACTS[protocol]["account"]
        assert receipt.to_json().encode() == text

    def test_ledgers(self, protocol: str, tmp_path: Path) -> None:
        session = bytes.fromhex(FACTS[protocol]["session"])
        for name, rows in FACTS[protocol]["ledgers"].items():
            me = ({"ana": "ana"} | BESIDE[protocol])[Path(name).stem]
            ledger = Ledger(self._copy(protocol, name, tmp_path), me=me, identity=identity(me))
            assert ledger.records == len(rows) > 0
            for round_id, phase, *stands in rows:
                record = ledger.recall(session, round_id, phase)
                assert record is not None
                assert plain(tuple(record)) == stands
            ledger.close()

    def test_snapshots(self, protocol: str, roster: Roster, tmp_path: Path) -> None:
        """Opened, restored and sealed again: another nonce, the same plaintext."""
        session = bytes.fromhex(FACTS[protocol]["session"])
        for stem, me in ({"ana": "ana"} | BESIDE[protocol]).items():
            kind = QUIET.get(stem, Client)
            blob, keys = (V1 / protocol / f"{stem}.snapshot").read_bytes(), {"identity": identity(me), "roster": roster}
            ledger = self._copy(protocol, f"{stem}.ledger", tmp_path)
            party = kind.restore(blob, **keys, ledger=ledger, session=session)
            again = party.snapshot()
            assert again != blob
            assert open_snapshot(again, **keys) == open_snapshot(blob, **keys)
            with pytest.raises(errors.InputError):
                open_snapshot(blob[:-1] + bytes([blob[-1] ^ 1]), **keys)

    def _copy(self, protocol: str, name: str, folder: Path) -> Path:
        made = folder / name
        shutil.copyfile(V1 / protocol / name, made)
        made.chmod(0o600)
        return made
