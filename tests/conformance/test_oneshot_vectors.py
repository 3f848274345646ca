"""The engine replays the frozen sessions of tests/vectors/oneshot_session.json, frame for frame and refusal for refusal."""

import collections
import json

import numpy as np
import pytest

from secagg import Client, Params, Receipt, Roster, Server
from secagg.hazmat.hintrlwe import MaskSecret
from secagg.hazmat.kdf import hkdf
from secagg.protocols.oneshot import OneshotClient, OneshotServer, committee, merkle, sharing
from secagg.protocols.oneshot.messages import public_seed
from support.replay import Replay, lists, replay, sha256, with_one_changed
from vectors.generate_oneshot_session import FEW, PATH, build

FILE = json.loads(PATH.read_text("utf-8"))


def numbers(values):
    """Return what the file shows of a long list."""
    values = np.asarray(values)
    return {"first": values[:FEW].tolist(), "sha256": sha256(values.astype("<i8").tobytes())}


class OneshotReplay(Replay):
    """The engine in every seat."""

    # -- what is fixed --------------------------------------------------------------------------------------------

    def op_roster(self, given, output):
        keys = {name: bytes.fromhex(key) for name, key in given["clients"].items()}
        self.roster = Roster(keys, bytes.fromhex(given["server"]))
        assert self.roster.hash().hex() == output["hash"]

    def op_tree(self, given, output):
        leaves = [bytes.fromhex(leaf) for leaf in given["leaves"]]
        made = {"root": merkle.root(leaves).hex(), "paths": [path.hex() for path in merkle.paths(leaves)]}
        assert made == output
        for place, (leaf, path) in enumerate(zip(leaves, output["paths"], strict=True)):
            merkle.check(leaf, place, len(leaves), bytes.fromhex(path), bytes.fromhex(output["root"]))

    def op_params(self, given, output):
        params = self.params = Params.from_bytes(bytes.fromhex(given["canonical"]))
        assert params.to_bytes().hex() == given["canonical"]
        cuts = params.mask_plan.segments
        assert output == {
            "hash": params.hash.hex(), "max_frame_bytes": params.max_frame_bytes, "primes": list(cuts[0].ring.moduli),
            "segments": [[part.name, part.w, part.count] for part in params.segment_plan.segments],
            "chunks": [[cut.first, cut.step, cut.chunks] for cut in cuts],
            "rows": params.mask_plan.share_rows(params.packing), "box": sharing.box_bytes(params),
        }  # fmt: skip

    def op_session(self, given, output):
        self.frames, self.name = {}, given["name"]
        session = given["session"] and bytes.fromhex(given["session"])
        key = self.keys["server"]
        self.server = Server(self.params, identity=key, roster=self.roster, session=session)
        make = self.server._core._new_bulk
        self.server._core = OneshotServer(self.params, key, self.roster, make, self.entropy("server"), session)
        self.clients = {}
        for name in self.roster:
            key = self.keys[name]
            self.clients[name] = Client(self.params, me=name, identity=key, roster=self.roster, session=session)
            core = OneshotClient(self.params, name, key, self.roster, self.entropy(name), session)
            self.clients[name]._core = core
        assert self.server.session.hex() == output["session"]
        assert list(committee(self.roster, self.server.session, self.params.committee)) == output["committee"]

    def op_receive(self, given, output):
        client = self.clients[given["party"]]
        client.receive(self.frame(given))
        self.same(client.outbox(), output["frames"])
        assert (client.awaiting and client.awaiting.round_id) == output["awaiting"]

    # -- values between the frames --------------------------------------------------------------------------------

    @property
    def state(self):
        """The server's."""
        return self.server._core._state

    def op_setup(self, given, output):
        batch, setup, _ = self.state.setup()
        members = {name: self.clients[name]._core._member._batch.private for name in setup.ids}
        assert setup.first_round == given["first_round"]
        assert output == {
            "server_private": batch.pair.private_bytes().hex(), "members": {name: key.hex() for name, key in members.items()},
            "setup_hash": setup.hash.hex(), "members_hash": setup.members_hash.hex(),
        }  # fmt: skip

    def op_encode(self, given, output):
        key = hkdf(self.clients[given["client"]]._core._state.round.seed, "rounding", length=16)
        vectors = self.params.segment_plan.encode(*self.update(given), key).vectors
        assert (key.hex(), lists(vectors)) == (output["rounding_key"], output["vectors"])

    def op_mask(self, given, output):
        core = self.clients[given["client"]]._core
        current, setup, seed = core._state.round, core._state.basis, core._state.round.seed
        own = hkdf(seed, "oneshot-channel", length=32)
        mask_seed = hkdf(seed, "oneshot-mask", length=32)
        secret = MaskSecret(self.params.mask_plan.segments[0].ring, mask_seed).coefficients()
        pair = sharing.KeyPair.from_private_bytes(own)
        boxes = sharing.seal_shares(secret, self.params, setup, pair, current.round_id, given["client"], seed)
        shares = {}
        for place, (member, box) in enumerate(zip(setup.ids, boxes, strict=True)):
            theirs = sharing.KeyPair.from_private_bytes(self.clients[member]._core._member._batch.private)
            where = (given["round_id"], given["client"], member)
            assert setup.bodies[place].channel_key == theirs.public_bytes
            shares[member] = numbers(sharing.open_share(box, self.params, setup, theirs, pair.public_bytes, where))
        public = public_seed(self.server.session, self.params.hash, self.roster.hash(), given["round_id"])
        assert output == {
            "seed": seed.hex(), "mask_seed": mask_seed.hex(), "channel_private": own.hex(), "public": public.hex(),
            "secret": numbers(secret), "shares": shares, "boxes": [sha256(box) for box in boxes],
            "root": merkle.root(boxes).hex(),
        }  # fmt: skip

    def op_account(self, given, output):
        current, ids = self.state.round, self.roster.ids
        assert current.round_id == given["round_id"]
        survivors = [ids[rank] for rank in current.survivors]
        assert output == {"survivors": survivors, "account": current.account.hex()}

    def op_answer(self, given, output):
        _, setup, current = self.state.setup()
        made = current.answers.get(setup.ids.index(given["member"]))
        complaints = list(current.complaints.get(given["member"], ()))
        assert output == {"sum": None if made is None else numbers(made), "complaints": complaints}

    def op_close_phase(self, given, output):
        """Keep the sum of the secrets, which a result does not show."""
        made, core = [], self.server._core
        close = core.close_phase
        core.close_phase = lambda: made.append(close()) or made[-1]
        try:
            super().op_close_phase(given, output)
        finally:
            del core.close_phase
        self.revealed = made[-1]

    def op_result(self, given, output):
        result = self.server.result(given["round_id"])
        receipt = result.receipt
        assert output["secret_sum"] == numbers(self.revealed.secret_sum)
        assert lists(result._decoded._sums) == output["sums"]
        assert list(result.contributors) == output["survivors"]
        assert sorted(result.blamed) == sorted(output["blamed"])
        assert receipt.result_hash.hex() == output["result_hash"]
        assert receipt.statement.hex() == output["statement"]
        assert receipt == Receipt.from_json(json.dumps(output["receipt"]))
        receipt.verify(self.roster, self.params)


def test_the_engine_makes_every_frame_and_refuses_what_must_be_refused():
    replay(OneshotReplay(FILE["cases"]), FILE["cases"])


def test_the_file_is_what_the_reference_makes():
    assert PATH.read_text("utf-8") == build()
    assert PATH.stat().st_size < 500_000


def test_the_sessions_have_in_them_what_their_readers_need():
    cases = FILE["cases"]
    count = collections.Counter(case["op"] for case in cases)
    assert (count["session"], count["open_round"], count["result"], count["setup"]) == (3, 9, 6, 5)
    refused = collections.Counter(case["error"] for case in cases if not case["success"])
    assert set(refused) == {"DecodeError", "AuthenticationError", "PeerError", "EquivocationError", "AbortError"}
    assert sum(refused.values()) > 230
    results = [case["output"] for case in cases if case["op"] == "result"]
    left_out = [sorted({"ana", "bo", "cy", "éva"} - set(made["receipt"]["uploads"])) for made in results]
    # Another model, malformed, not sampled, silent, a root of other shares, another tag.
    assert left_out == [["bo"], ["cy"], ["cy"], ["bo"], ["bo"], ["bo"]]
    assert [made["blamed"] for made in results] == [[], [], [], ["éva"], ["cy"], []]
    signed = [sorted(made["receipt"]["signatures"]) for made in results]
    everybody = ["ana", "bo", "cy", "éva"]
    assert signed[:5] == [everybody, everybody[1:], ["ana", "cy", "éva"], everybody, everybody] and len(signed[5]) == 3
    assert [case["output"]["complaints"] for case in cases if case["op"] == "answer" and case["output"]["complaints"]] == [
        ["cy"], ["cy"],
    ]  # fmt: skip


OPS = [
    "tree", "params", "session", "setup", "encode", "mask", "account", "answer", "result", "submit", "receive", "close_phase",
]  # fmt: skip


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("where", range(4))
def test_a_changed_value_does_not_pass(op, where):
    """Every value is looked at: a digit changed anywhere in the first case of a kind is found."""
    cases = with_one_changed(FILE["cases"], op, where)
    with pytest.raises(AssertionError):
        replay(OneshotReplay(cases), cases)
