"""Frames in NVFlare's Shareables. On the way to a site the model may lie beside them; on the way back nothing does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.shareable import ReservedHeaderKey, Shareable, make_reply

from secagg.errors import DecodeError

__all__ = ["HOLDER_TASK", "TASK", "load", "only_frames", "replace", "reply", "take"]

TASK = "secagg"  # the task of every exchange in which nothing is trained
HOLDER_TASK = "secagg_holder"  # the key holder's, who may live at a site that trains too
_FRAMES, _SESSION = "secagg_frames", "secagg_session"
MAX_FRAMES = 1 << 20


def load(shareable: Shareable, session: bytes, frames: Sequence[bytes]) -> Shareable:
    """Return `shareable`, with a session's frames in it."""
    shareable[_SESSION], shareable[_FRAMES] = session, list(frames)
    return shareable


def reply(session: bytes, frames: Sequence[bytes]) -> Shareable:
    """Return a site's answer: frames, and nothing else."""
    return load(make_reply(ReturnCode.OK), session, frames)


def only_frames(result: Shareable) -> Shareable:
    """Return what may leave of a result: its frames if there is nothing else, or the code of a failure."""
    headers = result.get(ReservedHeaderKey.HEADERS)
    code = headers.get(ReservedHeaderKey.RC, ReturnCode.OK) if isinstance(headers, dict) else None
    if code != ReturnCode.OK:
        return make_reply(code if isinstance(code, str) else ReturnCode.ERROR)
    try:
        if set(result) == {ReservedHeaderKey.HEADERS, _SESSION, _FRAMES}:
            return reply(*take(Shareable(result)))
    except DecodeError:
        pass
    return make_reply(ReturnCode.TASK_RESULT_FILTER_ERROR)


def replace(shareable: Shareable, content: Shareable) -> None:
    """Put `content` in the place of all that is in a message, whoever else holds it."""
    shareable.clear()
    shareable.update(content)


def take(shareable: Shareable) -> tuple[bytes, list[bytes]]:
    """Return the session and the frames of a message, which are gone from it then.

    Raises
    ------
    DecodeError
        It has none, or something else in their place.
    """
    session: Any = shareable.pop(_SESSION, None)
    frames: Any = shareable.pop(_FRAMES, None)
    if not isinstance(session, bytes) or len(session) != 16:
        raise DecodeError("a message without a session of secagg's")
    if not isinstance(frames, list) or len(frames) > MAX_FRAMES or not all(isinstance(each, bytes) for each in frames):
        raise DecodeError("a message without frames of secagg's")
    return session, frames
