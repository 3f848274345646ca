"""Freeze a protocol's bytes as golden; done once a protocol and version, and never over what is there.

Run from the root of the repository, with the package installed: `PYTHONPATH=tests python -m golden.freeze PROTOCOL`

Frames come from the session files of tests/vectors, which the reference made; files (roster, Params, receipt, ledgers, snapshots)
from a round of the engine under the same throwaway identities. A new protocol adds its kinds to KINDS and its names to PROTOCOLS.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from reference import frames as reference
from secagg import Client, Identity, KeyHolder, Member, Params, Roster, Server
from secagg.identity import PublicKey
from secagg.wire import HOLDER

HERE = Path(__file__).parent
V1 = HERE / "wire" / "v1"
VECTORS = HERE.parent / "vectors"
SAMPLES = 3  # frames of a kind
LONGEST = 30_000  # bytes of a frame

# Kinds of frame, by protocol; 0 is a chunk.
ANSWER = 256  # no frame: what an unmask frame of pairwise seals
KINDS = {"pairwise": [*range(9), ANSWER], "ckks": [0, *range(16, 22)], "oneshot": [0, *range(32, 38)]}
IDS = ["ana", "bo", "cy", "éva"]
# Whose files are kept beside ana's, by protocol: the file's name, and who it is.
BESIDE = {"pairwise": {}, "ckks": {"holder": HOLDER}, "oneshot": {"member": "éva"}}


def identity(name: str) -> Identity:
    """Return the throwaway identity of the vectors: public, never to be used."""
    return Identity.from_bytes(hashlib.sha256(b"identity " + name.encode()).digest())


def text(value: Any) -> Any:
    """Return a value as JSON has it: bytes in hexadecimal."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | tuple):
        return [text(item) for item in value]
    return value


def _signer(sender: str) -> bytes:
    return identity(sender or "server").verify_key


def _frames(protocol: str) -> list[dict[str, Any]]:
    cases = json.loads((VECTORS / f"{protocol}_session.json").read_text("utf-8"))["cases"]
    found, out = Counter[int](), []
    for case in cases:
        if not case["success"] or not isinstance(case["output"], dict):
            continue
        for entry in case["output"].get("frames", []):
            frame = bytes.fromhex(entry.get("bytes", ""))
            if not frame or len(frame) > LONGEST or found[frame[3]] == SAMPLES:
                continue
            kind, fields = reference.outer(frame)
            found[kind] += 1
            made = {"kind": kind, "frame": frame.hex(), "fields": text(fields)}
            if kind != reference.CHUNK:
                signer = _signer(fields[1])
                made |= {"signer": signer.hex(), "body": text(reference.opened(kind, fields, signer))}
            out.append(made)
        if case["op"] == "answer" and ANSWER in KINDS[protocol] and found[ANSWER] < SAMPLES:
            found[ANSWER] += 1
            plain = case["output"]["plaintext"]
            out.append(
                {"kind": ANSWER, "frame": plain, "body": text(reference.read(bytes.fromhex(plain), reference.ANSWER))}
            )
    if set(found) != set(KINDS[protocol]):
        raise SystemExit(f"{protocol}: no frame of kinds {set(KINDS[protocol]) - set(found)}")
    return sorted(out, key=lambda made: made["kind"])


def _params(protocol: str) -> Params:
    cases = json.loads((VECTORS / f"{protocol}_session.json").read_text("utf-8"))["cases"]
    first = next(case for case in cases if case["op"] == "params")
    return Params.from_bytes(bytes.fromhex(first["input"]["canonical"]))


def _round(protocol: str, folder: Path) -> dict[str, Any]:
    """Play one round in which nobody is lost, and leave the files of it."""
    params = _params(protocol)
    keys = {name: identity(name) for name in IDS}
    holder_key = identity(HOLDER) if protocol == "ckks" else None
    verify_keys = {name: key.verify_key for name, key in keys.items()}
    roster = Roster(verify_keys, identity("server").verify_key, holder_key and holder_key.verify_key)
    server = Server(params, identity=identity("server"), roster=roster)
    quiet = {"éva"} if protocol == "oneshot" else set()
    parties: dict[str, Client | KeyHolder | Member] = {
        name: (Member if name in quiet else Client)(
            params,
            me=name,
            identity=key,
            roster=roster,
            ledger=folder / f"{'member' if name in quiet else name}.ledger",
        )
        for name, key in keys.items()
    }
    if holder_key is not None:
        parties[HOLDER] = KeyHolder(params, identity=holder_key, roster=roster, ledger=folder / "holder.ledger")
    server.open_round(1, [name for name in IDS if name not in quiet])
    while server.phase != "idle":
        for to, frame in server.outbox():
            for name in parties if to is None else [to]:
                if to is not None or name != HOLDER:
                    parties[name].receive(frame)
        for rank, (name, party) in enumerate(parties.items()):
            if isinstance(party, Client) and party.awaiting:
                update = {"w": np.full((2, 5), 0.25 * rank, np.float32), "counts": np.arange(4)}
                told = {"weight": rank + 1, "metrics": {"loss": 0.5}, "context": b"the model"}
                if protocol == "oneshot" and name == "ana":  # so that its ledger has an intent too
                    for frame in party.stream(update, **told):
                        server.receive(frame, sender=name)
                else:
                    party.submit(update, **told)
            for frame in party.outbox():
                server.receive(frame, sender=name)
        server.close_phase()
    for to, frame in server.outbox():
        for name in parties if to is None else [to]:
            parties[name].receive(frame)
    rows = {}
    for path in sorted(folder.glob("*.ledger")):
        with contextlib.closing(sqlite3.connect(path)) as db:
            rows[path.name] = text(
                db.execute("SELECT round, phase, mark, digest, frame FROM frames ORDER BY 1, 2").fetchall()
            )
    for name in set(rows) - {f"{stem}.ledger" for stem in ("ana", *BESIDE[protocol])}:
        (folder / name).unlink()
        del rows[name]
    made = {"session": server.session.hex(), "roster_hash": roster.hash().hex(), "params_hash": params.hash.hex()}
    made["ledgers"] = rows
    roster.save(folder / "roster")
    (folder / "params").write_bytes(params.to_bytes())
    receipt = server.result(1).receipt
    receipt.save(folder / "receipt")
    (folder / "ana.snapshot").write_bytes(parties["ana"].snapshot())
    for stem, name in BESIDE[protocol].items():
        (folder / f"{stem}.snapshot").write_bytes(parties[name].snapshot())
    return made | {"account": receipt.account.hex(), "survivors": list(receipt.survivors)}


def freeze(protocol: str) -> None:
    """Write the frames and files of one protocol, and enter them in the manifest."""
    target = V1 / protocol
    if target.exists():
        raise SystemExit(f"{target} is there, and stays as it is")
    target.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        facts = _round(protocol, Path(folder))
        facts["files"] = sorted(path.name for path in Path(folder).iterdir())
        for name in facts["files"]:
            (target / name).write_bytes((Path(folder) / name).read_bytes())
    lines = ",\n".join(json.dumps(frame, ensure_ascii=False) for frame in _frames(protocol))
    (target / "frames.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    (target / "facts.json").write_text(json.dumps(facts, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    _enter(target)


def freeze_keys() -> None:
    """Write the files that no protocol owns."""
    target = V1 / "keys"
    if target.exists():
        raise SystemExit(f"{target} is there, and stays as it is")
    target.mkdir(parents=True)
    identity("ana").save(target / "ana.key")
    PublicKey("ana", identity("ana").verify_key).save(target / "ana.pub")
    _enter(target)


def _enter(target: Path) -> None:
    with (V1 / "MANIFEST.sha256").open("a", encoding="utf-8") as manifest:
        for path in sorted(target.iterdir()):
            manifest.write(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(V1).as_posix()}\n")


if __name__ == "__main__":
    freeze_keys() if sys.argv[1:] == ["keys"] else freeze(sys.argv[1])
