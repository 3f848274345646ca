"""Keys, encryption, sums, decryption (spec of ckks, sections 4, 6 and 7). A ciphertext maps a place to [(c1, c0), ...]."""

from typing import NamedTuple

from reference import ckks_ring as ring
from reference.errors import AbortError, refuse
from reference.hashes import hkdf, u32, u64


def key_pair(settings, seed):
    """Return the secret polynomial and the public key's bytes."""
    N, q = settings.N, settings.q
    s_seed = hkdf(seed, "ckks-secret", length=32)
    of_a, of_s, of_e = (hkdf(s_seed, f"rlwe/{name}", u32(N), u64(q), length=16) for name in "ase")
    s = ring.ternary(of_s, 0, 0, N)
    product = ring.product(ring.uniform(of_a, 0, 0, N, q), s, q)
    b = ring.add(ring.binomial(of_e, 0, 0, N), product, q, sign=-1)
    return s, of_a + ring.pack(b, settings.B)


class PublicKey(NamedTuple):
    """The polynomials a and b."""

    a: list
    b: list


def read_public(settings, data):
    """Return a public key; ValueError for what is none."""
    if len(data) != 16 + settings.N * settings.B // 8:
        raise ValueError("a public key of another length")
    b = ring.unpack(data[16:], settings.B, settings.N, settings.q)
    if not any(b):
        raise ValueError("b is zero")
    return PublicKey(ring.uniform(data[:16], 0, 0, settings.N, settings.q), b)


def encrypt(settings, public, vectors, key, pad):
    """Return the ciphertext of the encoded segments; `pad` is None where none is laid over it."""
    N, q, made = settings.N, settings.q, {}
    for number, vector in enumerate(vectors):
        coefficients = settings.cuts[number].split(vector)
        for index, pieces in enumerate(settings.pieces(number)):
            made[number, index] = []
            for j, start, stop in pieces:
                u, e0, e1 = ring.ternary(key, 0, j * N, N), *(ring.binomial(key, i, j * N, N) for i in (1, 2))
                c1 = ring.add(ring.product(public.a, u, q), e1, q)
                m = [settings.delta * value for value in coefficients[start:stop]]
                c0 = ring.add(ring.add(m, ring.product(public.b, u, q), q), e0, q)
                if pad is not None:
                    c0 = ring.add(c0, ring.uniform(pad, 0, j * N, stop - start, q), q)
                made[number, index].append((c1, c0))
    return made


def to_bytes(settings, polynomials):
    """Return a chunk's payload."""
    return b"".join(ring.pack(c1, settings.B) + ring.pack(c0, settings.B) for c1, c0 in polynomials)


def from_bytes(settings, place, payload):
    """Return a chunk's polynomials; ValueError for a residue of q or more, padding that is not zero, and a c1 of zero."""
    at, made, whole = 0, [], settings.N * settings.B // 8
    for _, start, stop in settings.pieces(place[0])[place[1]]:
        c1 = ring.unpack(payload[at : at + whole], settings.B, settings.N, settings.q)
        if not any(c1):
            raise ValueError("c1 is zero")
        at += whole
        size = -(-(stop - start) * settings.B // 8)
        made.append((c1, ring.unpack(payload[at : at + size], settings.B, stop - start, settings.q)))
        at += size
    return made


def total(settings, ciphertexts):
    """Return the sum of ciphertexts."""
    first, *others = ciphertexts
    made = dict(first)
    for other in others:
        for place, polynomials in other.items():
            made[place] = [
                (ring.add(a1, b1, settings.q), ring.add(a0, b0, settings.q))
                for (a1, a0), (b1, b0) in zip(made[place], polynomials, strict=True)
            ]
    return made


def decrypt(settings, s, ciphertext, pads):
    """Return each segment's sums; AbortError where no honest uploads could have made it."""
    N, q, delta, sums = settings.N, settings.q, settings.delta, []
    for number, each in enumerate(settings.cuts):
        opened = []
        for index, pieces in enumerate(settings.pieces(number)):
            for (j, start, stop), (c1, c0) in zip(pieces, ciphertext[number, index], strict=True):
                v = ring.add(c0, ring.product(c1, s, q), q)
                for pad in pads:
                    v = ring.add(v, ring.uniform(pad, 0, j * N, stop - start, q), q, sign=-1)
                for residue in v:
                    M, over = divmod((residue + delta // 2) % q, delta)
                    refuse(abs(over - delta // 2) > settings.worst, AbortError, "noise of no honest uploads")
                    opened.append(M)
        refuse(max(opened) > settings.tops[number], AbortError, "a sum of no honest uploads")
        values = each.join(opened)
        refuse(max(values) > settings.totals[number], AbortError, "a sum of no honest uploads")
        sums.append(values)
    return sums
