"""The reference takes the place of a client, of members, of the server or of all, in oneshot sessions with the engine."""

import numpy as np
import pytest

from reference import frames, hint
from reference.errors import AbortError, ThresholdError
from secagg import FixedPoint, Params, errors
from support.live import ENCODINGS
from support.oneshot_live import SESSION, OneshotLive, Step, lying

FIVE = [f"c{i}" for i in range(5)]
SIX = [f"c{i}" for i in range(6)]
SMALL = {"protocol": "oneshot", **ENCODINGS, "max_weight": 3, "frame_bytes": 1 << 16}
ROOT = {"clients": 5, "corrupt": 1, "min_clients": 3, "rounds_per_setup": 3, "threshold": 4}
THREATS = ["malicious", "semi-honest"]


def but(*names):
    return [name for name in FIVE if name not in names]


def params(threat="malicious", **changes):
    return Params(**(ROOT | SMALL | {"threat": threat} | changes))


# Five rounds under two committees' keys.
STEPS = [
    Step(1, {"masked": ["c1"]}, survivors=but("c1")),  # who is late for the update still answers as a member
    Step(2, {"reveal": ["c0"]}, torn=["c3"], participants=but("c2"), survivors=["c0", "c1", "c4"]),
    Step(3, {"reveal": ["c4"]}, contexts={"c2": b"another model"}, survivors=but("c2")),
    Step(7, {"keys": ["c2"], "masked": ["c0"]}, survivors=but("c0")),  # a committee of four, all of whom are needed
    Step(9, survivors=FIVE),
]


def only(*names):
    return lambda name: "reference" if name in names else "engine"


SEATS = {
    "the reference for one client": {"clients": only("c2")},
    "the reference for the server": {"server": "reference"},
    "the reference for all but one client": {"server": "reference", "clients": only(*but("c2"))},
    "both in every seat": {"server": "twin", "clients": lambda name: "twin"},
}
TWINS = SEATS["both in every seat"]


@pytest.mark.parametrize("threat", THREATS)
@pytest.mark.parametrize("seats", SEATS)
def test_sessions(seats, threat):
    live = OneshotLive(params(threat), FIVE, **SEATS[seats])
    assert live.settings.rho == {"malicious": 1, "semi-honest": 3}[threat]
    for step in STEPS:
        live.run(step)
        assert live.refused == []
    assert live.kinds["c2", frames.MEMBER_KEY] == 1 and live.kinds["c1", frames.MEMBER_KEY] == 2
    assert live.kinds["c2", frames.UPDATE_HEADER] == 4  # not sampled in one round
    assert live.kinds["c2", frames.REVEAL] == 3  # and no member in two others


@pytest.mark.parametrize("seats", ["the reference for one client", "both in every seat"])
def test_a_drawn_committee_and_a_member_that_sends_no_updates(seats):
    sampled = params(clients=6, committee=4, max_participants=5, min_clients=4)
    live = OneshotLive(sampled, SIX, session=SESSION, quiet=["c3"], **SEATS[seats])
    asked = [name for name in SIX if name != "c3"]
    live.run(Step(1, {"masked": ["c0"]}, participants=asked, survivors=[c for c in asked if c != "c0"]))
    live.run(Step(2, participants=asked, survivors=asked))
    assert live.refused == []
    crew = [name for name in SIX if live.kinds[name, frames.MEMBER_KEY]]
    assert len(crew) == 4 and "c3" in crew
    assert [name for name in SIX if live.kinds[name, frames.REVEAL] == 2] == crew


@pytest.mark.parametrize("changes", [
    {"ring": (4096, 50, 2), "max_weight": 2**20},
    {"ring": (4096, 51, 2), "max_weight": 1},
    {"ring": (8192, 60, 3), "max_weight": 2**30, "frame_bytes": 1 << 18},
    {"threshold": 5, "packing": 2, "max_weight": 1000},
    {"threat": "semi-honest", "corrupt": 0, "threshold": 5, "packing": 4},
], ids=str)  # fmt: skip
def test_rings_weights_and_packings(changes):
    """The 52-bit sampling and the 64-bit one, two primes and three, one secret to a polynomial and more."""
    live = OneshotLive(params(**changes), FIVE, **TWINS)
    live.run(Step(4, {"masked": ["c3"]}, survivors=but("c3")))
    assert live.refused == []


@pytest.mark.parametrize("frame_bytes, chunks", [(1 << 16, 3), (1 << 17, 1), (80_000, 2)])
def test_uploads_of_many_polynomials_in_many_frames(frame_bytes, chunks):
    """Whole polynomials of 37888 bytes to a frame."""
    own = {"layout": None, "length": 40_000, "segments": {}, "metrics": (), "ring": (4096, 37, 2)}
    three = params(frame_bytes=frame_bytes, clients=3, threshold=3, min_clients=3, **own)
    live = OneshotLive(three, FIVE[:3], **TWINS)
    live.update = lambda name, round_id: ([(i * 37 % 251) / 60 - 2 for i in range(40_000)], 3, [])
    assert len(live.settings.parts[1].spans()) == chunks
    live.run(Step(1, survivors=FIVE[:3]))


def test_shares_travel_in_several_frames():
    live = OneshotLive(
        params(frame_bytes=41_000, clients=9, threshold=8, packing=1), [f"c{i}" for i in range(9)], **TWINS
    )
    assert live.settings.share_spans(9) == [(0, 7), (7, 9)]
    live.run(Step(1, survivors=live.ids))


def test_both_round_stochastically_from_the_same_keystream():
    live = OneshotLive(params(encoding=FixedPoint(clip=2, bits=12)), FIVE, **TWINS)
    live.run(Step(4, {"masked": ["c3"]}, survivors=but("c3")))


def test_an_update_that_is_streamed_is_the_same_frames():
    live = OneshotLive(params(), FIVE, **TWINS)
    live.server.open_round(1)
    live.exchange(Step(1))
    live.server.close_phase()
    seat = live.clients["c0"]
    seat.receive(dict(live.server.outbox())["c0"])
    (*values, last), weight, (loss,) = live.update("c0", 1)
    update = {"w": np.array(values[:15], np.float32).reshape(3, 5), "counts": np.array(values[15:]), "b": last}
    made = list(seat.engine.client.stream(update, weight=weight, metrics={"loss": loss}, context=b"the model"))
    seat.reference.submit([*values, last], weight, [loss], b"the model")
    assert made == seat.reference.outbox()


# -- those that lie or fail ---------------------------------------------------------------------------------------------


def test_a_member_that_lies_is_named():
    """Of five answers at a threshold of three, one wrong one is put right."""
    live = OneshotLive(params(corrupt=0, threshold=3), FIVE, **TWINS)
    step = Step(1, tamper=lying(live, "c1"), survivors=FIVE)
    live.run_to_the_end(step)
    live.check(step, blamed=["c1"])
    assert live.refused == []


@pytest.mark.parametrize("liars, silent", [(["c1", "c4"], []), (["c1"], ["c0"])])
def test_more_lies_than_can_be_put_right(liars, silent):
    live = OneshotLive(params(corrupt=0, threshold=3), FIVE, **TWINS)
    tamper = {key: change for name in liars for key, change in lying(live, name).items()}
    with pytest.raises(AbortError):
        live.run_to_the_end(Step(1, {"reveal": silent}, tamper=tamper))
    live.run(Step(2, survivors=FIVE))
    assert live.kinds["c1", frames.MEMBER_KEY] == 2  # where no answer was to be had, keys are asked for anew


def test_as_many_lies_as_there_are_honest_answers_to_spare_are_no_sum_of_secrets():
    """With an answer from exactly T members nobody can be named, and the digits do not fit."""
    live = OneshotLive(params(), FIVE, **TWINS)
    with pytest.raises(AbortError):
        live.run_to_the_end(Step(1, {"reveal": ["c0"]}, tamper=lying(live, "c1")))


def garbling(members, box=bytes):
    """Return what makes an upload whose sealed shares for these members are others, under a header that fits."""

    def made(client):
        values, weight, metrics = client.given
        vectors = client.settings.encode(values, weight, metrics, client.rounding_key(client.round.round_id))
        boxes = client.sealed(client.shares())
        for place in members:
            boxes[place] = box(len(boxes[place]))
        return client.frame(client.mask(vectors), boxes, b"the model")

    return made


@pytest.mark.parametrize("members", [[1], [1, 4]])
def test_members_complain_of_shares_that_do_not_open(members):
    live = OneshotLive(params(), FIVE, **TWINS)
    live.second("c2").given = live.update("c2", 1)
    live.instead["c2"] = garbling(members)
    step = Step(1, survivors=FIVE)
    if len(members) == 1:
        live.run_to_the_end(step)
        live.check(step, blamed=["c2"])
    else:
        with pytest.raises(AbortError):
            live.run_to_the_end(step)
    assert live.complained == {(f"c{place}", (2,)) for place in members}
    assert live.refused == []
    live.instead.clear()
    live.run(Step(2, survivors=FIVE))


def test_a_client_that_shares_another_secret_spoils_the_sum_and_both_notice():
    live = OneshotLive(params(), FIVE, **TWINS)

    def another(client):
        right, seed = client.mask_seed, client.mask_seed()
        client.mask_seed = lambda: bytes(32)
        boxes = client.sealed(client.shares())
        client.mask_seed = right
        assert client.mask_seed() == seed
        vectors = client.settings.encode(*client.given, client.rounding_key(1))
        return client.frame(client.mask(vectors), boxes, b"the model")

    live.second("c2").given = live.update("c2", 1)
    live.instead["c2"] = another
    with pytest.raises(AbortError):
        live.run_to_the_end(Step(1))
    live.instead.clear()
    live.run(Step(2, survivors=FIVE))
    assert live.kinds["c1", frames.MEMBER_KEY] == 1  # the committee is not to blame


@pytest.mark.parametrize("lane, value", [(0, 5000), (1, 5000), (2, 0), (2, 2)])
def test_check_lanes(lane, value):
    live = OneshotLive(params(), FIVE, **TWINS)

    def garbled(client):
        vectors = client.settings.encode(*client.given, client.rounding_key(1))
        vectors[0][lane] = value
        return client.frame(client.mask(vectors), client.sealed(client.shares()), b"the model")

    live.second("c2").given = live.update("c2", 1)
    live.instead["c2"] = garbled
    with pytest.raises(AbortError):
        live.run_to_the_end(Step(1))


@pytest.mark.parametrize("seats", [{}, SEATS["the reference for the server"], TWINS])
def test_rounds_that_end_without_a_sum_leave_the_session_alive(seats):
    live = OneshotLive(params(rounds_per_setup=20), FIVE, **seats)
    too_few = (ThresholdError, errors.ThresholdError)
    for step, error in (
        (Step(1, {"keys": ["c0", "c1"]}), too_few),
        (Step(2, {"masked": ["c0", "c1", "c2"]}), too_few),
        (Step(3, participants=FIVE[:4], contexts={"c0": b"x", "c1": b"x"}), too_few),
        (Step(4, {"reveal": ["c0", "c1"]}), too_few),
    ):
        with pytest.raises(error):
            live.run_to_the_end(step)
        assert live.server.phase == "idle"
    live.run(Step(5, survivors=FIVE))
    assert live.kinds["c2", frames.MEMBER_KEY] == 3  # in rounds 1, 2 and 5


def test_groups_of_one_size():
    live = OneshotLive(params(min_clients=3, clients=6, threshold=5), SIX, **TWINS)
    with pytest.raises(AbortError):
        live.run_to_the_end(Step(1, contexts={"c0": b"x", "c1": b"x", "c2": b"x"}))


def test_a_member_answers_for_one_set_a_round():
    """The reference's server asks for the sum without one of the survivors, once it has the answer for all of them."""
    live = OneshotLive(params(), FIVE, server="reference", clients=lambda name: "twin")
    live.server.open_round(1)
    for _ in range(2):
        live.exchange(Step(1))
        live.server.close_phase()
    first = live.server.outbox()
    current = live.server.round
    for name in ("c0", "c1"):
        live.carry(Step(1), name, [frame for to, frame in first if to == name])
    current.boxes = {name: made for name, made in current.boxes.items() if name != "c3"}
    live.server.phase = "masked"
    live.server.close_phase()
    assert current.survivors == but("c3")
    second = live.server.outbox()
    for name in ("c0", "c1", "c2"):
        live.carry(Step(1), name, [frame for to, frame in second if to == name])
    assert live.refused == [("c0", "EquivocationError"), ("c1", "EquivocationError")]
    assert [live.kinds[name, frames.REVEAL] for name in FIVE] == [1, 1, 1, 0, 0]


def test_a_client_that_did_not_answer_is_shown_the_keys_again():
    live = OneshotLive(params(), FIVE, **TWINS)
    live.run(Step(1, survivors=FIVE))
    shown = {}
    for step in (Step(2, {"masked": ["c3"]}, survivors=but("c3")), Step(3, survivors=FIVE)):
        live.server.open_round(step.round_id)
        out = live.server.outbox()
        shown[step.round_id] = [to for to, frame in out if frames.body(frame)[4] is not None]
        for to, frame in out:
            if to not in step.silent.get("masked", ()):
                live.carry(step, to, [frame])
        live.server.close_phase()
        live.exchange(step)
        live.server.close_phase()
        live.check(step)
    assert shown == {2: [], 3: ["c3"]}


def test_a_session_of_which_nothing_came_is_left_for_another():
    """Clients and members learn their session from the first request; another may take its place until something has left."""
    live = OneshotLive(params(), FIVE, server="reference", clients=lambda name: "twin")
    first = live.server
    first.open_round(5)
    live.exchange(Step(5))
    first.close_phase()
    asked = first.outbox()
    for to, frame in asked:
        live.clients[to].receive(frame)
        assert live.clients[to].awaiting == 5
    live.name = "another"
    live.server = live._reference_server()
    # c0's member is not asked: it learns of the other session with the request for an update.
    live.run(Step(1, {"keys": ["c0"]}, survivors=FIVE))
    assert live.server.session != first.session and live.kinds["c0", frames.REVEAL] == 0
    for to, frame in asked:
        live.carry(Step(5), to, [frame])
    assert live.refused == [(name, "AuthenticationError") for name in FIVE]
    live.run(Step(4, survivors=FIVE))  # under new keys
    assert live.kinds["c0", frames.REVEAL] == 1


def test_public_polynomials_are_another_in_every_round_and_place():
    live = OneshotLive(params(), FIVE, server="reference", clients=only(*FIVE))
    hint.public_polynomial.cache_clear()
    for round_id in (1, 2):
        live.run(Step(round_id, survivors=FIVE))
    made = hint.public_polynomial.cache_info()
    assert made.misses == made.currsize == 2 * 4 * 2  # rounds, segments of one polynomial each, primes
