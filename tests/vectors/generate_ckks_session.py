"""Make ckks_session.json from the reference implementation alone; docs/spec/ckks.md, section 11, says how to read it.

Run from the root of the repository: `PYTHONPATH=tests python -m vectors.generate_ckks_session`
"""

import json
from hashlib import sha256
from pathlib import Path

from reference import ckks_ring, frames, msgpack, ring
from reference.ckks_client import Client
from reference.ckks_holder import Holder
from reference.ckks_server import Server
from reference.ckks_settings import CkksSettings
from reference.entropy import Entropy
from reference.frames import HOLDER
from reference.settings import Roster
from vectors import ckks_crooked, ckks_refusals
from vectors.generate_pairwise_session import identity
from vectors.script import Script

PATH = Path(__file__).with_name("ckks_session.json")
IDS = ["ana", "bo", "cy", "éva"]
KINDS = [("malicious", "server"), ("malicious", "holder"), ("semi-honest", "server"), ("semi-honest", "holder")]
LARGE = 1024  # bytes: longer frames are given whole in the first round alone, and of the clients the first one's alone
SAMPLED = 6  # coefficients of each polynomial that `samples` shows


def canonical(threat, reveal):
    """Return Params of n = 4, m = 3, c = 1, R = 2, in the smallest ring there is: degree 1024, 26 bits."""
    return [
        4, 14, ["layout", ["dict", [["w", ["leaf", "float32", [2, 5]]], ["counts", ["leaf", "int64", [4]]]]]],
        ["fixed-point", 1.0, 16, "stochastic", "clip"],
        [["counts", ["integer", -3, 400]], ["metrics", ["fixed-point", 4.0, 20, "nearest", "clip"]]],
        ["loss"], "ckks", threat, 1, 3, 2, 1, 4, 3, 0, 30, 2, 20_000, reveal,
        [1024, 26, 8186, [[1, 7], [2, 11], [2, 7], [3, 9]]],
    ]  # fmt: skip


class Session(Script):
    """The reference's parties, and the account of what they do; `cases` goes on from one session to the next."""

    def __init__(self, cases, threat, reveal):
        super().__init__(cases)
        self.whole = not cases
        self.name = f"{threat}, {reveal}"
        keys = {name: frames.verify_key(identity(name)) for name in IDS}
        server, holder = frames.verify_key(identity("server")), frames.verify_key(identity(HOLDER))
        made = msgpack.pack(canonical(threat, reveal))
        self.settings, self.roster = CkksSettings(made), Roster(server, keys, holder)
        if not cases:
            for name in ["server", HOLDER, *IDS]:
                key = frames.verify_key(identity(name))
                self.note("identity", {"name": name, "private": identity(name)}, {"verify_key": key})
            given = {"server": server, "holder": holder, "clients": keys}
            self.note("roster", given, {"hash": self.roster.hash})
            self._note_samples()
        self._note_params(made)
        self.server = Server(self.settings, self.roster, identity("server"), self._entropy("server"))
        self.holder = Holder(self.settings, self.roster, identity(HOLDER), self._entropy(HOLDER))
        self.clients = {
            name: Client(self.settings, self.roster, name, identity(name), self._entropy(name)) for name in IDS
        }
        self.note("session", {"name": self.name}, {"session": self.server.session})

    def _entropy(self, name):
        return Entropy(f"{self.name}: {name}")

    def in_full(self, frame, sender):
        return len(frame) <= LARGE or (self.whole and self.round_id == 1 and sender not in IDS[1:])

    def _note_params(self, made):
        settings = self.settings
        self.note("params", {"canonical": made}, {
            "hash": settings.hash, "max_frame_bytes": settings.limit, "q": settings.q, "delta": settings.delta,
            "largest_distance": settings.worst, "segments": [[part.name, part.w, part.count] for part in settings.segments],
            "cuts": [[each.limbs, each.bits, each.first, each.step] for each in settings.cuts],
            "largest_coefficients": settings.tops, "totals": settings.totals,
        })  # fmt: skip

    def _note_samples(self):
        key = sha256(b"samples").digest()[:16]
        for stream, j in ((0, 0), (2, 3)):
            made = {}
            for B in (26, 50, 51):
                made[f"uniform {B}"] = ring.uniform(key, stream, j, 1024, ckks_ring.modulus(B))[:SAMPLED]
            q = ckks_ring.modulus(26)
            made["ternary 26"] = ring.ternary(key, stream, j, 1024, q)[:SAMPLED]
            made["binomial 26"] = ring.binomial(key, stream, j, 1024, q)[:SAMPLED]
            self.note("samples", {"key": key, "stream": stream, "polynomial": j, "degree": 1024}, made)

    # -- the script's verbs ---------------------------------------------------------------------------------------

    def open_round(self, round_id, participants=None):
        self.round_id = round_id
        self.server.open_round(round_id, participants)
        made = {"phase": self.server.phase, "frames": self._server_frames([*IDS, HOLDER])}
        self.note("open_round", {"round_id": round_id, "participants": participants}, made)

    def close_phase(self, error=None, why=None):
        if error is not None:
            self._refuses("close_phase", self.server.close_phase, {}, error, why)
            return
        phase = self.server.phase
        self.server.close_phase()
        self.note("close_phase", {}, {"phase": self.server.phase, "frames": self._server_frames([*IDS, HOLDER])})
        {"keys": self._note_key, "encrypted": self._note_account, "decrypt": self._note_result}[phase]()

    def _party(self, name):
        return self.holder if name == HOLDER else self.clients[name]

    def receive(self, name, frame):
        """Hand a client or the holder a frame; return those that it sends."""
        party = self._party(name)
        party.receive(frame)
        given = {"party": name, **self._given(frame)}
        made = {"frames": self._sent(name, party)}
        if name != HOLDER:
            made["awaiting"] = party.awaiting
        self.note("receive", given, made)
        return [self.frames[entry["frame"]] for entry in made["frames"]]

    def refuses(self, name, frame, error, why):
        """Hand a client or the holder a frame that it refuses."""
        given = {"party": name, **self._given(frame)}
        self._refuses("receive", lambda: self._party(name).receive(frame), given, error, why)

    def submit(self, name, context):
        client, source = self.clients[name], Entropy(f"update {name} {self.round_id}")
        # Multiples of 2^-10, exact in float32; some are beyond the clip of 1.
        reals = [(int.from_bytes(source(2), "big") % 2301 - 1150) / 1024 for _ in range(10)]
        counts = [int.from_bytes(source(2), "big") % 404 - 3 for _ in range(4)]
        weight, loss = source(1)[0] % 30 + 1, source(1)[0] / 32
        given = {"w": reals, "counts": counts, "loss": loss, "weight": weight}
        client.submit([*reals, *counts], weight, [loss], context)
        made = {"frames": self._sent(name, client)}
        self.note("submit", {"client": name, **given, "context": context}, made)
        key = client.rounding_key(self.round_id)
        self.vectors = self.settings.encode([*reals, *counts], weight, [loss], key)
        encoded = {"rounding_key": key, "vectors": self.vectors}
        self.note("encode", {"client": name, "round_id": self.round_id, **given}, encoded)
        pad, channel = client.pad()
        encrypted = {"seed": client.round.seed, "pad": pad, "channel_key": channel}
        encrypted["coefficients"] = [
            each.split(vector) for each, vector in zip(self.settings.cuts, self.vectors, strict=True)
        ]
        self.note("encrypt", {"client": name, "round_id": self.round_id}, encrypted)
        return [self.frames[entry["frame"]] for entry in made["frames"]]

    # -- values between the frames --------------------------------------------------------------------------------

    def _note_key(self):
        own = self.holder.own
        made = {
            "seed": own.seed, "channel_private": own.private, "channel_key": own.key.channel,
            "secret": [-1 if c > 1 else c for c in own.secret], "key_hash": own.key.hash,
        }  # fmt: skip
        self.note("key", {"first_round": own.key.first_round}, made)

    def _note_account(self):
        current = self.server.round
        made = {"survivors": current.survivors, "account": current.account, "mark": current.mark}
        self.note("account", {"round_id": self.round_id}, made)

    def note_opened(self):
        current = self.holder.round
        made = {"sums": self.holder.result(self.round_id), "salt": self.holder.salt(current), "pads": []}
        if self.settings.padded:
            for name, header in current.headers.items():
                shared = frames.agree(self.holder.own.private, header[5])
                made["pads"].append(self.holder.own.key.pad(shared, self.holder.session, self.round_id, name))
        self.note("opened", {"round_id": self.round_id}, made)

    def _note_result(self):
        result = self.server.result(self.round_id)
        made = {
            "sums": result.sums, "result_hash": result.result_hash, "statement": result.statement,
            "ciphertext": sha256(result.ciphertext).digest(), "survivors": result.survivors, "receipt": result.receipt,
        }  # fmt: skip
        self.note("result", {"round_id": self.round_id}, made)

    # -- a round --------------------------------------------------------------------------------------------------

    def exchange(self, silent=(), contexts=None, replace=None):
        """Run the open phase; `replace` maps a client to a function that makes other frames of its own."""
        phase, requests, arrived = self.server.phase, self.inbox, []
        for frame in requests[HOLDER]:
            ckks_refusals.before_holder(self, frame)
            arrived += [(HOLDER, made) for made in self.receive(HOLDER, frame)]
        if requests[HOLDER]:
            if phase == "decrypt":
                self.note_opened()
            ckks_refusals.after_holder(self, requests[HOLDER])
        for name in [each for each in IDS if each not in silent]:
            for frame in requests[name]:
                ckks_refusals.before_request(self, name, frame)
                self.receive(name, frame)
            if self.clients[name].awaiting is None:
                continue
            sent = self.submit(name, (contexts or {}).get(name, b"the model"))
            if replace and name in replace:
                sent = replace[name](self)
            ckks_refusals.after_request(self, name, requests[name][0])
            arrived += [(name, frame) for frame in sent]
        for name, frame in arrived:
            ckks_refusals.before_frame(self, name, frame)
            if ckks_crooked.is_refused(self, name, frame):
                continue
            self.server_receive(name, frame)
        ckks_refusals.after_frames(self, arrived)
        self.close_phase()

    def play(self, round_id, participants=None, **phases):
        self.open_round(round_id, participants)
        while self.server.phase != "idle":
            self.exchange(**phases.get(self.server.phase, {}))


def build():
    """Return the file's text."""
    cases = []
    # The server gets the sum, under pads: a minority model in round 1, a malformed upload in round 2; then a second key, a client
    # that is not sampled, and a server that asks for a sum of something else.
    session = Session(cases, *KINDS[0])
    session.play(1, encrypted={"contexts": {"bo": b"another model"}})
    session.play(2, encrypted={"replace": {"cy": ckks_crooked.malformed_upload}})
    session.play(4, ["ana", "bo", "éva"])
    ckks_crooked.crooked_sum(session, 5)
    # The holder gets the uploads, and adds them.
    session = Session(cases, *KINDS[1])
    session.play(1, encrypted={"contexts": {"bo": b"another model"}})
    # Nothing is padded; in round 2 a client garbles its check lane, and nothing comes out.
    session = Session(cases, *KINDS[2])
    session.play(1, encrypted={"silent": ["éva"]})
    ckks_crooked.garbled_lane(session, 2)
    session = Session(cases, *KINDS[3])
    session.play(1)
    head = {
        "schema": "secagg-vectors/1",
        "source": "tests/vectors/generate_ckks_session.py, which runs tests/reference",
        "licence": "Apache-2.0",
        "verified_by": [
            "tests/reference makes every frame",
            "secagg replays them in tests/conformance/test_ckks_vectors.py",
        ],
        "params": {
            "protocol": "docs/spec/ckks.md, version 1; section 11 explains the operations",
            "encoding": "hexadecimal strings for bytes; numbers for integers and reals; ranks as numbers",
            "entropy": "draw i (from 1) of a party is the first bytes of SHAKE-256 of `threat, reveal: name i`",
        },
    }  # fmt: skip
    lines = [json.dumps(case, ensure_ascii=False) for case in cases]
    opening = json.dumps(head, indent=2, ensure_ascii=False)[:-2]
    return opening + ',\n  "cases": [\n    ' + ",\n    ".join(lines) + "\n  ]\n}\n"


if __name__ == "__main__":
    PATH.write_text(build(), encoding="utf-8")
