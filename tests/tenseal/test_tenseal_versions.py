"""Another version of TenSEAL, in an environment of its own: it encrypts, this one adds, and it decrypts."""

from __future__ import annotations

import json
import subprocess
import venv

import numpy as np
import pytest

from secagg.integrations.tenseal import CiphertextSum, PublicContext
from secagg.integrations.tenseal.context import key_id_of

pytestmark = pytest.mark.slow

OLD = "0.3.15"  # what nvflare[HE] pins
CLIENTS, LENGTH = 3, 10_000
ENCRYPT = """
import json, sys
import numpy as np, tenseal as ts
assert ts.__version__ == sys.argv[2], ts.__version__
degree, bits, scale, public_key = json.loads(sys.argv[3])
kinds = ts.ENCRYPTION_TYPE
context = ts.context(ts.SCHEME_TYPE.CKKS, degree, -1, bits, encryption_type=kinds.ASYMMETRIC if public_key else kinds.SYMMETRIC)
context.global_scale = scale
open(sys.argv[1] + "/context", "wb").write(context.serialize(save_secret_key=True))
open(sys.argv[1] + "/public", "wb").write(context.serialize())
total = None
for i, values in enumerate(np.load(sys.argv[1] + "/values.npy")):
    vector = ts.ckks_vector(context, values.tolist())
    open(f"{sys.argv[1]}/{i}", "wb").write(vector.serialize())
    total = vector if total is None else total + vector
open(sys.argv[1] + "/theirs", "wb").write(total.serialize())
"""
DECRYPT = """
import sys
import numpy as np, tenseal as ts
context = ts.context_from(open(sys.argv[1] + "/context", "rb").read())
for name in ("ours", "theirs"):
    total = ts.ckks_vector_from(context, open(f"{sys.argv[1]}/{name}", "rb").read())
    np.save(f"{sys.argv[1]}/{name}.npy", np.array(total.decrypt()))
"""


@pytest.fixture(scope="module")
def old_python(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tenseal")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", f"tenseal=={OLD}", "numpy"]
    done = subprocess.run(install, check=False, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        pytest.skip(f"tenseal=={OLD} cannot be installed here")
    return python


def run(python, code, *arguments):
    done = subprocess.run(
        [str(python), "-c", code, *arguments], check=False, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("public_key", [False, True], ids=["symmetric", "public-key"])
@pytest.mark.parametrize(
    "degree, bits, scale", [(8192, [60, 40, 40], 2**40), (4096, [40, 41], 2**30), (4096, [54, 55], 2**40)]
)
@pytest.mark.parametrize("compression", ["none", "zlib", "zstd"])
def test_old_ciphertexts_are_added_here_and_decrypted_there(
    old_python, tmp_path, degree, bits, scale, public_key, compression
):
    values = np.random.default_rng(degree).uniform(-1, 1, (CLIENTS, LENGTH))
    np.save(tmp_path / "values.npy", values)
    run(old_python, ENCRYPT, str(tmp_path), OLD, json.dumps([degree, bits, scale, public_key]))
    public, minor = key_id_of((tmp_path / "context").read_bytes())
    assert minor == 1
    assert PublicContext.from_tenseal((tmp_path / "public").read_bytes(), public.key_id) == public
    total, theirs = CiphertextSum(public, LENGTH), CiphertextSum(public, LENGTH)
    for i in range(CLIENTS):
        total.add((tmp_path / str(i)).read_bytes())
    theirs.add((tmp_path / "theirs").read_bytes())
    assert np.array_equal(total.residues(), theirs.residues())
    (tmp_path / "ours").write_bytes(total.to_bytes(minor=1, compression=compression))
    run(old_python, DECRYPT, str(tmp_path))
    ours, expected = np.load(tmp_path / "ours.npy"), np.load(tmp_path / "theirs.npy")
    assert np.array_equal(ours, expected)
    assert np.abs(ours - values.sum(axis=0)).max() < 1e-4
