"""costs: sizes in closed form against what the encoder makes of the same values."""

import msgspec
import pytest

from secagg import Params, costs
from secagg.wire import ChunkPlan


@pytest.mark.parametrize("value", [0, 127, 128, 255, 256, 65_535, 65_536, (1 << 32) - 1, 1 << 32])
def test_an_integer_has_the_bytes_of_the_encoder(value):
    assert costs._int(value) == len(msgspec.msgpack.encode(value))


@pytest.mark.parametrize("size", [0, 31, 32, 255, 256, 65_535, 65_536])
def test_bytes_and_text_have_the_bytes_of_the_encoder(size):
    assert costs._bin(size) == len(msgspec.msgpack.encode(bytes(size)))
    if size < 256:
        assert costs._str(size) == len(msgspec.msgpack.encode("x" * size))


@pytest.mark.parametrize("count", [0, 1, 15, 16, 127, 128, 129, 255, 256, 257, 65_535, 65_536, 70_000])
def test_a_list_of_ranks_has_the_bytes_of_the_encoder(count):
    assert costs._ranks(count) == len(msgspec.msgpack.encode(list(range(count))))
    assert costs._numbers(count) == sum(costs._int(value) for value in range(count))


@pytest.mark.parametrize(
    ("count", "w", "frame_bytes"), [(1, 20, 64), (3000, 20, 2048), (100_000, 17, 64), (64, 64, 64)]
)
def test_an_upload_counts_every_frame(count, w, frame_bytes):
    plan = ChunkPlan(count, w, frame_bytes)
    common = {"cohort": 9, "participants": 9, "neighbours": 8, "rounds": 3}
    triple = (plan.chunks, plan.payload_bytes(0), plan.payload_bytes(plan.chunks - 1))
    found = costs.traffic(**common, chunks=[triple]).round_up - costs.traffic(**common, chunks=[]).round_up
    frame = costs.HEADER + 1 + costs._bin(16) + costs._str(16) + costs._int(1) + costs._int(0) + costs._bin(16)
    assert found == sum(frame + costs._int(i) + costs._bin(plan.payload_bytes(i)) for i in range(plan.chunks))


def test_billions_of_frames_are_not_walked():
    cost = Params(clients=10, length=1 << 40, frame_bytes=64).explain().to_dict()
    assert cost["bytes_up_round"] > (1 << 40) * 20 // 8


@pytest.mark.parametrize("way", ["setup_up", "setup_down", "round_down"])
def test_bytes_rise_with_the_cohort(way):
    sizes = [
        getattr(costs.traffic(cohort=n, participants=n, neighbours=n - 1, rounds=2, chunks=()), way)
        for n in (3, 30, 300)
    ]
    assert sizes == sorted(set(sizes))
