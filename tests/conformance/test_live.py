"""The reference takes a client's place, the server's, and every place at once, in sessions with the engine."""

from types import SimpleNamespace

import pytest

from reference import frames
from reference.errors import AbortError, EquivocationError
from secagg import FixedPoint, Params
from support.live import ENCODINGS, Live, Step, spoil

SIX = [f"c{i}" for i in range(6)]
NINE = [f"c{i}" for i in range(9)]
FULL = Params(clients=6, corrupt=1, threshold=4, min_clients=4, rounds_per_setup=2, **ENCODINGS)
SPARSE = Params(
    clients=9, corrupt=0, threshold=3, min_clients=5, min_cohort=8, neighbours=6, threat="semi-honest",
    rounds_per_setup=3, **ENCODINGS,
)  # fmt: skip


def but(ids, *names):
    return [name for name in ids if name not in names]


# c2 is the one whose place the reference takes.
def on_the_full_graph(part):
    """Six rounds over three setups: c2 unsampled, lied to by a dealer, silent for a round, and back again."""
    return [
        Step(1, {"unmask": ["c0"]}, torn=["c4"], survivors=but(SIX, "c4")),
        Step(2, {"masked": ["c1"]}, participants=but(SIX, "c2"), survivors=["c0", "c3", "c4", "c5"]),
        Step(
            3, {"shares": ["c4"]}, tamper={("c5", frames.DEALING): spoil("c5", 2, part)}, survivors=but(SIX, "c4"),
        ),
        Step(4, {"masked": ["c2"]}, survivors=but(SIX, "c2", "c4")),
        Step(5, {"keys": ["c1"], "masked": ["c3"]}, survivors=["c0", "c2", "c4", "c5"]),
        Step(6, participants=["c0", "c2", "c4", "c5"], survivors=["c0", "c2", "c4", "c5"]),
    ]  # fmt: skip


def on_the_sparse_graph():
    """Six rounds over two setups."""
    return [
        Step(1, {"shares": ["c7"], "masked": ["c1"]}, contexts={"c6": b"another"}, survivors=but(NINE, "c1", "c6", "c7")),
        Step(2, {"masked": ["c2"]}, participants=but(NINE, "c0"), survivors=but(NINE, "c0", "c2", "c7")),
        Step(3, {"unmask": ["c3"]}, torn=["c4"], survivors=but(NINE, "c4", "c7")),
        Step(4, {"keys": ["c1"]}, participants=but(NINE, "c2"), survivors=but(NINE, "c1", "c2")),
        Step(5, {"masked": ["c8"]}, survivors=but(NINE, "c1", "c8")),
        Step(6, participants=but(NINE, "c8", "c5"), survivors=but(NINE, "c1", "c5", "c8")),
    ]  # fmt: skip


def only(*names):
    return lambda name: "reference" if name in names else "engine"


SEATS = {
    "the reference for one client": {"server": "engine", "clients": only("c2")},
    "the reference for the server": {"server": "reference"},
    "the reference for both": {"server": "reference", "clients": only("c2")},
    "both in every seat": {"server": "twin", "clients": lambda name: "twin"},
}


@pytest.mark.parametrize("part", ["box", "root"])
@pytest.mark.parametrize("seats", SEATS)
def test_sessions_on_the_full_graph(seats, part):
    live = Live(FULL, SIX, **SEATS[seats])
    for step in on_the_full_graph(part):
        live.run(step)
        assert live.refused == []
    # The victim of the bad share said so, in each frame of that setup from then on, and nobody else had to.
    assert live.complained == {("c2", (5,))}
    keys = [live.kinds[name, frames.ADVERTISEMENT] for name in SIX]
    assert keys == [3, 2, 3, 3, 3, 3]
    assert live.kinds["c2", frames.HEADER] == 4  # not sampled in one round, silent in another


@pytest.mark.parametrize("seats", SEATS)
def test_sessions_on_a_sparse_graph(seats):
    live = Live(SPARSE, NINE, **SEATS[seats])
    for step in on_the_sparse_graph():
        live.run(step)
        assert live.refused == []
    assert live.kinds["c0", frames.ADVERTISEMENT] == 2
    assert live.kinds["c0", frames.HEADER] == 5
    assert live.kinds["c0", frames.UNMASK] == 6


def test_both_round_stochastically_from_the_same_keystream():
    drawn = ENCODINGS | {"encoding": FixedPoint(clip=2, bits=12)}
    params = Params(clients=6, corrupt=1, threshold=4, min_clients=4, **drawn)
    live = Live(params, SIX, server="twin", clients=lambda name: "twin")
    live.run(Step(4, {"masked": ["c3"], "unmask": ["c5"]}, survivors=but(SIX, "c3")))
    live.run(Step(6, participants=SIX[:-1], survivors=SIX[:-1]))


def test_a_dealer_whom_nobody_could_open_is_left_out_of_later_rounds():
    live = Live(FULL, SIX, server="twin", clients=lambda name: "twin")

    def spoiled(frame):
        for place in (0, 1, 2):
            frame = spoil("c5", place, "box")(frame)
        return frame

    # Three of six hold bad shares of c5: its round cannot be opened, and the next goes on without it.
    step = Step(1, tamper={("c5", frames.DEALING): spoiled})
    with pytest.raises(AbortError):
        live.run(step)
    assert live.server.phase == "idle"
    live.run(Step(2, survivors=but(SIX, "c5")))
    assert live.complained == {(name, (5,)) for name in ("c0", "c1", "c2")}


def test_a_holder_that_sends_a_wrong_share_is_named_by_both():
    live = Live(FULL, SIX, server="twin")
    live.server.open_round(1)
    while live.server.phase != "unmask":
        inbox = live.server.outbox()
        for name in SIX:
            live.carry(Step(1), name, [frame for to, frame in inbox if to in (None, name)])
        live.server.close_phase()
    inbox = dict(live.server.outbox())
    core = live.clients["c0"].client._core._state.batch
    share = core.holdings[3].shares[0]
    core.holdings[3].shares[0] = bytes([share[0] ^ 1]) + share[1:]
    for name in SIX:
        live.carry(Step(1), name, [inbox[name]])
    live.server.close_phase()
    engine, reference = live.server.result(1)
    assert set(engine.blamed) == set(reference.blamed) == {"c0"}
    assert reference.sums[1] == engine._decoded._sums[1].tolist()


def test_more_clipped_values_than_there_are_values_abort_the_round():
    live = Live(FULL, SIX, server="twin", clients=only("c2"))
    honest, most = live.settings.encode, 6 * 37  # 16 reals, 20 counts, 1 metric; nothing of the head counts

    def garbled(values, weight, metrics, key):
        vectors = honest([0] * len(values), weight, metrics, key)
        vectors[0][1] = claimed
        return vectors

    live.update = lambda name, round_id: ([0] * 36, 1, [0.0])
    live.clients["c2"].settings = SimpleNamespace(**vars(live.settings), encode=garbled, chunks=live.settings.chunks)
    claimed = most
    live.run_to_the_end(Step(1))
    engine, reference = live.server.result(1)
    assert engine.clipped == reference.sums[0][1] == most
    claimed = most + 1
    with pytest.raises(AbortError):
        live.run_to_the_end(Step(2))


def test_a_second_delivery_is_compared_also_in_the_round_in_progress():
    live = Live(FULL, SIX, server="reference", clients=lambda name: "twin")
    live.server.open_round(1)
    while live.server.phase != "masked":
        inbox = live.server.outbox()
        for name in SIX:
            live.carry(Step(1), name, [frame for to, frame in inbox if to in (None, name)])
        live.server.close_phase()
    frame = dict(live.server.outbox())["c2"]
    live.clients["c2"].receive(frame)
    body = frames.body(frame)
    body[3][0] = body[3][0][:-1]
    with pytest.raises(EquivocationError):
        live.clients["c2"].receive(live.server._sign(frames.MASKED_REQUEST, body))
