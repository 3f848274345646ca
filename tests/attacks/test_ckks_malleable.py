"""A corrupt client and the server against an additively homomorphic scheme: what they do under semi-honest, pads do not let them.

Each attack is carried out twice by the same code. Where everybody is trusted to follow the protocol it succeeds, which shows that
the arithmetic is right; under `threat="malicious"` the same frames get an abort, or noise.
"""

import numpy as np
import pytest

from secagg import Integer
from secagg._kernels import aligned_words
from secagg.errors import AbortError
from secagg.hazmat.rlwe import Sum, encrypt
from secagg.wire import HOLDER
from support.encrypted import Encrypted, uploads


def begun(f, name, inbox):
    """A corrupt client's upload, to be filled with whatever it likes; its own pad it knows."""
    f.clients[name].receive(inbox[name][0])
    return f.clients[name]._core.begin_upload(b"")


def padded(f, upload, number, index, total):
    """A ciphertext under the corrupt client's own pad, where there are pads."""
    plan = f.params.cipher_plan
    if upload.pad is not None:
        plan.ring.add_uniform(total.c0, upload.pad, 0, plan.segments[number].number(index))
    return total.to_bytes()


def send(f, name, upload, payloads):
    frames = [upload.chunk(*place, payload) for place, payload in payloads.items()]
    f.bring([(name, frame) for frame in (*frames, upload.finish())])


def encoded(f, name):
    return (f.updates[name] - f.params.encoding.low).astype(np.uint64)


def server_learns(f):
    """The integers the server gets of round 1, or None."""
    f.server.close_phase()
    f.bring(f.hand(f.requests()))
    try:
        f.server.close_phase()
        return f.server.result(1).integer_sum
    except AbortError:
        with pytest.raises(AbortError):
            f.server.result(1)
        return None


# -- minus the others -------------------------------------------------------------------------------------------------


def minus_the_others(f, victim="c3", corrupt="c0"):
    """c0 sends what cancels everybody's upload but c3's, and puts the check lane right."""
    f.server.open_round(1)
    f.phase()
    inbox = f.requests()
    sent = f.hand({name: frames for name, frames in inbox.items() if name != corrupt})
    f.bring(sent)
    _, payloads = uploads(sent)
    plan, mine = f.params.cipher_plan, {}
    upload = begun(f, corrupt, inbox)
    for number, cut in enumerate(plan.segments):
        for index, _, _ in cut:
            total = Sum(plan.ring, cut.coefficients(index))
            for name in f.ids:
                if name not in (victim, corrupt):
                    one = Sum.from_bytes(plan.ring, len(total), payloads[name][number, index])
                    plan.ring.subtract(total.c1, one.c1)
                    plan.ring.subtract(total.c0, one.c0)
            if number == 0:
                plan.ring.add(total.c0, cut.split(np.array([0, 0, 3], np.uint64)) * np.uint64(plan.delta))
            mine[number, index] = padded(f, upload, number, index, total)
    send(f, corrupt, upload, mine)


def test_minus_the_others_opens_one_update_where_clients_are_trusted():
    f = Encrypted(4, threat="semi-honest")
    minus_the_others(f)
    np.testing.assert_array_equal(server_learns(f), encoded(f, "c3"))


@pytest.mark.parametrize("reveal", ["server", "holder"])
def test_minus_the_others_opens_nothing_under_pads(reveal):
    f = Encrypted(4, reveal=reveal)
    minus_the_others(f)
    assert server_learns(f) is None
    assert isinstance(f.errors[HOLDER], AbortError)
    assert f.holder.outbox() == []
    assert not f.results  # nor does the holder know
    f.round(2)
    f.check(f.ids, 2)


# -- the key, read out of a published sum -----------------------------------------------------------------------------

DEGREE, WEIGHT = 2048, 1000


def reading(threat):
    """A federation with one coefficient a value, a whole polynomial of them, and updates that leave room to read a digit."""
    f = Encrypted(
        3, threat=threat, length=DEGREE, encoding=Integer(0, WEIGHT), ring=(DEGREE, 30), rounds_per_setup=2,
        corrupt=1, min_clients=3,
    )  # fmt: skip
    assert [cut.limbs for cut in f.params.cipher_plan.segments] == [1, 1]
    rng = np.random.default_rng(8)
    f.updates = {name: rng.integers(0, WEIGHT // 2, DEGREE) for name in f.ids}
    return f


def read_the_key(f, corrupt="c0"):
    """c0 sends c1 = 1000 delta, c0 = 1000 delta in every place, which opens to 1000 (1 + s): return s and the honest uploads."""
    f.server.open_round(1)
    f.phase()
    inbox = f.requests()
    sent = f.hand({name: frames for name, frames in inbox.items() if name != corrupt})
    f.bring(sent)
    plan = f.params.cipher_plan
    upload = begun(f, corrupt, inbox)
    head = encrypt(upload.public, np.array([1, 0, 1], np.uint64), plan.delta, upload.key, 0, pad=upload.pad)
    crafted = Sum(plan.ring, DEGREE)
    crafted.c1[0, 0] = WEIGHT * plan.delta
    crafted.c0[:] = WEIGHT * plan.delta
    send(f, corrupt, upload, {(0, 0): head, (1, 0): padded(f, upload, 1, 0, crafted)})
    found = server_learns(f)
    assert found is not None
    s = (found // np.uint64(WEIGHT)).astype(np.int64) - 1
    return s, uploads(sent)[1]


def decrypted(f, s, payload):
    """What a ciphertext of the model says to somebody who knows s: the integers, and how near to integers it was."""
    plan = f.params.cipher_plan
    ring, q = plan.ring, plan.ring.modulus
    total = Sum.from_bytes(ring, DEGREE, payload)
    polys = aligned_words(3, DEGREE)
    polys[0], polys[1] = total.c1[0], (s % q).astype(np.uint64)
    ring.forward(polys[:2])
    ring.multiply_add(polys[2:], polys[:1], polys[1:2])
    ring.inverse(polys[2:])
    ring.add(polys[2], total.c0)
    v = (polys[2] + np.uint64(plan.delta // 2)) % np.uint64(q)
    values = v // np.uint64(plan.delta)
    return values, np.abs((v % np.uint64(plan.delta)).astype(np.int64) - plan.delta // 2)


def true_key(f):
    secret = f.holder._core._state.key.secret
    ring = secret.ring
    s = ring.ternary(secret._derive("rlwe/s"), 0, 0, 1)[0].astype(np.int64)
    return np.where(s > 1, s - ring.modulus, s)


def test_a_published_sum_gives_the_key_away_where_clients_are_trusted():
    f = reading("semi-honest")
    s, recorded = read_the_key(f)
    np.testing.assert_array_equal(s, true_key(f))
    for name in ("c1", "c2"):
        values, distance = decrypted(f, s, recorded[name][1, 0])
        np.testing.assert_array_equal(values, encoded(f, name))
        assert distance.max() <= f.params.cipher_plan.worst


def test_under_pads_recorded_uploads_stay_unreadable_even_with_the_key():
    f = reading("malicious")
    s, recorded = read_the_key(f)
    np.testing.assert_array_equal(s, true_key(f))  # pads do not keep the key from them
    f.server.open_round(2)  # the same key goes on
    sent = f.hand(f.requests())
    later = uploads(sent)[1]
    delta = f.params.cipher_plan.delta
    for name in ("c1", "c2"):
        for payload in (recorded[name][1, 0], later[name][1, 0]):
            values, distance = decrypted(f, s, payload)
            # As chance has it: a value is right once in some thousands, the distance from an integer is uniform.
            assert np.count_nonzero(values == encoded(f, name)) < 20
            assert abs(np.mean(distance) / delta - 1 / 4) < 0.02
            assert abs(np.corrcoef(values.astype(float), encoded(f, name).astype(float))[0, 1]) < 0.15
    # with the pad off it is what it was: the pad alone is in the way
    plan = f.params.cipher_plan
    core = f.clients["c1"]._core
    pad, _ = core._pad(core._state.basis, f.server.session, 2, core._state.round.seed)
    total = Sum.from_bytes(plan.ring, DEGREE, later["c1"][1, 0])
    plan.ring.add_uniform(total.c0, pad, 0, plan.segments[1].first, subtract=True)
    np.testing.assert_array_equal(decrypted(f, s, total.to_bytes())[0], encoded(f, "c1"))
    f.bring(sent)
    f.server.close_phase()
    f.phase()
    f.check(f.ids, 2)


# -- garbage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reveal, threat", [("server", "malicious"), ("holder", "malicious"), ("server", "semi-honest")]
)
def test_a_garbled_upload_aborts_the_round_and_releases_nothing(reveal, threat):
    """Random residues, well signed: a client can spoil a sum, as one can that lies about its update; it learns nothing by it."""
    f = Encrypted(5, reveal=reveal, threat=threat)
    f.server.open_round(1)
    f.phase()
    inbox = f.requests()
    f.bring(f.hand({name: frames for name, frames in inbox.items() if name != "c0"}))
    upload, plan, rng = begun(f, "c0", inbox), f.params.cipher_plan, np.random.default_rng(1)
    garbage = {}
    for number, cut in enumerate(plan.segments):
        for index, _, _ in cut:
            total = Sum(plan.ring, cut.coefficients(index))
            total.c1[:] = rng.integers(0, plan.ring.modulus, total.c1.shape, dtype=np.uint64)
            total.c0[:] = rng.integers(0, plan.ring.modulus, total.c0.shape, dtype=np.uint64)
            garbage[number, index] = total.to_bytes()
    send(f, "c0", upload, garbage)
    assert server_learns(f) is None
    assert isinstance(f.errors[HOLDER], AbortError)
    f.round(2)
    f.check(f.ids, 2)
