"""The session id of a committee that is drawn from the roster: agreed beforehand, and read from each party's own files.

Whoever chooses the id chooses the committee. So where Params draw one, no plug-in takes the id from the server.
"""

from __future__ import annotations

import re

from secagg.errors import ParameterError
from secagg.hazmat.transcript import digest
from secagg.params import Params

__all__ = ["drawn", "needed", "session_of", "session_of_kind"]

SESSION_BYTES = 16


def drawn(params: Params) -> bool:
    """Return whether the committee follows from the session id."""
    return params.protocol == "oneshot" and params.committee < params.clients


def session_of(text: object, where: str) -> bytes:
    """Return the session id that 32 digits in hex say; ParameterError, naming `where` it stands, for anything else."""
    if not isinstance(text, str) or re.fullmatch("[0-9a-fA-F]{32}", text.strip()) is None:
        raise ParameterError(f"{where}: a session id is 32 digits in hex")
    return bytes.fromhex(text.strip())


def session_of_kind(agreed: bytes, kind: str) -> bytes:
    """Return the id of one of the sessions that share an agreed one: train and evaluate are two, under Params of their own."""
    return digest("integrations/session-kind", agreed, kind.encode())[:SESSION_BYTES]


def needed(params: Params, where: str) -> None:
    """Refuse a committee that the server could choose.

    Raises
    ------
    ParameterError
        The Params draw a committee; the text says where the session id belongs.
    """
    if drawn(params):
        raise ParameterError(
            f"a committee of {params.committee} is drawn from {params.clients} clients by the session id, which must be agreed "
            f"beforehand: put it into {where}, or ask for a committee of everybody"
        )
