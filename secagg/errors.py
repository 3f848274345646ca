"""The whole error hierarchy: who was wrong, and what still stands.

Local misuse (`ParameterError`, `InputError`, `StateError`) leaves state as it was. Remote misuse (`PeerError`) means that one
frame was refused and nothing of it was kept. `AbortError` means that a setup or round ended and nothing was released.
No message here ever carries key material or an update's values.
"""

from __future__ import annotations

__all__ = [
    "AbortError",
    "AuthenticationError",
    "DecodeError",
    "EquivocationError",
    "InputError",
    "InternalError",
    "ParameterError",
    "PeerError",
    "SecAggError",
    "StateError",
    "ThresholdError",
]


class SecAggError(Exception):
    """Base of everything the package raises on purpose; never raised itself."""


class ParameterError(SecAggError, ValueError):
    """A configuration that could wrap, leak or fail later was refused; nothing was built."""


class InputError(SecAggError, ValueError):
    """A value handed in by the caller was refused; state is unchanged."""


class StateError(SecAggError):
    """A call came out of order; state is unchanged."""


class PeerError(SecAggError):
    """A frame from somebody else was refused; nothing of it was kept.

    Parameters
    ----------
    reason : str
        What was wrong, without quoting the frame's content.
    peer : str or None
        The sender, as far as it is known.
    phase : str or None
        The phase in which the frame arrived.
    """

    def __init__(self, reason: str, peer: str | None = None, phase: str | None = None) -> None:
        super().__init__(reason, peer, phase)
        self.reason = reason
        self.peer = peer
        self.phase = phase

    def __str__(self) -> str:
        where = f" from {self.peer!r}" if self.peer is not None else ""
        when = f" in phase {self.phase}" if self.phase is not None else ""
        return f"{self.reason}{where}{when}"


class DecodeError(PeerError):
    """Bytes that are not a frame of this version, or break one of its limits."""


class AuthenticationError(PeerError):
    """A signature, tag, key or binding does not hold."""


class EquivocationError(PeerError):
    """A peer said two different things where it may say one."""


class AbortError(SecAggError):
    """A setup or round ended without a result; nothing was released."""


class ThresholdError(AbortError):
    """Too few took part.

    Parameters
    ----------
    what : str
        What was counted.
    needed, have : int
        The count required and the count seen.
    """

    def __init__(self, what: str, needed: int, have: int) -> None:
        super().__init__(what, needed, have)
        self.what = what
        self.needed = needed
        self.have = have

    def __str__(self) -> str:
        return f"{self.what}: needed {self.needed}, have {self.have}"


class InternalError(SecAggError):
    """A bug in this package; please report it with the message and the versions."""
