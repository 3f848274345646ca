"""Rounds of oneshot under whatever Params and plans allow: which ends they have is known beforehand, and the sum is exact.

Committees of everybody or drawn, with spare members or none, values of any width and weight, several segments, frames down to one
polynomial, rings that the engine chose or that were named; members and clients lost in every phase.
"""

from __future__ import annotations

import numpy as np
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from secagg import Integer, Params, plan
from secagg.errors import ParameterError, ThresholdError
from secagg.hazmat import aead
from secagg.hazmat.hintrlwe import MaskRing
from secagg.protocols.oneshot.messages import Kind, answer_key
from secagg.protocols.oneshot.setup import committee
from secagg.wire import decode_frame
from support.committee import SESSION, Committee


@st.composite
def terms(draw):
    """Params that hold, some of them just so."""
    clients = draw(st.integers(2, 9))
    members = draw(st.integers(2, clients)) if draw(st.booleans()) else clients
    threat = draw(st.sampled_from(["malicious", "semi-honest"]))
    low = draw(st.integers(-(1 << 20), 1 << 20))
    participants = draw(st.integers(2, clients))
    chosen = {
        "committee": members, "threat": threat, "corrupt": draw(st.integers(0, clients // 3)), "min_honest": 1,
        "max_participants": participants, "min_clients": draw(st.integers(2, participants)),
        "threshold": draw(st.integers(2, members)), "rounds_per_setup": draw(st.integers(1, 3)),
        "encoding": Integer(low, low + draw(st.sampled_from([1, 2, 255, 1050, (1 << 32) - 1, 1 << 40]))),
        "max_weight": draw(st.sampled_from([1, 2, 1000])), "length": draw(st.sampled_from([1, 2, 37, 3000, 20_000])),
        "frame_bytes": draw(st.sampled_from([1 << 17, 1 << 18, 1 << 22])),
    }  # fmt: skip
    if draw(st.booleans()):
        chosen["packing"] = draw(st.integers(1, chosen["threshold"]))
    if draw(st.integers(0, 3)) == 0:
        chosen["ring"] = draw(st.sampled_from([(2048, 53, 1), (4096, 53, 2), (8192, 53, 4), (8192, 60, 3)]))
    try:
        return Params(clients, protocol="oneshot", **chosen)
    except ParameterError:
        assume(False)


def lost(draw, names, share):
    """Some of these, most often few."""
    return {name for name in names if draw(st.integers(0, 99)) < share}


def shortage(f, round_id, asked, gone):
    """In which phase there will be too few, from who is lost where; None if nowhere.

    Who is lost in one phase is there again in the next: a client without the keys of a batch is sent them until it has spoken.
    """
    batch = f.server._core._state.batch
    if batch is not None and batch.setup is not None and batch.setup.covers(round_id):
        members = set(f.setup.ids)
    else:
        members = set(committee(f.roster, SESSION, f.params.committee)) - gone["keys"]
        if len(members) < f.params.threshold:
            return "keys"
    if len(set(asked) - gone["masked"]) < f.params.min_clients:
        return "masked"
    return "reveal" if len(members - gone["reveal"]) < f.params.threshold else None


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_round_is_exact_or_short_of_what_its_params_ask_for(data):
    params = data.draw(terms())
    f = Committee(params.clients, params=params)
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 32)))
    low, high = params.encoding.low, params.encoding.high
    for round_id in range(1, 1 + data.draw(st.integers(1, 2))):
        count = data.draw(st.integers(params.min_clients, params.max_participants))
        asked = data.draw(st.permutations(f.ids))[:count]
        gone = {
            phase: lost(data.draw, f.ids, data.draw(st.sampled_from([0, 5, 30])))
            for phase in ("keys", "masked", "reveal")
        }
        f.updates = {name: rng.integers(low, high, params.length, endpoint=True) for name in f.ids}
        weights = {name: int(rng.integers(1, params.max_weight, endpoint=True)) for name in f.ids}
        short = shortage(f, round_id, asked, gone)
        f.server.open_round(round_id, asked)
        try:
            while f.server.phase != "idle":
                phase = f.server.phase
                for name, frames in f.requests().items():
                    if name not in gone[phase]:
                        for frame in frames:
                            f.clients[name].receive(frame)
                        if f.clients[name].awaiting:
                            f.clients[name].submit(f.updates[name], weight=weights[name])
                        for frame in f.clients[name].outbox():
                            assert f.server.receive(frame, sender=name) == name
                f.server.close_phase()
        except ThresholdError:
            assert phase == short, (phase, short)
            event(f"short in {phase}")
            continue
        assert short is None
        result = f.server.result(round_id)
        names = sorted(set(asked) - gone["masked"])
        assert result.contributors == tuple(names) and len(names) >= params.min_clients
        np.testing.assert_array_equal(
            np.asarray(result.sum, object), sum(f.updates[name].astype(object) * weights[name] for name in names)
        )
        assert result.weight == sum(weights[name] for name in names)
        result.receipt.verify(f.roster, params)
        assert not result.blamed
        event("exact")


@st.composite
def planned(draw):
    """What a federation asked `plan` for, and the Params that it got: everybody sits in the committee."""
    clients = draw(st.integers(3, 12))
    wanted = {
        "dropout": draw(st.integers(0, clients - 2)), "corrupt": draw(st.integers(0, clients - 2)),
        "threat": draw(st.sampled_from(["malicious", "semi-honest"])), "max_weight": draw(st.sampled_from([1, 100])),
    }  # fmt: skip
    try:
        params = plan(clients, 40, protocol="oneshot", encoding=Integer(-50, 1000), min_honest=1, **wanted)
    except ParameterError:
        assume(False)
    return wanted, params


def wrong(f, frame):
    """A member's answer with another sum in it, sealed and signed by the member."""
    body, setup = f.body(frame), f.setup
    _, outer = decode_frame(frame, max_bytes=1 << 30)
    place = setup.ids.index(outer.sender)
    pair = f.server._core._state.batch.pair
    key = answer_key(
        pair.agree(setup.bodies[place].channel_key), f.server.session, setup.hash, body.round_id, outer.sender
    )
    plain = bytearray(aead.open_(key, body.sealed, body.account))
    plain[0] ^= 1
    return f.forged(frame, sealed=aead.seal(key, bytes(plain), body.account))


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_plan_survives_the_dropouts_that_it_was_asked_for_wherever_they_happen(data):
    """As many as `dropout`, lost for good in any phase, or in part members that answer wrongly, each of whom counts twice."""
    wanted, params = data.draw(planned())
    assert params.threshold - params.packing >= max(1, wanted["corrupt"])
    f = Committee(params.clients, params=params)
    leaving = data.draw(st.permutations(f.ids))[: wanted["dropout"]]
    liars = leaving[: data.draw(st.integers(0, len(leaving) // 2))]
    leaving = leaving[2 * len(liars) :]
    last = {name: data.draw(st.sampled_from(["keys", "masked", "reveal"])) for name in leaving}
    f.server.open_round(1)
    gone: set[str] = set()
    while f.server.phase != "idle":
        gone |= {name for name in leaving if last[name] == f.server.phase}
        sent = f.hand(f.requests(), gone)
        f.bring(
            [(name, wrong(f, frame) if name in liars and frame[3] == Kind.REVEAL else frame) for name, frame in sent]
        )
        f.server.close_phase()
    result = f.server.result(1)
    f.exact(result, [name for name in f.ids if last.get(name) not in ("keys", "masked")])
    assert sorted(result.blamed) == sorted(liars)
    event(f"{len(leaving)} lost, {len(liars)} wrong")


@settings(max_examples=150, deadline=None)
@given(params=terms())
def test_params_that_hold_have_a_ring_in_which_every_sum_and_its_noise_fit(params):
    """Read back they are the same; and what a member is sent fits a frame."""
    assert Params.from_bytes(params.to_bytes()).hash == params.hash
    plan = params.mask_plan
    for cut in plan.segments:
        ring = cut.ring
        assert isinstance(ring, MaskRing) and 2 * ring.spread << ring.width * ring.per <= ring.q
        assert cut.polynomials == sum(ring.polynomials(stop - start) for _, start, stop in cut)
        assert all(cut.payload_bytes(index) <= max(params.frame_bytes, ring.payload_bytes(1)) for index, _, _ in cut)
    assert params.max_frame_bytes < 1 << 31
