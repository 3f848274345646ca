"""Clients that spoil their uploads or shares, members that lie about their sums, and members that are set back.

Nobody proves that shares are those of the secret that masked an update, or that its errors are small (docs/threat-model.md): such a
client can spoil a round. What it cannot do is make a wrong sum out of it: the answers contradict each other, the sum of the secrets
is none, the noise is too large, or the check lane says another number than there are survivors.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from secagg import Member
from secagg.errors import AbortError, AuthenticationError, EquivocationError, InputError, PeerError
from secagg.hazmat import field, packed
from secagg.hazmat.hintrlwe import MaskSecret
from secagg.protocols.oneshot import sharing
from secagg.protocols.oneshot.messages import Kind
from support.committee import Committee, lie
from support.openers import Opener

TEN = {"min_clients": 8, "threshold": 8, "packing": 1, "corrupt": 1}
LIAR = "c3"


def spoilt(monkeypatch, spoil, n=5, **changes):
    """A round up to the reveal in which one client's upload is made with `spoil` in effect; and what the server said to it."""
    f, told = Committee(n, **{"min_clients": 3, **changes}), []
    f.until("masked")
    requests = f.requests()
    f.bring(f.hand({name: frames for name, frames in requests.items() if name != LIAR}))
    with monkeypatch.context() as patched:
        spoil(patched, f)
        mine = f.hand({LIAR: requests[LIAR]})
    for name, frame in mine:
        try:
            f.server.receive(frame, sender=name)
        except PeerError as error:
            told.append(error)
    f.server.close_phase()
    return f, told


def never_wrong(f):
    """The round ends in an abort, or in the exact sum of the others; the session goes on."""
    try:
        result = f.finish(1)
    except AbortError as error:
        outcome = error
        with pytest.raises(AbortError):
            f.server.result(1)
    else:
        outcome = result
        f.exact(result, [name for name in f.ids if name != LIAR])
    f.exact(f.round(2), f.ids)
    return outcome


# -- clients ------------------------------------------------------------------------------------------------------------------


def other_secret(patched, f):
    """Its shares are those of another secret than masked its update."""
    honest = MaskSecret.coefficients

    def swapped(secret):
        s = honest(secret)
        return np.roll(s, 1)

    patched.setattr(MaskSecret, "coefficients", swapped)


def one_more(patched, f):
    """Of a secret that is off by one in one coefficient."""
    honest = sharing.seal_shares

    def off(secret, *rest):
        secret = secret.copy()
        secret[7] += 1
        return honest(secret, *rest)

    patched.setattr("secagg.protocols.oneshot.client.seal_shares", off)


def huge_errors(patched, f):
    """Its errors are far beyond the Gaussian's: it adds t times something large to each coefficient."""
    honest = MaskSecret.mask

    def noisy(secret, values, public, first, out=None):
        made = honest(secret, values, public, first, None)
        ring = secret.ring
        words = np.zeros((ring.polynomials(len(values)), ring.primes, ring.degree), object)
        bits = ring.bits
        number = int.from_bytes(made, "little")
        total = words.size
        residues = [number >> bits * at & (1 << bits) - 1 for at in range(len(made) * 8 // bits)]
        for at, residue in enumerate(residues[:total]):
            prime = ring.moduli[at // (len(residues) // ring.primes) % ring.primes]
            if residue < prime:
                residues[at] = (residue + prime // 3) % prime
        joined = sum(residue << bits * at for at, residue in enumerate(residues)).to_bytes(len(made), "little")
        if out is None:
            return joined
        out[:] = joined
        return b""

    patched.setattr(MaskSecret, "mask", noisy)


def one_polynomial(patched, f):
    """One member has a share of another polynomial than the rest."""
    honest = packed.split

    def split(*args):
        shares = honest(*args)
        shares[2] = (shares[2] + np.uint64(1)) % np.uint64(field.P)
        return shares

    patched.setattr(packed, "split", split)


def higher_degree(patched, f):
    """Its polynomials have one coefficient more than the threshold allows."""
    honest = packed.split

    def split(secrets, threshold, xs, *rest):
        return honest(secrets, threshold + 1, xs, *rest)

    patched.setattr(packed, "split", split)


def rubbish_shares(patched, f):
    honest = packed.split

    def split(*args):
        shares = honest(*args)
        rng = np.random.default_rng(3)
        return rng.integers(0, field.P, shares.shape, np.uint64)

    patched.setattr(packed, "split", split)


def too_wide(patched, f):
    """Secrets beyond the digits: within one element they run over into the neighbours'."""
    honest = packed.pack_digits

    def pack(values, width, rho=1):
        elements = honest(values, width, rho)
        elements[0] = np.uint64(field.P // 2)
        return elements

    patched.setattr(packed, "pack_digits", pack)


@pytest.mark.parametrize(
    "spoil", [other_secret, one_more, one_polynomial, higher_degree, rubbish_shares, too_wide], ids=lambda s: s.__name__
)
@pytest.mark.parametrize("spare", [0, 2])
def test_a_client_whose_shares_are_not_of_its_mask_spoils_the_round_and_makes_no_sum(monkeypatch, spoil, spare):
    """Whether members' answers are to spare or not, and however little is wrong."""
    f, told = spoilt(monkeypatch, spoil, 10, **{**TEN, "threshold": 10 - spare})
    assert not told  # nothing that the server could see
    outcome = never_wrong(f)
    if spoil is one_polynomial and spare:
        # All members but one have the same polynomial: its answer looks like a wrong one, and is corrected.
        pytest.fail("c3 is in the sum, and never_wrong must have said so")
    assert isinstance(outcome, AbortError)


def test_a_client_with_huge_errors_spoils_the_round_and_makes_no_sum(monkeypatch):
    f, told = spoilt(monkeypatch, huge_errors)
    outcome = never_wrong(f)
    assert isinstance(outcome, AbortError) and not told
    assert "garbled" in str(outcome)
