"""Put what the installed TenSEAL writes into seal_format.json, in place of what the same version wrote before.

Run from the root of the repository, once for each version, in an environment that has it:
`PYTHONPATH=tests python -m vectors.generate_seal_format`. Nothing of secagg is imported.
"""

import base64
import hashlib
import json
import sys
from pathlib import Path

import tenseal as ts
import zstandard

PATH = Path(__file__).with_name("seal_format.json")
DEGREE, BITS, SCALE = 2048, [27, 27], 2.0**18
VALUES = [[0.5, -1.0, 0.25, 2.0], [1.0, 1.0, -0.25, 0.0]]
# What is done to the decompressed body of the ciphertext: where, which bytes, how often; without bytes it ends there.
REFUSALS = {
    "other parameters": [0, "00", 32],
    "not in NTT form": [32, "00", 1],
    "three polynomials": [33, "03", 1],
    "another degree": [41, "0010", 1],
    "two primes": [49, "02", 1],
    "another scale": [57, "0000000000002041", 1],
    "a residue of 2^64 - 1": [97, "ff", 8],
    "transparent": [97 + 8 * DEGREE, "00", 8 * DEGREE],
    "cut to its shape": [97, None, 1],
    "empty": [0, None, 1],
}


def text(data):
    return base64.b64encode(bytes(data)).decode("ascii")


def residues_digest(data):
    """Return the SHA-256 of the residues of a vector of one ciphertext: what is left without 97 bytes of the body."""
    packed = data[data.index(b"\x5e\xa1") + 16 : -9]
    return hashlib.sha256(zstandard.ZstdDecompressor().decompress(packed)[97:]).hexdigest()


def made():
    """Return the cases of the installed version."""
    writer = f"TenSEAL {ts.__version__}"
    kinds = {"symmetric": ts.ENCRYPTION_TYPE.SYMMETRIC, "public-key": ts.ENCRYPTION_TYPE.ASYMMETRIC}
    for kind, encryption in kinds.items():
        context = ts.context(ts.SCHEME_TYPE.CKKS, DEGREE, -1, BITS, encryption_type=encryption)
        context.global_scale = SCALE
        less = {
            "save_public_key": False,
            "save_galois_keys": False,
            "save_relin_keys": False,
        }  # the file is long enough
        secret, public = context.serialize(save_secret_key=True, **less), context.serialize(**less)
        yield case("context", writer, kind, {"secret": text(secret), "public": text(public)}, {"degree": DEGREE})
        vectors = [ts.ckks_vector(context, values) for values in VALUES]
        total = vectors[0] + vectors[1]
        given = {"vectors": [text(vector.serialize()) for vector in vectors], "values": VALUES}
        found = {"residues_sha256": residues_digest(total.serialize()), "decrypted": total.decrypt()}
        yield case("add", writer, kind, given, found)
        for name, (at, new, times) in REFUSALS.items():
            yield case("add", writer, kind, {"at": at, "bytes": new, "times": times}, None, "DecodeError", name)


def case(op, writer, kind, given, output, error=None, note=""):
    """Return one case; those that fail change the first vector of the `add` before them."""
    where = {"writer": writer, "kind": kind}
    return {"op": op, "input": where | given, "output": output, "success": error is None, "error": error, "note": note}


def main():
    """Write the file."""
    cases = list(made())
    known = json.loads(PATH.read_text("utf-8"))["cases"] if PATH.exists() else []
    mine = cases[0]["input"]["writer"]
    cases = sorted([c for c in known if c["input"]["writer"] != mine] + cases, key=lambda c: c["input"]["writer"])
    head = {
        "schema": "secagg-vectors/1",
        "source": "made by TenSEAL (OpenMined, Apache-2.0), on Microsoft SEAL (MIT): tests/vectors/generate_seal_format.py",
        "licence": "Apache-2.0",
        "verified_by": ["TenSEAL added and decrypted", "tests/tenseal/test_tenseal_vectors.py reads them"],
        "params": {
            "degree": DEGREE,
            "bits": BITS,
            "scale": SCALE,
            "encoding": "base64; digests and bytes in hex. A case that fails is the first vector of the last one that does "
            "not, with bytes, so many times, put into the decompressed body of its ciphertext, or cut there",
            "keys": "made for this file and used for nothing else",
        },
    }
    lines = ",\n".join("    " + json.dumps(c) for c in cases)
    text_head = json.dumps(head, indent=2)[:-2]
    PATH.write_text(f'{text_head},\n  "cases": [\n{lines}\n  ]\n}}\n', "utf-8")
    sys.stdout.write(f"{mine}: {len(cases)} cases\n")


if __name__ == "__main__":
    main()
