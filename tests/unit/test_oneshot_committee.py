"""Who sits in a oneshot committee: a fixed public function of roster and session, and nobody's to choose afterwards."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference import hashes
from secagg import Client, Identity, Member, Params, Roster, Server
from secagg.errors import ParameterError
from secagg.protocols.oneshot import committee

SESSION = bytes(range(16))
KEYS = {f"c{i:02}": Identity.generate() for i in range(30)}
SERVER_KEY = Identity.generate()


def roster(names: list[str] | None = None) -> Roster:
    chosen = list(KEYS) if names is None else names
    return Roster({name: KEYS[name].verify_key for name in chosen}, SERVER_KEY.verify_key)


def params(**own: object) -> Params:
    given_ = {"length": 5, "protocol": "oneshot", "corrupt": 1, "committee": 9, "threshold": 8, "packing": 1, **own}
    return Params(30, **given_)  # type: ignore[arg-type]


def test_it_is_the_least_digests_of_label_session_roster_and_id() -> None:
    """By the reference's TupleHash, which knows nothing of the engine's."""
    here = roster()
    digests = {name: hashes.digest("oneshot-committee", SESSION, here.hash(), name.encode()) for name in here.ids}
    least = sorted(here.ids, key=digests.__getitem__)[:9]
    assert committee(here, SESSION, 9) == tuple(sorted(least))


@given(st.permutations(list(KEYS)), st.integers(2, 29))
def test_it_does_not_depend_on_the_order_in_which_a_roster_was_written(names: list[str], size: int) -> None:
    drawn = committee(roster(names), SESSION, size)
    assert drawn == committee(roster(), SESSION, size)
    assert len(set(drawn)) == size and list(drawn) == sorted(drawn)
    assert set(committee(roster(), SESSION, size - 1)) < set(drawn)


@pytest.mark.parametrize("size", [30, 31, 1024])
def test_everybody_sits_in_one_as_large_as_the_roster(size: int) -> None:
    for session in (SESSION, bytes(16)):
        assert committee(roster(), session, size) == roster().ids


def test_each_session_and_each_roster_draws_another_and_everybody_as_often() -> None:
    here = roster()
    drawn = [committee(here, number.to_bytes(16, "big"), 10) for number in range(600)]
    assert len(set(drawn)) > 590
    often = Counter(name for each in drawn for name in each)
    # 200 expected, with a deviation of 11.5: five of them.
    assert all(142 < often[name] < 258 for name in here.ids)
    others = Roster({name: key.verify_key for name, key in KEYS.items()}, Identity.generate().verify_key)
    assert committee(others, SESSION, 10) != committee(here, SESSION, 10)


def test_one_who_joins_later_cannot_look_for_a_key_that_draws_it_alone() -> None:
    """Another key is another roster, and another draw for all: whoever grinds its own grinds everybody's."""
    draws = set()
    for _ in range(12):
        keys = {name: key.verify_key for name, key in KEYS.items()} | {"c29": Identity.generate().verify_key}
        draws.add(frozenset(committee(Roster(keys, SERVER_KEY.verify_key), SESSION, 9)) - {"c29"})
    assert len(draws) > 6


@pytest.mark.parametrize("who", ["server", "client", "member"])
def test_a_drawn_committee_needs_the_session_from_elsewhere_and_a_roster_of_just_that_size(who: str) -> None:
    def make(session: bytes | None, here: Roster, given_: Params) -> object:
        if who == "server":
            return Server(given_, identity=SERVER_KEY, roster=here, session=session)
        kind = Client if who == "client" else Member
        return kind(given_, me="c00", identity=KEYS["c00"], roster=here, session=session)

    for session, words in ((None, "session id from elsewhere"), (b"short", "16 bytes"), (bytes(17), "16 bytes")):
        with pytest.raises(ParameterError, match=words):
            make(session, roster(), params())
    with pytest.raises(ParameterError, match="drawn from exactly 30"):
        make(SESSION, roster(list(KEYS)[:29]), params())
    make(SESSION, roster(), params())
    whole = params(committee=30, threshold=27)
    make(None, roster(), whole)
    make(None, roster(list(KEYS)[:29]), whole)  # all of those who are there
    with pytest.raises(ParameterError, match="Params were checked for 30"):
        wide = {name: Identity.generate().verify_key for name in (*KEYS, "c30")} | {"c00": KEYS["c00"].verify_key}
        make(None, Roster(wide, SERVER_KEY.verify_key), whole)


def test_a_client_that_was_told_a_session_takes_no_other() -> None:
    """However many ids a server tries, there is one that the members accept."""
    from secagg.errors import AuthenticationError

    here, told = roster(), params()
    for guess in (bytes(16), bytes([1] * 16)):
        server = Server(told, identity=SERVER_KEY, roster=here, session=guess)
        server.open_round(1)
        for name, frame in server.outbox():
            client = Client(told, me=name, identity=KEYS[name], roster=here, session=SESSION)
            with pytest.raises(AuthenticationError, match="another session"):
                client.receive(frame)
            assert client.session == SESSION and client.outbox() == []
