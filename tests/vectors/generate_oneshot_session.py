"""Make oneshot_session.json from the reference implementation alone; docs/spec/oneshot.md, section 11, says how to read it.

Run from the root of the repository: `PYTHONPATH=tests python -m vectors.generate_oneshot_session`
"""

import json
from hashlib import sha256
from pathlib import Path

from reference import frames, msgpack
from reference.entropy import Entropy
from reference.oneshot_client import Client
from reference.oneshot_common import committee, public_seed, root
from reference.oneshot_server import Server
from reference.oneshot_settings import OneshotSettings
from reference.settings import Roster
from vectors import oneshot_crooked, oneshot_refusals
from vectors.generate_pairwise_session import identity
from vectors.script import Pieces, Script

PATH = Path(__file__).with_name("oneshot_session.json")
IDS = ["ana", "bo", "cy", "éva"]
LARGE = 600  # bytes: of longer frames, the first of each kind is given whole
FEW = 4  # numbers that are shown of a long list, beside the SHA-256 of all
# Name, threat, M, T, rho, and whether the session id comes from elsewhere than the server, as it must where M is less than n.
KINDS = {
    "malicious": ("malicious", 4, 3, 1),
    "semi-honest": ("semi-honest", 4, 2, 1),
    "drawn": ("semi-honest", 3, 3, 2),
}


def canonical(threat, members, threshold, packing):
    """Return Params of n = 4, m = 3, c = 1, R = 2: degree 4096, two primes of 35 bits."""
    return [
        4, 14, ["layout", ["dict", [["w", ["leaf", "float32", [2, 5]]], ["counts", ["leaf", "int64", [4]]]]]],
        ["fixed-point", 1.0, 16, "stochastic", "clip"],
        [["counts", ["integer", -3, 400]], ["metrics", ["fixed-point", 4.0, 20, "nearest", "clip"]]],
        ["loss"], "oneshot", threat, threshold, 3, 2, 1, 4, 3, 0, 30, 2, 36_000,
        [4096, 35, 2, [[62, 1, 102], [23, 2, 102], [16, 3, 102], [27, 2, 102]], 8], members, packing,
    ]  # fmt: skip


def numbers(values):
    """Return the first of many signed numbers, and the SHA-256 of all as little-endian words of 8 bytes."""
    data = b"".join(value.to_bytes(8, "little", signed=True) for value in values)
    return {"first": values[:FEW], "sha256": sha256(data).digest()}


class Session(Script):
    """The reference's parties, and the account of what they do; `cases` goes on from one session to the next."""

    def __init__(self, cases, name):
        super().__init__(cases)
        self.name, self.round_id, self.pieces = name, 0, Pieces()
        self.whole = set() if not cases else {*range(64)}  # kinds of which a long frame was given whole
        keys = {each: frames.verify_key(identity(each)) for each in IDS}
        own, made = frames.verify_key(identity("server")), msgpack.pack(canonical(*KINDS[name]))
        self.settings, self.roster = OneshotSettings(made), Roster(own, keys)
        if not cases:
            for each in ["server", *IDS]:
                key = frames.verify_key(identity(each))
                self.note("identity", {"name": each, "private": identity(each)}, {"verify_key": key})
            self.note("roster", {"server": own, "clients": keys}, {"hash": self.roster.hash})
            oneshot_crooked.note_trees(self)
        self._note_params(made)
        session = sha256(b"session " + name.encode()).digest()[:16] if len(IDS) > self.settings.M else None
        self.server = Server(self.settings, self.roster, identity("server"), self._entropy("server"), session)
        self.clients = {
            each: Client(self.settings, self.roster, each, identity(each), self._entropy(each), session) for each in IDS
        }
        self.crew = committee(self.settings, self.roster, self.server.session)
        given = {"name": name, "session": session}
        self.note("session", given, {"session": self.server.session, "committee": self.crew})

    def _entropy(self, name):
        return Entropy(f"{self.name}: {name}")

    def in_full(self, frame, sender):
        if len(frame) <= LARGE:
            return True
        first = frame[3] not in self.whole
        self.whole.add(frame[3])
        return first

    def _named(self, sender, made, to=False):
        known, out = len(self.frames), super()._named(sender, made, to)
        for name in list(self.frames)[known:]:
            self.pieces.add(name, self.frames[name])
        return out

    def _given(self, frame):
        """Return a frame by its name, or by pieces of others and what is between."""
        name = self._known(frame)
        return {"frame": name} if name is not None else {"pieces": self.pieces.cut(frame)}

    def _note_params(self, made):
        settings = self.settings
        self.note("params", {"canonical": made}, {
            "hash": settings.hash, "max_frame_bytes": settings.limit, "primes": settings.parts[0].ring.primes,
            "segments": [[part.name, part.w, part.count] for part in settings.segments],
            "chunks": [[part.first, part.step, len(part.spans())] for part in settings.parts],
            "rows": settings.rows, "box": settings.box,
        })  # fmt: skip

    # -- the script's verbs ---------------------------------------------------------------------------------------

    def open_round(self, round_id, participants=None):
        self.round_id = round_id
        self.server.open_round(round_id, participants)
        made = {"phase": self.server.phase, "frames": self._server_frames(IDS)}
        self.note("open_round", {"round_id": round_id, "participants": participants}, made)

    def close_phase(self, error=None, why=None):
        if error is not None:
            self._refuses("close_phase", self.server.close_phase, {}, error, why)
            return
        phase = self.server.phase
        self.server.close_phase()
        self.note("close_phase", {}, {"phase": self.server.phase, "frames": self._server_frames(IDS)})
        {"keys": self._note_setup, "masked": self._note_account, "reveal": self._note_result}[phase]()

    def receive(self, name, frame):
        """Hand a client or member a frame; return those that it sends."""
        party = self.clients[name]
        party.receive(frame)
        made = {"frames": self._sent(name, party), "awaiting": party.awaiting}
        self.note("receive", {"party": name, **self._given(frame)}, made)
        return [self.frames[entry["frame"]] for entry in made["frames"]]

    def refuses(self, name, frame, error, why):
        """Hand a client or member a frame that it refuses."""
        given = {"party": name, **self._given(frame)}
        self._refuses("receive", lambda: self.clients[name].receive(frame), given, error, why)

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
        self._note_mask(name)
        return [self.frames[entry["frame"]] for entry in made["frames"]]

    # -- values between the frames --------------------------------------------------------------------------------

    def _note_setup(self):
        batch = self.server.batch
        privates = {name: self.clients[name].batch.private for name in batch.setup.ids}
        made = {
            "server_private": batch.private, "members": privates, "setup_hash": batch.setup.hash,
            "members_hash": batch.setup.members_hash,
        }  # fmt: skip
        self.note("setup", {"first_round": batch.setup.first_round}, made)

    def _note_mask(self, name):
        client, settings = self.clients[name], self.settings
        shares, boxes = client.shares()[1], client.sealed(client.shares())
        made = {
            "seed": client.round.seed, "mask_seed": client.mask_seed(), "channel_private": client.channel(),
            "public": public_seed(settings, self.roster, self.server.session, self.round_id),
            "secret": numbers(settings.parts[0].ring.secret(client.mask_seed())),
            "shares": {member: numbers(share) for member, share in zip(client.round.setup.ids, shares, strict=True)},
            "boxes": [sha256(box).digest() for box in boxes], "root": root(boxes),
        }  # fmt: skip
        self.note("mask", {"client": name, "round_id": self.round_id}, made)

    def _note_account(self):
        current = self.server.round
        made = {"survivors": current.survivors, "account": current.account}
        self.note("account", {"round_id": self.round_id}, made)

    def note_answer(self, name):
        """Note what an answer that the server has taken holds."""
        _, _, share, complaints = self.server.round.answers[name]
        made = {"sum": None if share is None else numbers(share), "complaints": complaints}
        self.note("answer", {"member": name, "round_id": self.round_id}, made)

    def _note_result(self):
        result = self.server.result(self.round_id)
        made = {
            "secret_sum": numbers(result.secret_sum), "sums": result.sums, "result_hash": result.result_hash,
            "statement": result.statement, "survivors": result.survivors, "blamed": result.blamed, "receipt": result.receipt,
        }  # fmt: skip
        self.note("result", {"round_id": self.round_id}, made)

    # -- a round --------------------------------------------------------------------------------------------------

    def exchange(self, silent=(), contexts=None, replace=None, close=None):
        """Run the open phase; `replace` maps a client to a function of it and its frames that makes other ones."""
        phase, arrived = self.server.phase, []
        for name in [each for each in IDS if each not in silent]:
            sent = []
            for frame in self.inbox[name]:
                oneshot_refusals.before_request(self, name, frame)
                sent += self.receive(name, frame)
            if self.clients[name].awaiting is not None:
                sent += self.submit(name, (contexts or {}).get(name, b"the model"))
            if replace and name in replace and sent:
                sent = replace[name](self, sent)
            if self.inbox[name]:
                oneshot_refusals.after_request(self, name, self.inbox[name][0])
            arrived += [(name, frame) for frame in sent]
        for name, frame in arrived:
            oneshot_refusals.before_frame(self, name, frame)
            if oneshot_crooked.is_refused(self, name, frame):
                continue
            self.server_receive(name, frame)
            if phase == "reveal":
                self.note_answer(name)
        oneshot_refusals.after_frames(self, arrived)
        self.close_phase(*(close or ()))

    def play(self, round_id, participants=None, **phases):
        self.open_round(round_id, participants)
        while self.server.phase != "idle":
            self.exchange(**phases.get(self.server.phase, {}))


def build():
    """Return the file's text."""
    cases, crooked = [], oneshot_crooked
    # Three of four answers open a sum. A minority model in round 1; a malformed upload and a silent member in round 2; then new
    # keys, of which one is missing, and a client that is not sampled; a share that does not open, and then too few answers.
    session = Session(cases, "malicious")
    session.play(1, masked={"contexts": {"bo": b"another model"}})
    session.play(2, masked={"replace": {"cy": crooked.malformed_upload}}, reveal={"silent": ["ana"]})
    session.play(4, ["ana", "bo", "éva"], keys={"silent": ["bo"]})
    garbled = {"replace": {"cy": crooked.garbled_share}}
    session.play(5, masked=garbled, reveal={"close": (crooked.ABORT, "one member of three could not open a share")})
    # Two of four: one wrong answer is put right in round 1, and of two nothing comes; a client garbles its check lane.
    session = Session(cases, "semi-honest")
    session.play(1, keys={}, masked={"silent": ["bo"]}, reveal={"replace": {"éva": crooked.wrong_answer}})
    wrong = {"éva": crooked.wrong_answer, "cy": crooked.wrong_answer}
    session.play(2, reveal={"replace": wrong, "close": (crooked.ABORT, "two wrong answers of four")})
    garbled["replace"]["bo"] = crooked.other_root
    session.play(3, masked=garbled)  # a member complains, and the others are enough
    lane = {"replace": {"bo": crooked.garbled_lane}}
    session.play(4, masked=lane, reveal={"close": (crooked.ABORT, "a check lane that does not hold")})
    # A committee of three, two secrets to a polynomial.
    session = Session(cases, "drawn")
    session.play(7, masked={"replace": {"bo": crooked.other_tag}})
    head = {
        "schema": "secagg-vectors/1",
        "source": "tests/vectors/generate_oneshot_session.py, which runs tests/reference",
        "licence": "Apache-2.0",
        "verified_by": [
            "tests/reference makes every frame",
            "secagg replays them in tests/conformance/test_oneshot_vectors.py",
        ],
        "params": {
            "protocol": "docs/spec/oneshot.md, version 1; section 11 explains the operations",
            "encoding": "hexadecimal strings for bytes; numbers for integers and reals; ranks as numbers",
            "entropy": "draw i (from 1) of a party is the first bytes of SHAKE-256 of `session's name: name i`",
        },
    }  # fmt: skip
    lines = [json.dumps(case, ensure_ascii=False) for case in cases]
    opening = json.dumps(head, indent=2, ensure_ascii=False)[:-2]
    return opening + ',\n  "cases": [\n    ' + ",\n    ".join(lines) + "\n  ]\n}\n"


if __name__ == "__main__":
    PATH.write_text(build(), encoding="utf-8")
