"""Brute force over mask seeds, and how much entropy they have as they come out of the protocol.

A mask is as strong as its seed: a generator that folds a long secret to 32 bits can be searched (a public report of one:
flwrlabs/flower issue 7522, July 2026). One known word tells the right candidate; here it is the check lane of the head, which is
1 in every upload.

What statistics can show is a lower bound: among N independent draws from M equally likely seeds about N^2 / 2M pairs collide, so
that no pair at all speaks against any M much below N^2. The rest is where the bytes come from, which is tested too.
"""

import hashlib
import os
from collections import Counter

import numpy as np
import pytest

from reference import frames, stream
from secagg.protocols.pairwise import PairwiseClient, unmasking
from secagg.protocols.pairwise.messages import participants_digest
from support.encrypted import Encrypted
from support.federation import Federation
from support.measure import deviation
from support.spy import SEED, ask, at_unmask
from support.weak import ShortSeeds, weaken

VICTIM = "c1"


# -- the search -------------------------------------------------------------------------------------------------------


def searched(f, candidates, fold=bytes):
    """Run a round of three; take off what the server may open and what corrupt c0 knows; search for the one mask that is left."""
    _, bodies, spy = at_unmask(f)
    spy.corrupt("c0")
    for name in f.ids:
        assert ask(f, spy, name, bodies[name]) is None
    setup = spy.setup
    view = participants_digest(setup.setup_hash, 1, setup.names([0, 1, 2]))
    shared = frames.agree(spy.keys[0], setup.mask_key(1, 1))
    known = [(fold(spy.secret(SEED, 1)), 1), (fold(unmasking.pair_seed(shared, setup, 1, view, 0, 1)), -1)]
    lane = spy.upload(VICTIM)[0][2] - sum(sign * stream.mask(key, 0, 64, 3)[2] for key, sign in known)
    for key in candidates():
        if stream.mask(key, 0, 64, 3)[2] == (lane - 1) % 2**64:
            return spy.unmasked(VICTIM, [*known, (key, 1)])
    return None


def short_seeds():
    return map(ShortSeeds.candidate, range(2**ShortSeeds.BITS))


def three():
    return Federation(3, threat="semi-honest", corrupt=1, threshold=3, min_clients=3)


def test_a_seed_of_sixteen_bits_is_found():
    f = weaken(three(), ShortSeeds, ["c1", "c2"])
    assert searched(f, short_seeds, ShortSeeds.folded) == (f.updates[VICTIM] - f.params.encoding.low).tolist()


def test_no_short_candidate_fits_ours():
    """The search is the same; what it would take is the one true seed of 128 bits among the candidates."""
    f, told = three(), {}
    real = PairwiseClient.begin_upload

    def begin(core, context):
        upload = real(core, context)
        told[core._state.me] = upload.keys
        return upload

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(PairwiseClient, "begin_upload", begin)
        assert searched(f, lambda: [*short_seeds(), *map(ShortSeeds.folded, told[VICTIM])]) is None
        g = three()
        found = searched(g, lambda: told[VICTIM])
    assert found == (g.updates[VICTIM] - g.params.encoding.low).tolist()


# -- entropy ----------------------------------------------------------------------------------------------------------


def drawn(clients, rounds):
    """Every self-mask seed and every private mask key that `clients` draw for one setup of `rounds` rounds."""
    f = Federation(clients, rounds_per_setup=rounds)
    f.server.open_round(1)
    for name, requests in f.requests().items():
        f.clients[name].receive(requests[0])
    batches = [f.clients[name]._core._state.batch for name in f.ids]
    return [seed for batch in batches for seed in batch.seeds], [
        pair.private_bytes() for batch in batches for pair in batch.mask_pairs
    ]


def used(rounds):
    """Every seed that masked an upload, self masks and pair masks, over rounds, samples, batches and restarts."""
    f = Federation(8, rounds_per_setup=5, max_participants=7, threshold=7, min_clients=5)
    real, seeds = PairwiseClient.begin_upload, []

    def begin(core, context):
        upload = real(core, context)
        seeds.append((core._state.round.round_id, upload.keys))
        return upload

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(PairwiseClient, "begin_upload", begin)
        for round_id in range(1, rounds + 1):
            f.round(round_id, participants=[name for i, name in enumerate(f.ids) if i != round_id % 8])
            if round_id % 7 == 0:
                f.restart()
    return seeds


def collisions(seeds):
    return len(seeds) - len(set(seeds))


def test_the_measure_finds_short_and_uneven_seeds():
    rng = np.random.default_rng(0)
    expanded = [hashlib.sha256(rng.bytes(3)).digest()[:16] for _ in range(24_000)]  # 24 bits, however long they look
    assert deviation(expanded) < 6
    assert collisions(expanded) > 5
    assert deviation([bytes(12) + rng.bytes(4) for _ in range(1000)]) > 6
    assert deviation([bytes([b & 0xFE for b in rng.bytes(16)]) for _ in range(1000)]) > 6


def test_drawn_seeds_and_keys_are_distinct_and_even():
    """24,576 of each: 24-bit seeds would show 18 pairs, and 27-bit ones 2."""
    for secrets, size in zip(drawn(6, 4096), (16, 32), strict=True):
        assert len(secrets) == 6 * 4096
        assert {len(secret) for secret in secrets} == {size}
        assert collisions(secrets) == collisions([secret[:8] for secret in secrets]) == 0
        assert deviation(secrets) < 6


@pytest.mark.slow
def test_drawn_seeds_are_of_more_than_32_bits():
    """262,144 of them: 32-bit seeds would show 8 pairs, and none with a chance of 1 in 2,980."""
    seeds, _ = drawn(64, 4096)
    assert collisions(seeds) == 0
    assert deviation(seeds) < 6


def test_used_seeds_serve_one_pair_and_one_round_and_are_even():
    """A pair's seed is on two uploads of one round, with opposite signs; nothing else ever comes twice."""
    seeds = used(40)
    times = Counter(key for _, keys in seeds for key in keys)
    rounds = {key: {r for r, keys in seeds if key in keys} for key in times}
    assert len(times) == 40 * (7 + 7 * 6 // 2)
    assert sorted(Counter(times.values()).items()) == [(1, 40 * 7), (2, 40 * 21)]
    assert all(len(each) == 1 for each in rounds.values())
    assert {len(key) for key in times} == {16}
    assert deviation(list(times)) < 6
    assert collisions([key[:8] for key in times]) == 0


@pytest.mark.parametrize("kind", [Federation, Encrypted])
def test_all_parties_draw_from_the_operating_system(kind):
    """As much as the keys and seeds of a setup take, and nothing in place of it."""
    f = kind(3)
    cores = [f.clients["c0"]._core._state, *([f.holder._core._state] if kind is Encrypted else [])]
    assert all(core.entropy is os.urandom for core in cores)
    if kind is Federation:
        assert f.server._core._entropy is os.urandom
    asked = []

    def recorded(length):
        asked.append(length)
        return os.urandom(length)

    for core in cores:
        core.entropy = recorded
    f.server.open_round(1)
    f.until("masked" if kind is Federation else "encrypted")
    f.hand(f.requests())
    assert asked == ([32, 32, 16, 32, 32] if kind is Federation else [32, 32])
