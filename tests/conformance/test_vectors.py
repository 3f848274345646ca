"""The engine replays the frozen session of tests/vectors/pairwise_session.json, frame for frame and refusal for refusal."""

import collections
import hashlib
import json

import numpy as np
import pytest

from reference import frames
from reference.entropy import Entropy
from secagg import Client, Identity, Params, Receipt, Roster, Server, errors
from secagg.hazmat import aead, prg
from secagg.hazmat.kdf import hkdf
from secagg.protocols.pairwise import PairwiseClient, PairwiseServer, client_setup, dealing, graph, unmasking
from secagg.protocols.pairwise.messages import participants_digest
from vectors.generate_pairwise_session import PATH, build

FILE = json.loads(PATH.read_text("utf-8"))


def by_rank(table):
    return {int(rank): value for rank, value in table.items()}


class Replay:
    """The engine in every seat, driven by the cases."""

    def __init__(self, cases):
        named = collections.defaultdict(dict)
        for case in cases:
            named[case["op"]][case["input"].get("name", "")] = case
        self.keys = {name: Identity.from_bytes(bytes.fromhex(case["input"]["private"]))
                     for name, case in named["identity"].items()}  # fmt: skip
        given = named["roster"][""]["input"]
        self.roster = Roster(
            {name: bytes.fromhex(key) for name, key in given["clients"].items()}, bytes.fromhex(given["server"])
        )
        self.params = Params.from_bytes(bytes.fromhex(named["params"][""]["input"]["canonical"]))
        self.server = Server(self.params, identity=self.keys["server"], roster=self.roster)
        make = self.server._core._new_bulk
        self.server._core = PairwiseServer(self.params, self.keys["server"], self.roster, make, Entropy("server"))
        self.clients = {}
        for name in self.roster:
            self.clients[name] = client = Client(self.params, me=name, identity=self.keys[name], roster=self.roster)
            client._core = PairwiseClient(self.params, name, self.keys[name], self.roster, Entropy(name))
        self.frames = {}

    def frame(self, given):
        return bytes.fromhex(given["bytes"]) if "bytes" in given else self.frames[given["frame"]]

    def same(self, made, expected, recipients=False):
        """Compare frames with what the file lists, and learn the names of new ones."""
        for entry in expected:
            if "bytes" in entry:
                assert entry["frame"] not in self.frames
                self.frames[entry["frame"]] = bytes.fromhex(entry["bytes"])
        assert len(made) == len(expected)
        for got, entry in zip(made, expected, strict=True):
            frame, to = got if recipients else (got, None)
            assert frame == self.frames[entry["frame"]], entry["frame"]
            assert to == entry.get("to")

    def sent(self):
        made = collections.defaultdict(list)
        for to, frame in self.server.outbox():
            made[frame] += list(self.roster) if to is None else [to]
        return list(made.items())

    def do(self, case):
        return getattr(self, "op_" + case["op"])(case["input"], case["output"])

    # -- the script -----------------------------------------------------------------------------------------------

    def op_identity(self, given, output):
        assert self.keys[given["name"]].verify_key.hex() == output["verify_key"]

    def op_roster(self, given, output):
        assert self.roster.hash().hex() == output["hash"]

    def op_params(self, given, output):
        assert self.params.to_bytes().hex() == given["canonical"]
        assert (self.params.hash.hex(), self.params.max_frame_bytes) == (output["hash"], output["max_frame_bytes"])
        assert [[part.name, part.w, part.count] for part in self.params.segment_plan.segments] == output["segments"]

    def op_session(self, given, output):
        assert self.server.session.hex() == output["session"]

    def op_open_round(self, given, output):
        self.server.open_round(given["round_id"], given["participants"])
        assert self.server.phase == output["phase"]
        self.same(self.sent(), output["frames"], recipients=True)

    def op_close_phase(self, given, output):
        self.server.close_phase()
        assert self.server.phase == output["phase"]
        self.same(self.sent(), output["frames"], recipients=True)

    def op_client_receive(self, given, output):
        client = self.clients[given["client"]]
        client.receive(self.frame(given))
        assert (client.awaiting and client.awaiting.round_id) == output["awaiting"]
        self.same(client.outbox(), output["frames"])

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

    # -- values between the frames --------------------------------------------------------------------------------

    def op_setup(self, given, output):
        setup = self.server._core._state.batch.setup
        assert setup.first_round == given["first_round"]
        assert (setup.setup_hash.hex(), list(setup.ids)) == (output["setup_hash"], output["ids"])
        assert [setup.neighbours[rank] for rank in range(len(setup.ids))] == output["share_graph"]

    def op_dealing(self, given, output):
        batch = self.clients[given["client"]]._core._state.batch
        setup, seeds = batch.setup, batch.seeds
        keys, me = [pair.private_bytes() for pair in batch.mask_pairs], setup.ranks[given["client"]]
        assert batch.channel.private_bytes().hex() == output["channel_key"]
        assert [key.hex() for key in keys] == output["mask_keys"]
        assert [seed.hex() for seed in seeds] == output["seeds"]
        assert (batch.rounding.hex(), batch.dealing.hex()) == (output["rounding_secret"], output["sharing_secret"])
        source = client_setup._derived(hkdf(batch.dealing, "dealing", setup.setup_hash, length=16))
        made = dealing.deal(seeds, keys, self.params.threshold, me, setup.neighbours[me], source)
        assert {rank: plain.hex() for rank, plain in made.items()} == by_rank(output["plaintexts"])
        roots = {rank: dealing.Holding.of(plain, setup.rounds).root().hex() for rank, plain in made.items()}
        assert roots == by_rank(output["roots"])

    def op_view(self, given, output):
        batch, current = self.server._core._state.batch, self.server._core._state.round
        assert (batch.members, batch.members_hash.hex()) == (output["members"], output["members_hash"])
        assert current.participants == output["participants"]
        made = participants_digest(batch.setup.setup_hash, given["round_id"], batch.setup.names(current.participants))
        assert made.hex() == current.participants_hash.hex() == output["participants_hash"]
        edges = graph.mask_graph(
            batch.setup.setup_hash, given["round_id"], made, current.participants, self.params.neighbours
        )
        assert dict(edges) == by_rank(output["mask_graph"])

    def op_encode(self, given, output):
        key = self.clients[given["client"]]._core.begin_upload(b"").rounding_key
        assert key.hex() == output["rounding_key"]
        encoded = self.params.segment_plan.encode(*self.update(given), key)
        self.vectors = encoded.vectors
        assert [vector.tolist() for vector in encoded.vectors] == output["vectors"]

    def op_mask(self, given, output):
        upload = self.clients[given["client"]]._core.begin_upload(b"")
        masks = list(zip([key.hex() for key in upload.keys], upload.signs, strict=True))
        assert masks == [tuple(each) for each in output["masks"]]
        assert upload.mac_key.hex() == output["upload_key"]
        for part, vector in zip(self.params.segment_plan.segments, self.vectors, strict=True):
            prg.apply_masks(vector, upload.keys, upload.signs, part.stream_id, 0, part.w)
        assert [vector.tolist() for vector in self.vectors] == output["vectors"]

    def op_account(self, given, output):
        current = self.server._core._state.round
        assert (current.survivors, current.account.hex()) == (output["survivors"], output["account"])

    def op_answer(self, given, output):
        state, frame = self.server._core._state, self.frame(given)
        server_key = unmasking.answer_key(
            state.batch.secrets[given["client"]], state.batch.setup, given["client"], state.round.round_id
        )
        assert server_key.hex() == output["key"]
        sealed = frames.body(frame)[3]
        assert aead.open_(server_key, sealed, state.round.account).hex() == output["plaintext"]

    def op_result(self, given, output):
        result = self.server.result(given["round_id"])
        receipt = result.receipt
        assert [vector.tolist() for vector in result._decoded._sums] == output["sums"]
        assert list(result.contributors) == output["survivors"]
        assert receipt.result_hash.hex() == output["result_hash"]
        assert receipt.statement.hex() == output["statement"]
        assert receipt == Receipt.from_json(json.dumps(output["receipt"]))
        receipt.verify(self.roster, self.params)
        assert result.blamed == {}


def replay(cases):
    """Run the cases; of those that must fail, the state stays what it was, or the next frames would differ."""
    run = Replay(cases)
    for number, case in enumerate(cases):
        refused = None
        try:
            run.do(case)
        except errors.SecAggError as error:
            refused = type(error).__name__
        assert refused == case["error"], (number, case["op"], case.get("note"))
        assert case["success"] is (refused is None)
        if refused:
            assert run.server.outbox() == [] and not any(client.outbox() for client in run.clients.values())


def test_the_engine_makes_every_frame_and_refuses_what_must_be_refused():
    replay(FILE["cases"])


def test_the_file_is_what_the_reference_makes():
    assert PATH.read_text("utf-8") == build()
    assert PATH.stat().st_size < 400_000


def test_the_session_has_in_it_what_its_readers_need():
    cases = FILE["cases"]
    count = collections.Counter(case["op"] for case in cases)
    assert count["open_round"] == count["result"] == 5 and count["setup"] == 3
    refused = collections.Counter(case["error"] for case in cases if not case["success"])
    assert set(refused) == {"DecodeError", "AuthenticationError", "PeerError", "EquivocationError", "AbortError"}
    assert sum(refused.values()) > 100
    receipts = [case["output"]["receipt"] for case in cases if case["op"] == "result"]
    left_out = [sorted({"ana", "bo", "cy", "éva"} - set(made["uploads"])) for made in receipts]
    assert left_out == [["bo"], ["éva"], ["cy"], [], ["bo"]]  # other model, silent, not sampled, nobody, did not deal
    assert [len(made["signatures"]) for made in receipts] == [3, 3, 4, 3, 3]


@pytest.mark.parametrize("op", ["dealing", "view", "encode", "mask", "account", "answer", "result", "submit", "setup"])
def test_a_changed_value_does_not_pass(op):
    """Every value is looked at: one hexadecimal digit changed anywhere in the first case of a kind is found."""
    at = next(number for number, case in enumerate(FILE["cases"]) if case["op"] == op)
    text = json.dumps(FILE["cases"][at]["output"])
    digits = [place for place in range(2, len(text)) if text[place] in "0123456789" and text[place - 1] in "abcdef"]
    place = digits[int.from_bytes(hashlib.sha256(op.encode()).digest()[:4], "big") % len(digits)]
    changed = json.loads(text[:place] + ("1" if text[place] == "0" else "0") + text[place + 1 :])
    cases = [*FILE["cases"][:at], FILE["cases"][at] | {"output": changed}]
    with pytest.raises(AssertionError):
        replay(cases)
