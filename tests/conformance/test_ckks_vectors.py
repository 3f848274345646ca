"""The engine replays the frozen sessions of tests/vectors/ckks_session.json, frame for frame and refusal for refusal."""

import collections
import json

import pytest

from secagg import Client, KeyHolder, Params, Receipt, Roster, Server
from secagg.hazmat.kdf import hkdf
from secagg.hazmat.ring import Ring, modulus
from secagg.protocols.ckks import CkksClient, CkksHolder, CkksServer
from secagg.protocols.ckks.messages import pad_key, result_commitment
from secagg.receipt import result_digest
from secagg.wire import HOLDER
from support.replay import Replay, lists, replay, sha256, with_one_changed
from vectors.generate_ckks_session import PATH, build

FILE = json.loads(PATH.read_text("utf-8"))


class CkksReplay(Replay):
    """The engine in every seat."""

    def __init__(self, cases):
        super().__init__(cases)
        self.holder = None

    def silent(self):
        return super().silent() and not self.holder.outbox()

    # -- what is fixed --------------------------------------------------------------------------------------------

    def op_roster(self, given, output):
        keys = {name: bytes.fromhex(key) for name, key in given["clients"].items()}
        self.roster = Roster(keys, bytes.fromhex(given["server"]), bytes.fromhex(given["holder"]))
        assert self.roster.hash().hex() == output["hash"]

    def op_samples(self, given, output):
        key = bytes.fromhex(given["key"])
        for name, expected in output.items():
            kind, bits = name.split()
            ring = Ring(given["degree"], modulus(int(bits)))
            made = getattr(ring, kind)(key, given["stream"], given["polynomial"], 1)[0].tolist()
            assert made[: len(expected)] == expected

    def op_params(self, given, output):
        params = self.params = Params.from_bytes(bytes.fromhex(given["canonical"]))
        assert params.to_bytes().hex() == given["canonical"]
        plan, cuts = params.cipher_plan, params.cipher_plan.segments
        assert output == {
            "hash": params.hash.hex(), "max_frame_bytes": params.max_frame_bytes, "q": plan.ring.modulus,
            "delta": plan.delta, "largest_distance": plan.worst,
            "segments": [[part.name, part.w, part.count] for part in params.segment_plan.segments],
            "cuts": [[cut.limbs, cut.limb_bits, cut.first, cut.step] for cut in cuts],
            "largest_coefficients": [cut.most for cut in cuts], "totals": [room.total for room in plan.rooms],
        }  # fmt: skip

    def op_session(self, given, output):
        self.frames, self.name, entropy = {}, given["name"], self.entropy
        key = self.keys["server"]
        self.server = Server(self.params, identity=key, roster=self.roster)
        make = self.server._core._new_bulk
        self.server._core = CkksServer(self.params, key, self.roster, make, entropy("server"))
        key = self.keys[HOLDER]
        self.holder = KeyHolder(self.params, identity=key, roster=self.roster)
        make = self.holder._core._new_bulk
        self.holder._core = CkksHolder(self.params, key, self.roster, make, entropy(HOLDER))
        self.clients = {}
        for name in self.roster:
            self.clients[name] = client = Client(self.params, me=name, identity=self.keys[name], roster=self.roster)
            client._core = CkksClient(self.params, name, self.keys[name], self.roster, entropy(name))
        assert self.server.session.hex() == output["session"]

    # -- the script -----------------------------------------------------------------------------------------------

    def op_receive(self, given, output):
        party = self.holder if given["party"] == HOLDER else self.clients[given["party"]]
        party.receive(self.frame(given))
        self.same(party.outbox(), output["frames"])
        if party is not self.holder:
            assert (party.awaiting and party.awaiting.round_id) == output["awaiting"]

    # -- values between the frames --------------------------------------------------------------------------------

    def op_key(self, given, output):
        key = self.holder._core._state.key
        secret = self.params.cipher_plan.ring.ternary(key.secret._derive("rlwe/s"), 0, 0, 1)[0].tolist()
        assert key.first_round == given["first_round"]
        assert output == {
            "seed": key.seed.hex(), "channel_private": key.channel.private_bytes().hex(),
            "channel_key": key.channel.public_bytes.hex(), "key_hash": key.hash.hex(),
            "secret": [-1 if c > 1 else c for c in secret],
        }  # fmt: skip

    def op_encode(self, given, output):
        key = hkdf(self.clients[given["client"]]._core._state.round.seed, "rounding", length=16)
        encoded = self.params.segment_plan.encode(*self.update(given), key)
        self.vectors = encoded.vectors
        assert (key.hex(), lists(encoded.vectors)) == (output["rounding_key"], output["vectors"])

    def op_encrypt(self, given, output):
        core = self.clients[given["client"]]._core
        current = core._state.round
        pad, channel = core._pad(core._state.basis, core._state.session, current.round_id, current.seed)
        cuts = self.params.cipher_plan.segments
        assert output == {
            "seed": current.seed.hex(), "pad": pad and pad.hex(), "channel_key": channel.hex(),
            "coefficients": lists(cut.split(vector) for cut, vector in zip(cuts, self.vectors, strict=True)),
        }  # fmt: skip

    def op_account(self, given, output):
        current, ids = self.server._core._state.round, self.roster.ids
        assert output == {
            "survivors": [ids[rank] for rank in current.survivors], "account": current.account.hex(),
            "mark": current.mark.hex(),
        }  # fmt: skip

    def op_opened(self, given, output):
        sums = self.holder.result(given["round_id"])._decoded._sums
        key, current, pads = self.holder._core._state.key, self.holder._core.decrypted, []
        if self.params.padded:
            for name, header in current.headers.items():
                shared = key.channel.agree(header.channel_key)
                pads.append(pad_key(shared, self.holder.session, key.hash, given["round_id"], name).hex())
        assert output == {"sums": lists(sums), "salt": current.salt.hex(), "pads": pads}

    def op_result(self, given, output):
        result = self.server.result(given["round_id"])
        receipt = result.receipt
        if self.params.reveal == "server":
            assert lists(result._decoded._sums) == output["sums"]
            made = result_commitment(result.salt, result_digest(result._decoded._sums))
            assert made.hex() == output["result_hash"]
        else:
            assert output["sums"] is None and sha256(result.ciphertext) == output["ciphertext"]
        assert list(result.contributors) == output["survivors"]
        assert receipt.result_hash.hex() == output["result_hash"]
        assert receipt.statement.hex() == output["statement"]
        assert receipt == Receipt.from_json(json.dumps(output["receipt"]))
        receipt.verify(self.roster, self.params)
        assert result.blamed == {}


def test_the_engine_makes_every_frame_and_refuses_what_must_be_refused():
    replay(CkksReplay(FILE["cases"]), FILE["cases"])


def test_the_file_is_what_the_reference_makes():
    assert PATH.read_text("utf-8") == build()
    assert PATH.stat().st_size < 500_000


def test_the_sessions_have_in_them_what_their_readers_need():
    cases = FILE["cases"]
    count = collections.Counter(case["op"] for case in cases)
    assert (count["session"], count["open_round"], count["result"], count["key"]) == (4, 8, 6, 5)
    refused = collections.Counter(case["error"] for case in cases if not case["success"])
    assert set(refused) == {
        "DecodeError", "AuthenticationError", "PeerError", "EquivocationError", "AbortError", "ThresholdError",
    }  # fmt: skip
    assert sum(refused.values()) > 200
    receipts = [case["output"]["receipt"] for case in cases if case["op"] == "result"]
    left_out = [sorted({"ana", "bo", "cy", "éva"} - set(made["uploads"])) for made in receipts]
    assert left_out == [
        ["bo"],
        ["cy"],
        ["cy"],
        ["bo"],
        ["éva"],
        [],
    ]  # other model, malformed, not sampled, other model, silent
    assert all(list(made["signatures"]) == [HOLDER] for made in receipts)
    cuts = [case["output"]["cuts"] for case in cases if case["op"] == "params"]
    assert {cut[0] for each in cuts for cut in each} >= {1, 2}  # limbs


OPS = ["samples", "params", "key", "encode", "encrypt", "account", "opened", "result", "submit", "close_phase"]


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("where", range(4))
def test_a_changed_value_does_not_pass(op, where):
    """Every value is looked at: a digit changed anywhere in the first case of a kind is found."""
    cases = with_one_changed(FILE["cases"], op, where)
    with pytest.raises(AssertionError):
        replay(CkksReplay(cases), cases)
