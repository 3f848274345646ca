"""The bytes of two versions of TenSEAL, frozen: they are read, added and refused as the file says, without TenSEAL."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from secagg import errors
from secagg.integrations.tenseal import CiphertextSum, PublicContext
from secagg.integrations.tenseal.context import key_id_of
from support import tenseal_bytes as tb

FILE = json.loads((Path(__file__).resolve().parents[1] / "vectors" / "seal_format.json").read_text("utf-8"))
GROUPS = sorted({(case["input"]["writer"], case["input"]["kind"]) for case in FILE["cases"]})


def test_both_versions_are_there():
    assert [group[0] for group in GROUPS[::2]] == ["TenSEAL 0.3.15", "TenSEAL 0.3.18"]
    assert {group[1] for group in GROUPS} == {"symmetric", "public-key"}


@pytest.mark.parametrize("writer, kind", GROUPS)
def test_a_version_is_read_as_the_file_says(writer, kind):
    cases = [c for c in FILE["cases"] if (c["input"]["writer"], c["input"]["kind"]) == (writer, kind)]
    public = first = minor = None
    count = 0
    for case in cases:
        given = case["input"]
        if case["op"] == "context":
            saved = base64.b64decode(given["secret"])
            public, minor = key_id_of(saved)
            assert minor == (1 if writer.endswith("15") else 3)
            assert public.degree == case["output"]["degree"] == FILE["params"]["degree"]
            assert PublicContext.from_tenseal(base64.b64decode(given["public"]), public.key_id) == public
            with pytest.raises(errors.ParameterError, match="secret key"):
                PublicContext.from_tenseal(saved, public.key_id)
        elif case["success"]:
            vectors = [base64.b64decode(vector) for vector in given["vectors"]]
            first, total = vectors[0], CiphertextSum(public, len(given["values"][0]))
            total.add_many(vectors)
            digests = [hashlib.sha256(total.residues().astype("<u8").tobytes()).hexdigest()]
            digests.append(hashlib.sha256(tb.residues(total.to_bytes(minor=minor)).tobytes()).hexdigest())
            assert digests == [case["output"]["residues_sha256"]] * 2
            assert np.abs(np.array(case["output"]["decrypted"]) - np.sum(given["values"], axis=0)).max() < 0.05
        else:
            at, new = given["at"], bytes.fromhex(given["bytes"] or "") * given["times"]

            def change(body, at=at, new=new):
                return body[:at] + new + body[at + len(new) :] if new else body[:at]

            with pytest.raises(getattr(errors, case["error"])):
                CiphertextSum(public, 4).add(tb.with_body(first, change))
        count += 1
    assert count == 12
