"""Make hint.json from the reference implementation alone.

Run from the root of the repository: `PYTHONPATH=tests python -m vectors.generate_hint`

Values of a message are i * i mod 1009 for i < n, plus the client's number; a client's seed is its number, 32 times.
"""

import hashlib
from pathlib import Path

from reference import hint as reference
from reference import packed, stream
from vectors.generate_kernels import text as written

PATH = Path(__file__).with_name("hint.json")
KEY, PUBLIC = bytes(range(16)), bytes(range(16, 32))
RINGS = {
    "one prime of 50 bits": (2048, 50, 1, 17, 2, 1 << 14),
    "two primes of 52 bits": (4096, 52, 2, 23, 4, 900),
    "three primes of 50 bits": (8192, 50, 3, 23, 6, 1024),
    "three primes of 60 bits": (2048, 60, 3, 26, 6, 1 << 20),
}
NAMES = ("degree", "bits", "primes", "width", "per", "spread")
PRIME = packed.P


def case(op, given, output, error=None, note=""):
    return {"op": op, "input": given, "output": output, "success": error is None, "error": error, "note": note}


def message(n, client):
    return [i * i % 1009 + client for i in range(n)]


def payload(made):
    return {"sha256": hashlib.sha256(made).hexdigest(), "bytes": len(made)}


def numbers(made):
    """Signed numbers of at most 64 bits, as bytes."""
    return {
        "sha256": hashlib.sha256(b"".join(x.to_bytes(8, "little", signed=True) for x in made)).hexdigest(),
        "first": made[:8],
    }


def gaussians():
    limits = [str(t) for t in reference.thresholds()]
    yield case("thresholds", {}, limits, note="floor(2^126 P(|x| >= k)) for k = 1 and on")
    for number, start, count in ((0, 0, 2000), (2**64 - 1, 2**40 + 3, 9)):
        given = {"key": KEY.hex(), "stream_id": number, "start": start, "count": count}
        yield case("gaussian", given, numbers(reference.gaussian(KEY, number, start, count)))


def masks():
    for note, settings in RINGS.items():
        ring = dict(zip(NAMES, settings, strict=True))
        masking = reference.Masking(*settings)
        yield case("moduli", {"bits": ring["bits"], "count": ring["primes"]}, masking.primes)
        count, first, clients = masking.per * 20 + 1, 3, 3
        payloads, total = [], [0] * masking.n
        for client in range(clients):
            seed = bytes([client]) * 32
            secret = masking.secret(seed)
            payloads.append(masking.mask(message(count, client), seed, PUBLIC, first))
            total = [a + b for a, b in zip(total, secret, strict=True)]
        given = {"ring": ring, "seed": bytes(32).hex()}
        yield case("secret", given, numbers(masking.secret(bytes(32))), note=note)
        given |= {"values": message(count, 0), "public": PUBLIC.hex(), "first": first}
        yield case("mask", given, {"payload": payloads[0].hex()}, note=note)
        values, noise = masking.open(payloads, count, total, PUBLIC, first)
        assert values == [3 * (i * i % 1009) + 3 for i in range(count)]
        assert max(map(abs, noise)) < 120
        given = {"ring": ring, "clients": clients, "n": count, "public": PUBLIC.hex(), "first": first}
        yield case("sum", given, values, note=note)
        yield case("sum", given | {"absent": 1}, None, "InputError", "the secret of a client who is not in the sum")
        above = {
            "ring": ring,
            "seed": bytes(32).hex(),
            "values": [0, 1 << masking.width],
            "public": PUBLIC.hex(),
            "first": 0,
        }
        yield case("mask", above, None, "InputError", "a value of more than its width")
    yield from long_masks()


def long_masks():
    note, settings = next(iter(RINGS.items()))
    masking = reference.Masking(*settings)
    ring, count = dict(zip(NAMES, settings, strict=True)), masking.n * masking.per + 5
    given = {"ring": ring, "seed": bytes(32).hex(), "n": count, "public": PUBLIC.hex(), "first": 2**50}
    made = masking.mask(message(count, 0), bytes(32), PUBLIC, 2**50)
    yield case("mask_long", given, payload(made), note=f"{note}, two polynomials")


def refusals():
    """Chunks of five values: three coefficients of 50 bits, that is 19 bytes with two bits of padding."""
    settings = RINGS["one prime of 50 bits"]
    ring, q = dict(zip(NAMES, settings, strict=True)), reference.moduli(50, 1)[0]
    good = reference.pack([1, 2, q - 1], q)
    bad = {
        "a residue of q": reference.pack([1, 2, q], q),
        "every bit set": b"\xff" * len(good),
        "a padding bit": good[:-1] + bytes([good[-1] | 0x80]),
        "a byte too few": good[:-1],
        "a byte too many": good + b"\0",
    }
    yield case(
        "add", {"ring": ring, "n": 5, "payload": good.hex()}, good.hex(), note="added twice is twice, once is once"
    )
    for note, data in bad.items():
        yield case("add", {"ring": ring, "n": 5, "payload": data.hex()}, None, "InputError", note)
    for change in ({"degree": 1024}, {"spread": 1 << 15}, {"per": 3}, {"bits": 61}, {"primes": 9}, {"width": 63}):
        yield case("ring", {"ring": ring | change}, None, "ParameterError")
    for bits, count in ((19, 1), (61, 1), (20, 8), (50, 9)):
        yield case("moduli", {"bits": bits, "count": count}, None, "ParameterError")


def sharings():
    for m, rho, threshold, xs in ((1, 1, 2, [1, 2]), (3, 2, 5, [4, 1, 2, 7, 9, 3, 8]), (2, 4, 5, list(range(1, 10)))):
        secrets = [[pow(7, 1 + i * rho + j, PRIME) for j in range(rho)] for i in range(m)]
        shares = packed.split(secrets, threshold, xs, stream.Source(KEY))
        given = {"secrets": secrets, "threshold": threshold, "xs": xs, "entropy": KEY.hex()}
        yield case("packed_split", given, shares, note="entropy is a keystream")
        opened = {"xs": xs[-threshold:], "shares": shares[-threshold:], "threshold": threshold, "rho": rho}
        yield case("packed_combine", opened, {"secrets": secrets, "wrong": []})
        room = (len(xs) - threshold) // 2
        if room:
            spoilt = [row[:] for row in shares]
            for row in range(room):
                spoilt[2 * row][0] = (spoilt[2 * row][0] + 1) % PRIME
            given = {"xs": xs, "shares": spoilt, "threshold": threshold, "rho": rho}
            yield case("packed_combine", given, {"secrets": secrets, "wrong": [xs[2 * row] for row in range(room)]})
            worse = [*spoilt[:-1], [(v + 1) % PRIME for v in spoilt[-1]]]
            yield case("packed_combine", given | {"shares": worse}, None, "InputError", "one wrong row too many")
    yield case(
        "packed_combine", {"xs": [1], "shares": [[5]], "threshold": 2, "rho": 1}, None, "InputError", "a row too few"
    )
    yield case(
        "packed_combine", {"xs": [1, 2], "shares": [[PRIME], [5]], "threshold": 2, "rho": 1}, None, "InputError", "p"
    )
    given = {"secrets": [[1, 2]], "threshold": 2, "xs": [1, 2, 3], "entropy": KEY.hex()}
    yield case("packed_split", given, None, "InputError", "a threshold that is not above rho")


def digits():
    values = [0, 1, -1, 127, -127, 5, -60, 84, -84]
    for width in (8, 16, 20, 60):
        given = {"values": values, "width": width}
        elements = packed.pack_digits(values, width)
        yield case("pack_digits", given, elements)
        doubled = [2 * e % PRIME for e in elements]
        if width > 8:
            back = {"elements": doubled, "width": width, "count": len(values)}
            yield case("unpack_digits", back, [2 * v for v in values], note="of twice the elements")
    yield case("pack_digits", {"values": [128], "width": 8}, None, "InputError", "2^(width - 1)")
    given = {"elements": [2**59], "width": 20, "count": 3}
    yield case("unpack_digits", given, None, "InputError", "above every sum")
    yield case("unpack_digits", given | {"elements": [PRIME]}, None, "InputError", "p")


def build():
    return {
        "schema": "secagg-vectors/1",
        "source": "tests/vectors/generate_hint.py: the reference implementation, in plain integers",
        "licence": "Apache-2.0",
        "verified_by": "every instruction set and the fallback, in tests/unit/test_kernel_hint_vectors.py",
        "params": {"encoding": "hex; thresholds as decimal strings", "definitions": "docs/spec/hint.md"},
        "cases": [*gaussians(), *masks(), *refusals(), *sharings(), *digits()],
    }


if __name__ == "__main__":
    PATH.write_text(written(build()), encoding="utf-8")
