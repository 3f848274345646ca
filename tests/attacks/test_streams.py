"""Chunks of an update that leave before its header does: no client masks two things with one seed, whoever is restored or copied.

A chunk under the masks of one set of participants, and the same or another update's under those of another, have one self-mask
in common: where a round later opens that, the difference of the two sets' sums is somebody's update (Pasquini, Francati and
Ateniese, "Eluding secure aggregation in federated learning via model inconsistency", CCS 2022, on what a server gains by telling
clients different things).
"""

import itertools

import numpy as np
import pytest

from secagg.errors import SecAggError
from secagg.protocols.pairwise.messages import Kind, decoders
from secagg.wire import SERVER, Chunk, decode_body, decode_frame, seal_envelope
from support.federation import Federation, fields

PAIRS = list(itertools.product(("stream", "submit"), repeat=2))


def asked(tmp_path=None):
    """A federation whose clients were all sent a request for an update, their states before it, and the requests."""
    f = Federation(5, ledgers=tmp_path, frame_bytes=1 << 12)
    f.server.open_round(1)
    for _ in range(2):
        f.bring(f.hand(f.requests()))
        f.server.close_phase()
    return f, {name: f.clients[name].snapshot() for name in f.ids}, f.requests()


def under(f, frame, participants):
    """The same request for other participants, signed by the server that lies."""
    kind, outer = decode_frame(frame, max_bytes=1 << 30)
    body = decode_body(outer.payload, decoders[Kind(kind)], SERVER)
    return seal_envelope(kind, outer.session, SERVER, fields(body, participants=participants), f.server_key.sign)


def chunks(frames):
    """What leaves of a vector, by place, up to an error."""
    found = {}
    try:
        for frame in frames:
            _, outer = decode_frame(frame, max_bytes=1 << 30)
            if isinstance(outer, Chunk):
                found[outer.segment, outer.index] = bytes(outer.payload)
    except SecAggError:
        pass
    return found


def sent(client, way, update, most=None):
    """What a client lets go of an update, by stream (all, or the first frames) or whole."""
    try:
        if way == "stream":
            return chunks(itertools.islice(client.stream(update), most))
        client.submit(update)
    except SecAggError:
        return {}
    return chunks(client.outbox())


def difference(f, one, other):
    """The lanes of one masked segment less another's, as far as both are there."""
    segment = f.params.segment_plan.segments[1]
    lanes = []
    for payloads in (one, other):
        joined = b"".join(payloads[place] for place in sorted(payloads) if place[0] == 1)
        number = int.from_bytes(joined, "little")
        count = len(joined) * 8 // segment.w
        lanes.append([number >> i * segment.w & (1 << segment.w) - 1 for i in range(count)])
    return [(a - b) % (1 << segment.w) for a, b in zip(*lanes, strict=True)][: segment.count]


def opened(f, one, other, name, update):
    """Whether the difference of two uploads is that of the two updates."""
    if not one or not other:
        return False
    segment = f.params.segment_plan.segments[1]
    wanted = [int(a) - int(b) for a, b in zip(f.updates[name], update, strict=True)]
    return difference(f, one, other) == [each % (1 << segment.w) for each in wanted]


@pytest.mark.parametrize("ways", PAIRS, ids="-".join)
@pytest.mark.parametrize("most", [2, None])
def test_two_copies_on_one_ledger_never_mask_two_updates(tmp_path, ways, most):
    f, old, requests = asked(tmp_path)
    f.clients["c0"].close()
    copies = [f.restore("c0", old["c0"]) for _ in range(2)]
    for copy in copies:
        for frame in requests["c0"]:
            copy.receive(frame)
    other = f.updates["c0"][::-1].copy()
    one, two = (sent(copy, way, update, most) for copy, way, update in
                zip(copies, ways, (f.updates["c0"], other), strict=True))  # fmt: skip
    assert one
    assert two == {}


@pytest.mark.parametrize("ways", PAIRS, ids="-".join)
def test_without_a_ledger_two_copies_give_the_difference_away(ways):
    f, old, requests = asked()
    copies = [f.restore("c0", old["c0"]) for _ in range(2)]
    for copy in copies:
        for frame in requests["c0"]:
            copy.receive(frame)
    other = f.updates["c0"][::-1].copy()
    one, two = (
        sent(copy, way, update) for copy, way, update in zip(copies, ways, (f.updates["c0"], other), strict=True)
    )
    assert opened(f, one, two, "c0", other)


@pytest.mark.parametrize("ways", PAIRS, ids="-".join)
@pytest.mark.parametrize("copied", [False, True])
def test_an_update_is_never_masked_again_for_other_participants(tmp_path, ways, copied):
    f, old, requests = asked(tmp_path)
    fewer = under(f, requests["c0"][-1], [0, 1, 2, 3])
    first = f.clients["c0"]
    if copied:
        first.close()
        first = f.restore("c0", old["c0"])
    first.receive(fewer)
    if copied:
        later = f.restore("c0", old["c0"])
    one = sent(first, ways[0], f.updates["c0"], 2)
    if not copied:
        first.close()
        later = f.restore("c0", old["c0"])
    two = {}
    try:
        for frame in requests["c0"]:
            later.receive(frame)
    except SecAggError:
        later = None
    if later is not None and later.awaiting:
        two = sent(later, ways[1], f.updates["c0"])
    assert one
    assert {place: two[place] for place in two if one.get(place) != two[place]} == {}


def test_without_a_ledger_it_is():
    f, old, requests = asked()
    one = under(f, requests["c0"][-1], [0, 1, 2, 3])
    f.clients["c0"].receive(one)
    again = f.restore("c0", old["c0"])
    for frame in requests["c0"]:
        again.receive(frame)
    first, second = (sent(client, "stream", f.updates["c0"]) for client in (f.clients["c0"], again))
    assert first.keys() == second.keys()
    assert np.any(difference(f, first, second))  # masked differently, with the same seed of its own
