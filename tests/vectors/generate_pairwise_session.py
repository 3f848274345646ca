"""Make pairwise_session.json from the reference implementation alone; docs/spec/pairwise.md, section 13, says how to read it.

Run from the root of the repository: `PYTHONPATH=tests python -m vectors.generate_pairwise_session`
"""

import hashlib
import json
from pathlib import Path

from reference import dealing, errors, frames, msgpack
from reference.entropy import Entropy
from reference.party import Client, apply
from reference.server import Server
from reference.settings import Roster, Settings
from vectors import pairwise_refusals

PATH = Path(__file__).with_name("pairwise_session.json")
IDS = ["ana", "bo", "cy", "éva"]
# n = 4, t = m = 3, c = 1, R = 2, frames of at most 64 bytes: two chunks of the model.
CANONICAL = [
    4, 14, ["layout", ["dict", [["w", ["leaf", "float32", [2, 5]]], ["counts", ["leaf", "int64", [4]]]]]],
    ["fixed-point", 1.0, 32, "stochastic", "clip"],
    [["counts", ["integer", -3, 400]], ["metrics", ["fixed-point", 4.0, 20, "nearest", "clip"]]],
    ["loss"], "pairwise", "malicious", 3, 3, 2, 1, 4, 3, 3, 30, 2, 64,
]  # fmt: skip


def text(value):
    """Return a value as JSON has it: bytes in hexadecimal, keys as strings."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(key): text(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [text(item) for item in value]
    return value


def identity(name):
    return hashlib.sha256(b"identity " + name.encode()).digest()


class Session:
    """The reference's parties, and the account of what they do."""

    def __init__(self):
        self.cases, self.frames = [], {}
        keys = {name: frames.verify_key(identity(name)) for name in IDS}
        canonical = msgpack.pack(CANONICAL)
        self.settings, self.roster = Settings(canonical), Roster(frames.verify_key(identity("server")), keys)
        for name in ["server", *IDS]:
            key = frames.verify_key(identity(name))
            self.note("identity", {"name": name, "private": identity(name)}, {"verify_key": key})
        self.note("roster", {"server": self.roster.server, "clients": keys}, {"hash": self.roster.hash})
        parts = [[part.name, part.w, part.count] for part in self.settings.segments]
        made = {"hash": self.settings.hash, "segments": parts, "max_frame_bytes": self.settings.limit}
        self.note("params", {"canonical": canonical}, made)
        self.server = Server(self.settings, self.roster, identity("server"), Entropy("server"))
        self.clients = {name: Client(self.settings, self.roster, name, identity(name), Entropy(name)) for name in IDS}
        self.note("session", {}, {"session": self.server.session})

    def note(self, op, given, made, error=None, why=None):
        case = {"op": op, "input": text(given), "output": text(made), "success": error is None, "error": error}
        self.cases.append(case if why is None else case | {"note": why})

    # -- frames ---------------------------------------------------------------------------------------------------

    def _named(self, sender, made, to=None):
        """Give frames their names, and note each one's bytes once."""
        out = []
        for frame, recipients in made:
            name = next((known for known, data in self.frames.items() if data == frame), None)
            entry = {"frame": name or f"{len(self.frames)} {sender}"}
            if recipients is not None:
                entry["to"] = recipients
            if name is None:
                self.frames[entry["frame"]] = entry["bytes"] = frame
            out.append(entry)
        return out

    def _given(self, frame):
        name = next((known for known, data in self.frames.items() if data == frame), None)
        return {"bytes": frame} if name is None else {"frame": name}

    def _server_frames(self):
        made = {}
        for to, frame in self.server.outbox():
            made.setdefault(frame, []).extend(IDS if to is None else [to])
        self.inbox = {name: [frame for frame, to in made.items() if name in to] for name in IDS}
        return self._named("server", list(made.items()))

    # -- the script's verbs ---------------------------------------------------------------------------------------

    def open_round(self, round_id, participants=None):
        self.round_id = round_id
        self.server.open_round(round_id, participants)
        made = {"phase": self.server.phase, "frames": self._server_frames()}
        self.note("open_round", {"round_id": round_id, "participants": participants}, made)

    def client_receive(self, name, frame):
        client = self.clients[name]
        client.receive(frame)
        sent = client.outbox()
        made = {"awaiting": client.awaiting, "frames": self._named(name, [(each, None) for each in sent])}
        self.note("client_receive", {"client": name, **self._given(frame)}, made)
        return sent

    def _refuses(self, op, receive, given, error, why):
        refused = None
        try:
            receive()
        except (errors.PeerError, errors.AbortError) as raised:
            refused = type(raised).__name__
        if refused != error:
            raise AssertionError(f"{why}: {refused}, not {error}")
        self.note(op, given, None, error, why)

    def client_refuses(self, name, frame, error, why):
        given = {"client": name, **self._given(frame)}
        self._refuses("client_receive", lambda: self.clients[name].receive(frame), given, error, why)

    def server_receive(self, name, frame):
        self.server.receive(frame, sender=name)
        self.note("server_receive", {"sender": name, **self._given(frame)}, None)

    def server_refuses(self, name, frame, error, why):
        given = {"sender": name, **self._given(frame)}
        self._refuses("server_receive", lambda: self.server.receive(frame, sender=name), given, error, why)

    def submit(self, name, context):
        client, source = self.clients[name], Entropy(f"update {name} {self.round_id}")
        # Multiples of 2^-10, exact in float32; some are beyond the clip of 1.
        reals = [(int.from_bytes(source(2), "big") % 2301 - 1150) / 1024 for _ in range(10)]
        counts = [int.from_bytes(source(2), "big") % 404 - 3 for _ in range(4)]
        weight, loss = source(1)[0] % 30 + 1, source(1)[0] / 32
        key = client.rounding_key(self.round_id)
        vectors = self.settings.encode([*reals, *counts], weight, [loss], key)
        given = {"w": reals, "counts": counts, "loss": loss, "weight": weight}
        made = {"rounding_key": key, "vectors": vectors}
        self.note("encode", {"client": name, "round_id": self.round_id, **given}, made)
        masks = client.masks(self.round_id, client.round.participants)
        masked = [self._masked(vector, masks, number) for number, vector in enumerate(vectors)]
        made = {"masks": masks, "upload_key": client.server_key("upload", self.round_id), "vectors": masked}
        self.note("mask", {"client": name, "round_id": self.round_id}, made)
        client.submit([*reals, *counts], weight, [loss], context)
        sent = client.outbox()
        made = {"frames": self._named(name, [(each, None) for each in sent])}
        self.note("submit", {"client": name, **given, "context": context}, made)
        return sent

    def _masked(self, vector, masks, number):
        return apply(vector, masks, number, self.settings.segments[number].w)

    def close_phase(self):
        phase = self.server.phase
        self.server.close_phase()
        made = {"phase": self.server.phase, "frames": self._server_frames()}
        self.note("close_phase", {}, made)
        note = {"keys": self._note_keys, "masked": self._note_masked, "unmask": self._note_unmask}.get(phase)
        if note is not None:
            note()

    # -- values between the frames --------------------------------------------------------------------------------

    def _note_keys(self):
        setup = self.server.batch.setup
        made = {"setup_hash": setup.hash, "ids": setup.ids, "share_graph": setup.graph}
        self.note("setup", {"first_round": setup.first_round}, made)

    def note_dealing(self, name):
        batch = self.clients[name].batch
        made = {
            "channel_key": batch.channel, "mask_keys": batch.keys, "seeds": batch.seeds,
            "rounding_secret": batch.rounding, "sharing_secret": batch.sharing, "plaintexts": batch.plain,
            "roots": {rank: dealing.root(plain) for rank, plain in batch.plain.items()},
        }  # fmt: skip
        self.note("dealing", {"client": name}, made)

    def note_view(self):
        setup, current = self.server.batch.setup, self.server.round
        edges = setup.edges(current.round_id, current.participants)
        made = {
            "members": self.server.batch.members, "members_hash": setup.members_hash(self.server.batch.members),
            "participants": current.participants,
            "participants_hash": setup.participants_hash(current.round_id, current.participants),
            "mask_graph": {rank: sorted(row) for rank, row in edges.items()},
        }  # fmt: skip
        self.note("view", {"round_id": current.round_id}, made)

    def _note_masked(self):
        current = self.server.round
        made = {"survivors": current.survivors, "account": current.account}
        self.note("account", {"round_id": self.round_id}, made)

    def note_answer(self, name, frame):
        client, (_, account, _, sealed, _) = self.clients[name], frames.body(frame)
        key = client.server_key("answer", self.round_id)
        plain = frames.unseal(key, sealed, account)
        self.note("answer", {"client": name, **self._given(frame)}, {"key": key, "plaintext": plain})

    def _note_unmask(self):
        result = self.server.result(self.round_id)
        made = {
            "sums": result.sums, "result_hash": result.result_hash, "statement": result.statement,
            "survivors": result.survivors, "receipt": result.receipt,
        }  # fmt: skip
        self.note("result", {"round_id": self.round_id}, made)

    # -- a round --------------------------------------------------------------------------------------------------

    def exchange(self, silent=(), contexts=None, replace=None):
        """Run the open phase; `replace` maps a sender to what arrives in place of its last frame."""
        phase, requests, arrived = self.server.phase, self.inbox, []
        for name in [each for each in IDS if each not in silent]:
            sent = []
            for frame in requests[name]:
                pairwise_refusals.before_request(self, name, frame)
                sent += self.client_receive(name, frame)
            if self.clients[name].awaiting is not None:
                sent += self.submit(name, (contexts or {}).get(name, b"the model"))
            if phase == "shares" and sent:
                self.note_dealing(name)
            if phase == "unmask" and sent:
                self.note_answer(name, sent[-1])
            if replace and name in replace:
                sent = [*sent[:-1], replace[name](sent[-1])]
            pairwise_refusals.after_request(self, name, requests[name])
            arrived += [(name, frame) for frame in sent]
        for name, frame in arrived:
            pairwise_refusals.before_frame(self, name, frame)
            self.server_receive(name, frame)
        pairwise_refusals.after_frames(self, arrived)
        self.close_phase()


def spoiled(frame):
    """Return a dealing with one byte of its first box changed, signed again."""
    _, (session, sender, _, _) = frames.outer(frame)
    body = frames.body(frame)
    body[4] = bytes([body[4][0] ^ 1]) + body[4][1:]
    return frames.envelope(frames.DEALING, session, sender, body, identity(sender))


def build():
    """Return the file's text."""
    session = Session()

    def play(round_id, participants=None, **phases):
        session.open_round(round_id, participants)
        while session.server.phase != "idle":
            if session.server.phase == "masked":
                session.note_view()
            session.exchange(**phases.get(session.server.phase, {}))

    # The first setup: a minority model in round 1, whose client is then wrongly shown the survivors; a dropout in round 2.
    play(1, masked={"contexts": {"bo": b"another model"}})
    play(2, masked={"silent": ["éva"]}, unmask={"silent": ["éva"]})
    # The second: ana gets a box of cy's that does not open, and complains; cy is not sampled; ana falls silent at the end.
    play(3, ["ana", "bo", "éva"], shares={"replace": {"cy": spoiled}})
    play(4, unmask={"silent": ["ana"]})
    # The third: bo does not deal.
    play(6, shares={"silent": ["bo"]}, masked={"silent": ["bo"]}, unmask={"silent": ["bo"]})
    head = {
        "schema": "secagg-vectors/1",
        "source": "tests/vectors/generate_pairwise_session.py, which runs tests/reference",
        "licence": "Apache-2.0",
        "verified_by": [
            "tests/reference makes every frame",
            "secagg replays them in tests/conformance/test_vectors.py",
        ],
        "params": {
            "protocol": "docs/spec/pairwise.md, version 1; section 13 explains the operations",
            "encoding": "hexadecimal strings for bytes; numbers for integers and reals; ranks as numbers",
            "entropy": "draw i (from 1) of a party is the first bytes of SHAKE-256 of its name, a space and i in decimal",
        },
    }
    lines = [json.dumps(case, ensure_ascii=False) for case in session.cases]
    opening = json.dumps(head, indent=2, ensure_ascii=False)[:-2]
    return opening + ',\n  "cases": [\n    ' + ",\n    ".join(lines) + "\n  ]\n}\n"


if __name__ == "__main__":
    PATH.write_text(build(), encoding="utf-8")
