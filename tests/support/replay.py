"""Replays of sessions from tests/vectors with the engine in every seat."""

from __future__ import annotations

import collections
import hashlib
import json

import numpy as np

from reference.entropy import Entropy
from secagg import Identity, errors


def lists(vectors):
    return [vector.tolist() for vector in vectors]


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Replay:
    """The engine in every seat, driven by the cases; a protocol's own verbs and values are in its subclass."""

    def __init__(self, cases):
        self.keys = {}
        for case in cases:
            if case["op"] == "identity":
                private = bytes.fromhex(case["input"]["private"])
                self.keys[case["input"]["name"]] = Identity.from_bytes(private)
        self.roster = self.server = None
        self.clients = {}

    def do(self, case):
        return getattr(self, "op_" + case["op"])(case["input"], case["output"])

    def entropy(self, name):
        return Entropy(f"{self.name}: {name}")

    def silent(self):
        """Whether nobody has anything to send."""
        return self.server.outbox() == [] and not any(client.outbox() for client in self.clients.values())

    # -- frames ---------------------------------------------------------------------------------------------------

    def frame(self, given):
        if "frame" in given:
            return self.frames[given["frame"]]
        if "pieces" in given:
            pieces = given["pieces"]
            return b"".join(
                bytes.fromhex(piece) if isinstance(piece, str) else self.frames[piece[0]][piece[1] : piece[2]]
                for piece in pieces
            )
        middle = bytes.fromhex(given["bytes"])
        if "like" not in given:
            return middle
        whole = self.frames[given["like"]]
        return whole[: given["head"]] + middle + whole[len(whole) - given["tail"] :]

    def same(self, made, expected, recipients=False):
        """Compare frames with what the file lists, and learn the names of new ones."""
        assert len(made) == len(expected)
        for got, entry in zip(made, expected, strict=True):
            frame, to = got if recipients else (got, None)
            assert to == entry.get("to")
            if "bytes" in entry or "sha256" in entry:
                assert entry["frame"] not in self.frames
                assert entry.get("bytes", sha256(frame)) in (frame.hex(), entry.get("sha256"))
                self.frames[entry["frame"]] = frame
            assert frame == self.frames[entry["frame"]], entry["frame"]

    def sent(self):
        made = collections.defaultdict(list)
        for to, frame in self.server.outbox():
            made[frame].append(to)
        return list(made.items())

    # -- the script -----------------------------------------------------------------------------------------------

    def op_identity(self, given, output):
        assert self.keys[given["name"]].verify_key.hex() == output["verify_key"]

    def op_open_round(self, given, output):
        self.server.open_round(given["round_id"], given["participants"])
        assert self.server.phase == output["phase"]
        self.same(self.sent(), output["frames"], recipients=True)

    def op_close_phase(self, given, output):
        self.server.close_phase()
        assert self.server.phase == output["phase"]
        self.same(self.sent(), output["frames"], recipients=True)

    def op_server_receive(self, given, output):
        assert self.server.receive(self.frame(given), sender=given["sender"]) == given["sender"]

    def update(self, given):
        w = np.array(given["w"], np.float32)
        assert w.tolist() == given["w"]
        return {"w": w.reshape(2, 5), "counts": np.array(given["counts"])}, given["weight"], {"loss": given["loss"]}

    def op_submit(self, given, output):
        update, weight, metrics = self.update(given)
        client = self.clients[given["client"]]
        client.submit(update, weight=weight, metrics=metrics, context=bytes.fromhex(given["context"]))
        self.same(client.outbox(), output["frames"])


def replay(run, cases):
    """Run the cases; of those that must fail, the state stays what it was, or the next frames would differ."""
    for number, case in enumerate(cases):
        refused = None
        try:
            run.do(case)
        except errors.SecAggError as error:
            refused = type(error).__name__
        assert refused == case["error"], (number, case["op"], case.get("note"))
        assert case["success"] is (refused is None)
        if refused:
            assert run.silent()


def with_one_changed(cases, op, where):
    """Return the cases with a digit changed somewhere in the output of the first of a kind."""
    at = next(number for number, case in enumerate(cases) if case["op"] == op)
    text = json.dumps(cases[at]["output"])
    digits = [
        place for place, character in enumerate(text) if character in "0123456789" and text[place - 1] in "abcdef :,"
    ]
    place = digits[int.from_bytes(hashlib.sha256(b"%d" % where + op.encode()).digest()[:4], "big") % len(digits)]
    changed = json.loads(text[:place] + ("1" if text[place] in "023" else "2") + text[place + 1 :])
    return [*cases[:at], cases[at] | {"output": changed}]
