"""Make kernels.json (encoding, masks, packing, sharing) from the reference implementation alone.

Run from the root of the repository: `PYTHONPATH=tests python -m vectors.generate_kernels`
"""

import json
from pathlib import Path

from reference import encoding, field, stream

PATH = Path(__file__).with_name("kernels.json")
KEYS = [bytes(range(i, i + 16)) for i in (0, 16, 32)]
REALS = [0.0, -0.0, 1.0, -1.0, 0.5, -0.25, 1.5, -7.0, 1e-9, 0.333251953125, -0.99998474, 0.1, 2.0**-30]
WIDTHS = (1, 7, 16, 17, 20, 32, 33, 43, 64)
SECRETS = {16: bytes(range(100, 116)), 32: bytes(range(200, 232))}


def case(op, given, output, error=None, note=""):
    return {"op": op, "input": given, "output": output, "success": error is None, "error": error, "note": note}


def encodings():
    for bits in (1, 8, 16, 24, 32):
        for clip in (1.0, 0.37):
            for key in (None, KEYS[0]):
                given = {
                    "values": REALS, "clip": clip, "bits": bits, "key": None if key is None else key.hex(), "stream_id": 7,
                    "start": 3,
                }  # fmt: skip
                yield case("encode", given, encoding.fixed_point(REALS, clip, bits, key, 7, 3))
        sums = [0, 1, 2**bits - 1, 3 * (2**bits - 1)]
        given = {"sums": sums, "total_weight": 3, "clip": 0.5, "bits": bits}
        yield case("mean", given, encoding.fixed_point_mean(sums, 3, 0.5, bits))
    bad = {"values": [0.0, "nan"], "clip": 1.0, "bits": 16, "key": None, "stream_id": 7, "start": 0}
    yield case("encode", bad, None, "InputError", "not a number")


def masks():
    for w in WIDTHS:
        count = 37
        drawn = [stream.mask(key, 5, w, count + 11)[11:] for key in KEYS]
        signs = [1, -1, 1]
        sums = [sum(sign * row[i] for sign, row in zip(signs, drawn, strict=True)) % 2**w for i in range(count)]
        given = {
            "keys": [key.hex() for key in KEYS], "signs": signs, "stream_id": 5, "start": 11, "w": w, "count": count,
        }  # fmt: skip
        yield case("masks", given, encoding.pack(sums, w).hex(), note="over zeros, packed")
        yield case("unpack", {"data": encoding.pack(sums, w).hex(), "w": w, "count": count}, [str(s) for s in sums])
        if count * w % 8:
            data = encoding.pack(sums, w)
            data = data[:-1] + bytes([data[-1] | 0x80])
            yield case("unpack", {"data": data.hex(), "w": w, "count": count}, None, "InputError", "a padding bit")


def sharings():
    for size, secret in SECRETS.items():
        for threshold, xs in ((1, [1, 2]), (3, [1, 2, 5, 9]), (7, list(range(1, 12)))):
            entropy = KEYS[1].hex()
            shares = field.split(secret, threshold, xs, stream.Source(KEYS[1]))
            given = {"secret": secret.hex(), "threshold": threshold, "xs": xs, "entropy": entropy}
            yield case("split", given, [share.hex() for share in shares], note="entropy is a keystream")
            held = {x: share.hex() for x, share in list(zip(xs, shares, strict=True))[-threshold:]}
            yield case("combine", {"shares": held, "threshold": threshold, "nbytes": size}, secret.hex())
    yield case(
        "combine", {"shares": {"1": "00" * 24}, "threshold": 2, "nbytes": 16}, None, "InputError", "a share too few"
    )
    yield case("combine", {"shares": {"0": "00" * 24}, "threshold": 1, "nbytes": 16}, None, "InputError", "index 0")
    above = field.P.to_bytes(8, "little").hex() + "00" * 16
    yield case("combine", {"shares": {"1": above}, "threshold": 1, "nbytes": 16}, None, "InputError", "a limb of p")


def build():
    return {
        "schema": "secagg-vectors/1",
        "source": "tests/vectors/generate_kernels.py: the reference implementation, in plain integers",
        "licence": "Apache-2.0",
        "verified_by": "every instruction set and the fallback, by `secagg vectors`",
        "params": {"encoding": "hex; integers of unpack as decimal strings", "definitions": "docs/spec/pairwise.md"},
        "cases": [*encodings(), *masks(), *sharings()],
    }


def text(made):
    cases = made.pop("cases")
    head = json.dumps(made, indent=2)[:-2]
    return head + ',\n  "cases": [\n    ' + ",\n    ".join(json.dumps(c) for c in cases) + "\n  ]\n}\n"


if __name__ == "__main__":
    PATH.write_text(text(build()), encoding="utf-8")
