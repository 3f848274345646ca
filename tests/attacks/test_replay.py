"""One mask over two updates, and old frames in a new round.

What is masked twice with one keystream gives the difference of the two away, without a key (NIST SP 800-38A, appendix B, on
unique counters; a masking scheme that reuses a round's pad for several vectors has the same fault). Rounds, batches, snapshots,
restarts and rolled-back states are the ways to get there; replays are how a server would have one update in two sums.
"""

import numpy as np
import pytest

from secagg.errors import EquivocationError, InputError, PeerError
from secagg.hazmat.rlwe import Sum, encrypt
from secagg.protocols.pairwise.messages import Kind
from support.encrypted import Encrypted, uploads
from support.federation import Federation, fields
from support.spy import Spy, ask, at_unmask
from support.weak import OneMask, weaken

SETTINGS = {"corrupt": 1, "threshold": 5, "min_clients": 5}
VICTIM = "c1"


def uploads_of(f, rounds):
    """The victim's masked model vector of each round, with the update under it."""
    sent = []
    rng = np.random.default_rng(4)
    for round_id in rounds:
        f.updates = {name: rng.integers(-50, 1001, f.params.length) for name in f.ids}
        f.server.open_round(round_id)
        f.until("masked")
        f.phase(close=False)
        sent.append((np.array(Spy(f, round_id).upload(VICTIM)[1], np.int64), f.updates[VICTIM]))
        f.server.abort()
    return sent


def leaks(f, one, two):
    """Whether two masked vectors differ by just what the updates differ by."""
    width = 1 << f.params.segment_plan.segments[1].w
    return bool(np.array_equal((one[0] - two[0]) % width, (one[1] - two[1]) % width))


def test_one_mask_for_all_rounds_gives_the_difference():
    f = weaken(Federation(7, rounds_per_setup=3, **SETTINGS), OneMask, [VICTIM])
    one, two, three = uploads_of(f, (1, 2, 3))
    assert leaks(f, one, two) and leaks(f, two, three)


@pytest.mark.parametrize("rounds_per_setup", [1, 2, 4], ids=lambda r: f"batches of {r}")
@pytest.mark.parametrize("restarts", [False, True], ids=["one process", "restarted after each phase"])
def test_ours_give_none(memory, rounds_per_setup, restarts):
    """Four rounds, within a batch and over batches: no two of the victim's vectors differ by its updates, in one place even."""
    f = Federation(7, rounds_per_setup=rounds_per_setup, ledgers=memory, **SETTINGS)
    f.restarts = restarts
    sent = uploads_of(f, (1, 2, 3, 4))
    width = 1 << f.params.segment_plan.segments[1].w
    for i, one in enumerate(sent):
        for two in sent[:i]:
            assert not leaks(f, one, two)
            same = (one[0] - two[0] - one[1] + two[1]) % width == 0
            assert same.sum() < 3  # of 37, each by chance once in 2^14


def rolled_back(f):
    """Take an update, set the client back to before it, and ask for the update again, when there is another."""
    f.server.open_round(1)
    f.until("masked")
    client = f.clients[VICTIM]
    client.receive(f.requests()[VICTIM][0])
    snapshot = client.snapshot()
    client.submit(f.updates[VICTIM])
    f.up += [(VICTIM, frame) for frame in client.outbox()]
    first = np.array(Spy(f).upload(VICTIM)[1], np.int64)
    client.close()
    f.clients[VICTIM] = f.restore(VICTIM, snapshot)
    f.clients[VICTIM].submit(f.updates["c2"])
    f.up = [(VICTIM, frame) for frame in f.clients[VICTIM].outbox()]
    second = np.array(Spy(f).upload(VICTIM)[1], np.int64)
    return (first, f.updates[VICTIM]), (second, f.updates["c2"])


def test_a_rolled_back_client_without_a_ledger_masks_two_updates_with_one_mask():
    """As docs/threat-model.md says: this is what it loses."""
    f = Federation(7, **SETTINGS)
    assert leaks(f, *rolled_back(f))


def test_with_a_ledger_the_second_never_leaves(memory):
    f = Federation(7, ledgers=memory, **SETTINGS)
    with pytest.raises(InputError, match="another update"):
        rolled_back(f)
    assert f.clients[VICTIM].outbox() == []


# -- ciphertexts ------------------------------------------------------------------------------------------------------


def test_one_randomness_for_two_vectors_gives_the_difference():
    """The scheme itself, with a key that is used again: c1 comes back, and c0 differs by delta times the difference."""
    f = Encrypted(3)
    f.server.open_round(1)
    f.phase()
    plan, public = f.params.cipher_plan, f.holder._core._state.key.secret.public_key()
    most = (plan.ring.modulus - 1) // plan.delta
    one, two = (np.minimum(np.arange(37) // k, most).astype(np.uint64) for k in (20, 10))
    assert not np.array_equal(one, two)
    a, b = (Sum.from_bytes(plan.ring, 37, encrypt(public, v, plan.delta, b"k" * 16, 0)) for v in (one, two))
    np.testing.assert_array_equal(a.c1, b.c1)
    plan.ring.subtract(b.c0, a.c0)
    np.testing.assert_array_equal(b.c0 // np.uint64(plan.delta), two - one)


@pytest.mark.parametrize("threat", ["malicious", "semi-honest"])
@pytest.mark.parametrize("how", ["rounds", "keys", "restarts", "rolled back"])
def test_ciphertexts_of_one_update_share_nothing(memory, threat, how):
    """The same update in four uploads: no c1 comes back, and c0 differs by what is spread over the modulus, not by noise."""
    ledgers = memory if how == "restarts" else None
    f = Encrypted(3, threat=threat, rounds_per_setup=1 if how == "keys" else 4, ledgers=ledgers)
    f.restarts = how == "restarts"
    plan, sums = f.params.cipher_plan, []
    snapshot = None
    for round_id in range(1, 5):
        if how == "rolled back" and snapshot is not None:
            f.clients[VICTIM] = f.restore(VICTIM, snapshot)
        f.server.open_round(round_id)
        f.until("encrypted")
        _, payloads = uploads(f.hand(f.requests()))
        snapshot = snapshot or f.clients[VICTIM].snapshot()
        sums.append(Sum.from_bytes(plan.ring, plan.segments[1].coefficients(0), payloads[VICTIM][1, 0]))
        f.server.abort()
    q = plan.ring.modulus
    for i, one in enumerate(sums):
        for two in sums[:i]:
            assert np.count_nonzero(one.c1 == two.c1) < 3
            apart = (one.c0.astype(np.int64) - two.c0.astype(np.int64)) % q
            near = np.minimum(apart, q - apart) / q  # uniform on [0, 1/2], were they unrelated
            assert abs(near.mean() - 0.25) < 6 * 0.5 / np.sqrt(12 * len(near))


# -- rounds -----------------------------------------------------------------------------------------------------------


def test_an_upload_of_an_earlier_round_is_in_no_later_sum():
    """Two sums of the same updates, with and without the victim, would give its own: old uploads are refused."""
    f = Federation(7, rounds_per_setup=2, **SETTINGS)
    f.round(1)
    old = list(f.up)
    headers = {name: frame for name, frame in old if frame[3] == Kind.MASKED_HEADER}
    _, bodies, spy = at_unmask(f, 2)
    f.until("unmask")
    for name, frame in old:
        with pytest.raises(PeerError):
            f.server.receive(frame, sender=name)
    for name in f.ids:
        body = bodies[name]
        shown = [headers[other] for other in f.ids if other != VICTIM]
        for lie in (fields(body, headers=shown), fields(body, headers=[*shown[:1], *body.headers[1:]])):
            assert isinstance(ask(f, spy, name, lie), PeerError)
    assert not spy.shares
    assert all(ask(f, spy, name, bodies[name]) is None for name in f.ids)


def test_a_round_that_was_answered_is_answered_no_second_time():
    f = Federation(7, rounds_per_setup=3, **SETTINGS)
    _, bodies, spy = at_unmask(f)
    for name in f.ids:
        assert ask(f, spy, name, bodies[name]) is None
    before = {place: dict(shares) for place, shares in spy.shares.items()}
    for name in f.ids:
        fewer = fields(bodies[name], headers=[h for rank, h in enumerate(bodies[name].headers) if rank != 6])
        assert isinstance(ask(f, spy, name, fewer), EquivocationError)
    f.server.abort()
    f.round(2)
    for name in f.ids:  # nor when the next one is over
        assert isinstance(ask(f, spy, name, bodies[name]), PeerError)
    assert {place: dict(shares) for place, shares in spy.shares.items()} == before
