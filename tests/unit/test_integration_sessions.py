"""The session id of a drawn committee: read from a party's own files, and never the server's to choose."""

from __future__ import annotations

import pytest

from secagg import Params
from secagg.errors import ParameterError
from secagg.integrations.sessions import drawn, needed, session_of, session_of_kind

HEX = "00112233445566778899aabbccddeeff"
DRAWN = Params(20, length=4, protocol="oneshot", corrupt=1, committee=8)
EVERYBODY = Params(20, length=4, protocol="oneshot", corrupt=1)


def test_only_a_committee_smaller_than_the_roster_is_drawn():
    assert drawn(DRAWN)
    assert not drawn(EVERYBODY) and not drawn(Params(20, length=4))
    needed(EVERYBODY, "a file")
    with pytest.raises(ParameterError, match=r"8 is drawn from 20 clients .* put it into a file"):
        needed(DRAWN, "a file")


def test_a_session_id_is_32_digits():
    assert session_of(f" {HEX.upper()}\n", "here") == bytes.fromhex(HEX)
    for text in ("", HEX[:-1], HEX + "0", "x" * 32, 7, None, bytes(16)):
        with pytest.raises(ParameterError, match="here: a session id is 32 digits in hex"):
            session_of(text, "here")


def test_train_and_evaluate_are_two_sessions():
    agreed = bytes.fromhex(HEX)
    made = {session_of_kind(agreed, "train"), session_of_kind(agreed, "evaluate"), session_of_kind(bytes(16), "train")}
    assert len(made) == 3 and all(len(each) == 16 for each in made)
    assert session_of_kind(agreed, "train") in made
