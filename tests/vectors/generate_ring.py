"""Make ring.json from the reference implementation alone.

Run from the root of the repository: `PYTHONPATH=tests python -m vectors.generate_ring`

Long results are given as the SHA-256 of their packed form, coefficient of X^0 first, with the first four coefficients in clear;
`values` of a message are i * i mod 1009 for i < n.
"""

import hashlib
import json
from pathlib import Path

from reference import ring as reference

PATH = Path(__file__).with_name("ring.json")
N = 1024
MODULI = {20: 1032193, 43: 8796092858369, 50: 1125899906826241, 51: 2251799813554177, 61: 2305843009213317121}
KEY, PAD, SEED_A = (bytes(range(i, i + 16)) for i in (0, 16, 32))
SEED = bytes(range(64, 96))


def digest(residues, q):
    return {"sha256": hashlib.sha256(reference.pack(residues, q)).hexdigest(), "first": residues[:4]}


def message(n):
    return [i * i % 1009 for i in range(n)]


def case(op, given, output, error=None, note=""):
    return {"op": op, "input": given, "output": output, "success": error is None, "error": error, "note": note}


def samples(q):
    for name in ("uniform", "ternary", "binomial"):
        for stream, index in ((0, 0), (2**64 - 1, 2**40 + 1)):
            made = getattr(reference, name)(KEY, stream, index, N, q)
            given = {"modulus": q, "key": KEY.hex(), "stream_id": stream, "index": index}
            yield case(name, given, digest(made, q))


def products(q):
    a, b = (reference.uniform(KEY, stream, 0, N, q) for stream in (1, 2))
    given = {"modulus": q, "key": KEY.hex(), "streams": [1, 2]}
    yield case(
        "product", given, digest(reference.multiply(a, b, q), q), note="of polynomial 0 of both streams, uniform"
    )


def transforms(q):
    psi = reference.smallest_root(N, q)
    a = reference.uniform(KEY, 1, 0, N, q)
    yield case("root", {"modulus": q}, psi)
    given = {"modulus": q, "key": KEY.hex(), "stream_id": 1}
    yield case("transform", given, digest(reference.transform(a, psi, q), q))


def payload(made):
    return {"sha256": hashlib.sha256(made).hexdigest(), "bytes": len(made)}


def encryptions(q):
    key, n, delta = reference.Key(N, q, SEED), N + 5, q // 4096
    yield case("public_key", {"modulus": q, "seed": SEED.hex()}, payload(key.public()))
    given = {"modulus": q, "seed": SEED.hex(), "n": n, "delta": delta, "key": KEY.hex(), "first": 3}
    plain = key.encrypt(message(n), delta, KEY, 3)
    padded = key.encrypt(message(n), delta, KEY, 3, PAD)
    seeded = key.encrypt_seeded(message(n), delta, KEY, 3, SEED_A)
    yield case("encrypt", given, payload(plain))
    yield case("encrypt", given | {"pad": PAD.hex()}, payload(padded))
    yield case("encrypt_seeded", given | {"seed_a": SEED_A.hex()}, payload(seeded))
    values, worst = key.decrypt(*reference.split(plain, n, N, q), delta)
    assert (values == message(n)) == (q > 2**30)  # at 20 bits the noise is larger than delta
    made = digest(values, q) | {"worst": worst}
    yield case("decrypt", given, made, note="of the payload of `encrypt` with this input")
    above = {
        "modulus": q,
        "seed": SEED.hex(),
        "values": [(q - 1) // delta + 1],
        "delta": delta,
        "key": KEY.hex(),
        "first": 0,
    }
    yield case("encrypt", above, None, "InputError", "a value above (q - 1) // delta")


def refusals(q):
    """Payloads of three values: c1 of one polynomial, then three residues."""
    bits = q.bit_length()
    ones = reference.pack([1] * N, q)
    residues = reference.pack([1, 2, q - 1], q)
    bad = {
        "a residue of q": ones + reference.pack([1, 2, q], q),
        "a residue of q in c1": reference.pack([q] + [1] * (N - 1), q) + residues,
        "every bit set in c1": b"\xff" * len(ones) + residues,
        "c1 all zero": bytes(len(ones)) + residues,
        "a padding bit": ones + residues[:-1] + bytes([residues[-1] | 0x80]),
        "a byte too few": ones + residues[:-1],
        "a byte too many": ones + residues + b"\0",
    }
    yield case("add", {"modulus": q, "n": 3, "payload": (ones + residues).hex()}, {"c0": [1, 2, q - 1]})
    for note, data in bad.items():
        if note == "a padding bit" and 3 * bits % 8 == 0:
            continue
        yield case("add", {"modulus": q, "n": 3, "payload": data.hex()}, None, "InputError", note)
    for note, data in {
        "b all zero": PAD + bytes(N * bits // 8),
        "b with a residue of q": PAD + reference.pack([1] * (N - 1) + [q], q),
        "a byte too few": PAD + ones[:-1],
    }.items():
        yield case("public_key_bytes", {"modulus": q, "data": data.hex()}, None, "DecodeError", note)


def build():
    cases = []
    for q in MODULI.values():
        cases += [*samples(q), *products(q), *encryptions(q)]
    cases += [*transforms(MODULI[20]), *refusals(MODULI[20])]
    for bits, q in MODULI.items():
        cases.append(case("modulus", {"bits": bits}, q))
    for bits in (19, 62):
        cases.append(case("modulus", {"bits": bits}, None, "ParameterError"))
    for degree, q in ((512, MODULI[43]), (1024, MODULI[43] + 2), (1024, 12289), (8192, 1032193 - 4096)):
        cases.append(case("ring", {"degree": degree, "modulus": q}, None, "ParameterError"))
    return {
        "schema": "secagg-vectors/1",
        "source": "tests/vectors/generate_ring.py: the reference implementation, in plain integers",
        "licence": "Apache-2.0",
        "verified_by": "every instruction set and the fallback, in tests/unit/test_kernel_ring_vectors.py",
        "params": {"degree": N, "encoding": "hex", "definitions": "docs/spec/ring.md"},
        "cases": cases,
    }


def text():
    made = build()
    cases = made.pop("cases")
    head = json.dumps(made, indent=2)[:-2]
    return head + ',\n  "cases": [\n    ' + ",\n    ".join(json.dumps(c) for c in cases) + "\n  ]\n}\n"


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
