"""Refusals without the frames below: what an error keeps, what it loses, and whose errors are left alone."""

import traceback

import pytest

from secagg.errors import InputError, InternalError, PeerError, ThresholdError
from secagg.frameless import frameless


def frames(error):
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


@frameless
def below(what, after=None):
    """A verb."""
    secret = b"of this frame"
    if after is not None:
        raise what from after
    if what is not None:
        raise what
    return secret


def test_a_refusal_keeps_what_it_says_and_loses_where_it_came_from():
    refusal = PeerError("no", peer="c1", phase="keys")
    refusal.add_note("a note")
    with pytest.raises(PeerError) as error:
        below(refusal, after=KeyError(b"another secret"))
    assert error.value is refusal
    assert (str(refusal), refusal.peer, refusal.__notes__) == ("no from 'c1' in phase keys", "c1", ["a note"])
    assert refusal.__cause__ is None and refusal.__context__ is None
    assert frames(refusal) == ["test_a_refusal_keeps_what_it_says_and_loses_where_it_came_from", "call"]
    told = traceback.TracebackException.from_exception(refusal, capture_locals=True)
    assert all("secret" not in value for frame in told.stack[1:] for value in (frame.locals or {}).values())


@pytest.mark.parametrize("bug", [InternalError("a bug"), ZeroDivisionError(), KeyboardInterrupt()])
def test_bugs_keep_their_frames(bug):
    with pytest.raises(type(bug)) as error:
        below(bug)
    assert frames(error.value)[-1] == "below"


def test_what_is_returned_is_returned_and_names_stay():
    assert below(None) == b"of this frame"
    assert below.__name__ == "below" and below.__doc__ == "A verb."


@frameless
def items(count, end):
    """Some items, and an end."""

    def each():
        yield from range(count)
        if end is not None:
            raise end

    return each()


def test_iterators_are_treated_alike():
    assert list(items(3, None)) == [0, 1, 2]
    for count in (0, 2):
        seen = []
        with pytest.raises(ThresholdError) as error:
            seen.extend(items(count, ThresholdError("those", 2, 1)))
        assert "each" not in frames(error.value)
        stream = items(count, InputError("no"))
        for _ in range(count):
            next(stream)
        with pytest.raises(InputError):
            next(stream)
        with pytest.raises(StopIteration):
            next(stream)
    with pytest.raises(InternalError) as error:
        list(items(1, InternalError("a bug")))
    assert "each" in frames(error.value)
