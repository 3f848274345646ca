"""One lattice secret over two messages, and what an opened sum leaves hidden.

Two messages under one s and one a differ by the updates' difference and some small errors, which the ring was made to take off:
the same fault as a keystream over two texts (NIST SP 800-38A, appendix B). Crashes, rolled-back states, copies of a client,
streams that broke off and other participants are the ways to get there.
"""

import itertools

import numpy as np
import pytest

from secagg.errors import InputError, PeerError, SecAggError
from secagg.hazmat.hintrlwe import MaskedSum, MaskSecret
from secagg.hintmasks import HintMasking
from secagg.protocols.oneshot.messages import Kind
from secagg.wire import Chunk, decode_frame
from support.committee import Committee

WAYS = ("submit", "stream")
PAIRS = list(itertools.product(WAYS, repeat=2))


# -- one secret, two messages -----------------------------------------------------------------------------------------


def masked(frames):
    """The masked chunks of an upload by place, up to an error."""
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
            return masked(itertools.islice(client.stream(update), most))
        client.submit(update)
    except SecAggError:
        return {}
    return masked(client.outbox())


def difference(f, one, other):
    """The model's values of one masked upload less another's, as the ring gives them without any secret; None if it does not."""
    cut = f.params.mask_plan.segments[1]
    if (1, 0) not in one or (1, 0) not in other:
        return None
    total = MaskedSum.from_bytes(cut.ring, cut.count, one[1, 0])
    total.subtract(other[1, 0])
    try:
        opened = total.open(np.zeros(cut.ring.degree, np.int64), bytes(16), cut.number(0))
    except InputError:
        return None
    width = 1 << cut.ring.width
    return [(int(v) + width // 2) % width - width // 2 for v in opened]


def leaks(f, one, other, update, second):
    """Whether some value of the difference of the updates shows in that of the uploads. Borrows may change one by 1."""
    found = difference(f, one, other)
    if found is None:
        return False
    wanted = [int(a) - int(b) for a, b in zip(update, second, strict=True)]
    return sum(abs(a - b) <= 1 for a, b in zip(found, wanted, strict=True)) > len(wanted) // 2


def asked(ledgers=None, **changes):
    """A federation in the masked phase: a snapshot of c0 before the request, the request, and two updates."""
    f = Committee(5, corrupt=1, min_clients=4, ledgers=ledgers, **changes)
    f.until("masked")
    old, frame = f.clients["c0"].snapshot(), f.asked(Kind.MASKED_REQUEST)["c0"]
    return f, old, frame, f.updates["c0"][::-1].copy()


@pytest.mark.parametrize("errors", ["the same errors", "other errors"])
def test_one_secret_for_two_messages_gives_the_difference(monkeypatch, errors):
    """The scheme itself: the same seed, and with it e; or the same s with an e of its own."""
    f = Committee(5)
    cut, seed, public = f.params.mask_plan.segments[1], bytes(range(32)), bytes(16)
    one, two = (np.arange(37, dtype=np.uint16) * k % 999 for k in (5, 7))
    first, second = MaskSecret(cut.ring, seed), MaskSecret(cut.ring, seed)
    if errors == "other errors":
        second._error_key = bytes(16)
    payloads = [{(1, 0): secret.mask(v, public, cut.first)} for secret, v in ((first, one), (second, two))]
    assert leaks(f, *payloads, one, two)
    assert not leaks(f, payloads[0], {(1, 0): MaskSecret(cut.ring, bytes(32)).mask(two, public, cut.first)}, one, two)


def test_a_client_that_keeps_its_secret_over_rounds_gives_the_difference():
    """The checker can lose: a client of the engine whose every seed is the same, with a public seed that repeats."""
    f = Committee(5, corrupt=1, min_clients=4, rounds_per_setup=2)
    uploads = []
    for round_id, update in ((1, f.updates["c0"]), (2, f.updates["c1"])):
        f.until("masked", round_id)
        client = f.clients["c0"]
        client.receive(f.asked(Kind.MASKED_REQUEST)["c0"])
        upload = client._core.begin_upload(b"")
        upload.seed, upload.public = bytes(32), bytes(16)
        source = f.params.segment_plan.open(update, 1, None, upload.rounding_key)
        bulk = HintMasking(f.params, client._bulk._workers)
        uploads.append(masked(frame for frame, _ in bulk.segment(source, 1, upload)))
        f.server.abort()
    assert leaks(f, *uploads, f.updates["c0"], f.updates["c1"])


@pytest.mark.parametrize("ways", PAIRS, ids="-".join)
@pytest.mark.parametrize("most", [2, None])
@pytest.mark.parametrize("ledger", [True, False], ids=["ledger", "no ledger"])
@pytest.mark.parametrize("when", ["before the request", "after it"])
def test_two_copies_never_mask_two_updates_with_one_secret(tmp_path, ways, most, ledger, when):
    """Rolled back, or copied, to before anything left: with a ledger nothing follows, without one it has another secret."""
    f, old, frame, other = asked(tmp_path if ledger else None)
    if when == "after it":
        f.clients["c0"].receive(frame)
        old = f.clients["c0"].snapshot()
    f.clients["c0"].close()
    copies = [f.restore("c0", old) for _ in range(2)]
    if when == "before the request":
        for copy in copies:
            copy.receive(frame)
    one, two = (
        sent(copy, way, update, most)
        for copy, way, update in zip(copies, ways, (f.updates["c0"], other), strict=True)
    )  # fmt: skip
    assert one
    if ledger:
        assert two == {}
    assert not leaks(f, one, two, f.updates["c0"], other)


@pytest.mark.parametrize("ways", PAIRS, ids="-".join)
@pytest.mark.parametrize("ledger", [True, False], ids=["ledger", "no ledger"])
def test_a_state_that_holds_a_secret_holds_which_update_it_is_for(tmp_path, ways, ledger):
    """Copies of a state after something left share its secret: each sends that update again, byte for byte, and no other."""
    f, _, frame, other = asked(tmp_path if ledger else None)
    client = f.clients["c0"]
    client.receive(frame)
    one = sent(client, ways[0], f.updates["c0"], 2 if ways[0] == "stream" else None)
    snapshot = client.snapshot()
    client.close()
    for copy in range(2):
        again = f.restore("c0", snapshot)
        if (
            copy and ledger and ways[0] == "stream"
        ):  # the whole of it has left since, as the ledger knows: nothing more does
            with pytest.raises(PeerError):
                again.receive(frame)
            continue
        again.receive(frame)
        assert sent(again, ways[1], other) == {}
        whole = sent(again, ways[1], f.updates["c0"])
        assert {place: whole[place] for place in one} == one
        again.close()


@pytest.mark.parametrize("ledger", [True, False], ids=["ledger", "no ledger"])
def test_another_model_under_one_secret_is_another_update(tmp_path, ledger):
    f, _, frame, _ = asked(tmp_path if ledger else None)
    client = f.clients["c0"]
    client.receive(frame)
    assert len(list(itertools.islice(client.stream(f.updates["c0"], context=b"one model"), 1))) == 1
    for make in (client.stream, client.submit):
        with pytest.raises(InputError):
            list(make(f.updates["c0"], context=b"another") or ())
    assert list(client.stream(f.updates["c0"], context=b"one model"))


@pytest.mark.parametrize("ledger", [True, False], ids=["ledger", "no ledger"])
def test_other_participants_or_rounds_have_other_secrets(tmp_path, ledger):
    f, old, frame, _ = asked(tmp_path if ledger else None, rounds_per_setup=3)
    fewer = f.forged(frame, participants=[0, 1, 2, 3])
    later = f.forged(frame, round_id=2)
    found = []
    for request in (frame, fewer, later):
        f.clients["c0"].close()
        f.clients["c0"] = f.restore("c0", old)
        try:
            f.clients["c0"].receive(request)
        except SecAggError:
            continue
        found.append(sent(f.clients["c0"], "submit", f.updates["c0"]))
    assert len(found) == (
        2 if ledger else 3
    )  # the ledger knows of the first, and that nothing else of its round may leave
    for one, two in itertools.combinations(found, 2):
        assert not leaks(f, one, two, f.updates["c0"], f.updates["c0"])
        assert not set(one.values()) & set(two.values())


@pytest.mark.parametrize("restarts", [False, True], ids=["one process", "restarted after each phase"])
@pytest.mark.parametrize("rounds_per_setup", [1, 4], ids=lambda r: f"batches of {r}")
def test_rounds_share_no_secret(tmp_path, rounds_per_setup, restarts):
    f = Committee(5, corrupt=1, min_clients=4, rounds_per_setup=rounds_per_setup, ledgers=tmp_path)
    f.restarts = restarts
    uploads = []
    for round_id in range(1, 5):
        f.up = []
        f.exact(f.round(round_id), f.ids)
        uploads.append({name: masked(frame for who, frame in f.up if who == name) for name in f.ids})
    everything = [payload for upload in uploads for mine in upload.values() for payload in mine.values()]
    assert len(set(everything)) == len(everything)
    for one, two in itertools.combinations(uploads, 2):
        assert not leaks(f, one["c0"], two["c0"], f.updates["c0"], f.updates["c0"])


def test_an_opened_sum_leaves_every_upload_masked(monkeypatch):
    """With the sum of all secrets public and all uploads at hand, no upload opens with it, nor with a fraction of it."""
    f = Committee(5, corrupt=1, min_clients=4)
    f.until("reveal")
    sums, taken, open_ = [], {}, MaskedSum.open

    def spied(total, secret_sum, public, first):
        sums.append(secret_sum.copy())
        taken[first] = public
        return open_(total, secret_sum, public, first)

    monkeypatch.setattr(MaskedSum, "open", spied)
    f.exact(f.finish(1), f.ids)
    monkeypatch.undo()
    cut, uploads = f.params.mask_plan.segments[1], [masked(g for who, g in f.up if who == name) for name in f.ids]
    for upload, name in zip(uploads, f.ids, strict=True):
        for guess in (sums[0], sums[0] // 5, np.zeros_like(sums[0])):
            total = MaskedSum.from_bytes(cut.ring, cut.count, upload[1, 0])
            try:
                opened = total.open(guess, taken[cut.first], cut.first).astype(np.int64) - 50
            except InputError:
                continue
            assert (opened == f.updates[name]).sum() < 5
