"""The reference takes the place of a client, the server, the key holder or all, in ckks sessions with the engine."""

import pytest

from reference import frames
from reference.ckks_settings import result_places
from reference.errors import AbortError, ThresholdError
from secagg import FixedPoint, Params, errors
from secagg.wire import HOLDER
from support.ckks_live import CkksLive, Step
from support.live import ENCODINGS

FIVE = [f"c{i}" for i in range(5)]
# Two coefficients to a value of `model` and of `metrics`, in a ring of degree 1024 that keeps the reference quick.
SMALL = {"protocol": "ckks", "ring": (1024, 26), **ENCODINGS, "max_weight": 3, "frame_bytes": 1 << 14}
ROOT = {"clients": 5, "corrupt": 1, "min_clients": 3, "rounds_per_setup": 3}
SETTINGS = [("semi-honest", "server"), ("semi-honest", "holder"), ("malicious", "server"), ("malicious", "holder")]


def but(*names):
    return [name for name in FIVE if name not in names]


def params(threat, reveal, **changes):
    return Params(**(ROOT | SMALL | {"threat": threat, "reveal": reveal} | changes))


# Five rounds under two keys.
STEPS = [
    Step(1, {"encrypted": ["c1"]}, survivors=but("c1")),
    Step(2, torn=["c3"], participants=but("c2"), survivors=["c0", "c1", "c4"]),
    Step(3, contexts={"c2": b"another model"}, survivors=but("c2")),
    Step(7, {"encrypted": ["c0"]}, survivors=but("c0")),
    Step(9, survivors=FIVE),
]


def only(*names):
    return lambda name: "reference" if name in names else "engine"


SEATS = {
    "the reference for one client": {"clients": only("c2")},
    "the reference for the server": {"server": "reference"},
    "the reference for the holder": {"holder": "reference"},
    "the reference for all but one client": {
        "server": "reference", "holder": "reference", "clients": only(*but("c2")),
    },
    "both in every seat": {"server": "twin", "holder": "twin", "clients": lambda name: "twin"},
}  # fmt: skip


@pytest.mark.parametrize("threat, reveal", SETTINGS)
@pytest.mark.parametrize("seats", SEATS)
def test_sessions(seats, threat, reveal):
    live = CkksLive(params(threat, reveal), FIVE, **SEATS[seats])
    assert [each.limbs for each in live.settings.cuts] == [1, 2, 1, 2]
    for step in STEPS:
        live.run(step)
        assert live.refused == []
    assert live.kinds[HOLDER, frames.KEY_ANNOUNCEMENT] == 2
    assert live.kinds[HOLDER, frames.DECRYPTED] == 5
    assert bool(live.kinds[HOLDER, frames.CHUNK]) == (reveal == "server")
    assert live.kinds["c2", frames.ENCRYPTED_HEADER] == 4  # not sampled in one round


@pytest.mark.parametrize(
    "changes",
    [
        {"ring": None, "max_weight": 2**40, "frame_bytes": 1 << 18},
        {"ring": (2048, 50), "max_weight": 2**20, "frame_bytes": 1 << 18},
        {"ring": (2048, 51), "max_weight": 2**20, "frame_bytes": 1 << 18},
        {"ring": (4096, 60), "max_weight": 2**40, "frame_bytes": 1 << 18},
        {"ring": (1024, 26), "max_weight": 2**40, "frame_bytes": 1 << 18},
    ],
    ids=lambda changes: f"{changes['ring']}, {changes['max_weight']}",
)  # fmt: skip
def test_rings_and_weights(changes):
    """The 52-bit sampling and the 64-bit one, one limb and eight."""
    live = CkksLive(params("malicious", "server", **changes), FIVE, **SEATS["both in every seat"])
    live.run(Step(4, {"encrypted": ["c3"]}, survivors=but("c3")))
    assert live.refused == []


@pytest.mark.parametrize("reveal, ring, max_weight, length, chunks", [
    ("holder", (1024, 22), 30, 2200, [3, 3, 1]),  # three coefficients to a value: chunks of five polynomials would cut one
    ("server", (1024, 26), 2**31, 3500, [3, 3, 3, 3, 2]),  # four; and the sum comes back in two frames
])  # fmt: skip
def test_uploads_of_many_polynomials_in_many_frames(reveal, ring, max_weight, length, chunks):
    changes = {
        "layout": None, "length": length, "segments": {}, "metrics": (), "ring": ring, "max_weight": max_weight,
        "frame_bytes": 1 << 15 if reveal == "holder" else 20_000,
    }  # fmt: skip
    live = CkksLive(params("malicious", reveal, **changes), FIVE[:3], **SEATS["both in every seat"])
    assert [len(each) for each in live.settings.pieces(1)] == chunks
    live.update = lambda name, round_id: ([(i * 37 % 251) / 60 - 2 for i in range(length)], max_weight, [])
    live.run(Step(1, survivors=FIVE[:3]))
    assert live.kinds[HOLDER, frames.CHUNK] == len(result_places(live.settings)) * (reveal == "server")


def test_both_round_stochastically_from_the_same_keystream():
    changes = {"encoding": FixedPoint(clip=2, bits=12)}
    live = CkksLive(params("malicious", "server", **changes), FIVE, **SEATS["both in every seat"])
    live.run(Step(4, {"encrypted": ["c3"]}, survivors=but("c3")))


def test_a_client_can_hold_the_key():
    live = CkksLive(params("malicious", "holder"), FIVE, server="twin", holder_is="c1")
    live.run(Step(1, survivors=FIVE))


@pytest.mark.parametrize("seats", [{}, SEATS["the reference for the server"], SEATS["both in every seat"]])
def test_rounds_that_end_without_a_sum_leave_the_session_alive(seats):
    live = CkksLive(params("malicious", "server"), FIVE, **seats)
    live.run(Step(1, survivors=FIVE))
    for step, error in (
        (Step(2, {"encrypted": ["c0", "c1", "c2"]}), (ThresholdError, errors.ThresholdError)),
        (Step(3, participants=FIVE[:4], contexts={"c0": b"x", "c1": b"x"}), (AbortError, errors.AbortError)),
    ):
        with pytest.raises(error):
            live.run_to_the_end(step)
        assert live.server.phase == "idle"
    live.run(Step(4, survivors=FIVE))


def test_a_sum_of_other_uploads_than_those_signed_for_opens_to_noise():
    """The server adds one upload twice in another's place, and does not say so: a pad stays, and both holders refuse."""
    live = CkksLive(params("malicious", "server"), FIVE, server="reference", holder="twin")
    live.server.open_round(1)
    for phase in ("keys", "encrypted"):
        assert live.server.phase == phase
        for to, frame in live.server.outbox():
            if to == HOLDER:
                live.carry_to_holder(Step(1), frame)
            else:
                live.carry(Step(1), to, [frame])
        if phase == "encrypted":
            ciphertexts = live.server.round.ciphertexts
            assert ciphertexts["c0"] != ciphertexts["c1"]
            ciphertexts["c0"] = ciphertexts["c1"]
        live.server.close_phase()
    for _, frame in live.server.outbox():
        live.carry_to_holder(Step(1), frame)
    assert live.refused == [(HOLDER, "AbortError")]
    assert live.kinds[HOLDER, frames.DECRYPTED] == 0
