"""The client facade: bytes in, bytes out, one update when it is asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from secagg.accumulator import protect
from secagg.errors import InputError, ParameterError
from secagg.hazmat.kdf import hkdf
from secagg.hazmat.transcript import u64
from secagg.identity import Identity, Roster
from secagg.params import Params
from secagg.protocols.pairwise import PairwiseClient

__all__ = ["Awaiting", "Client", "rounding_key"]


@dataclass(frozen=True)
class Awaiting:
    """The server asks for an update."""

    round_id: int


def rounding_key(seed: bytes, me: str, round_id: int) -> bytes:
    """Return the 16-byte key that rounds one client's update of one round under a reproducible `rounding_seed`."""
    return hkdf(seed, "rounding-seed", me.encode(), u64(round_id), length=16)


class Client:
    """One client of one session: any number of setups and rounds.

    Parameters
    ----------
    params : Params
        What this client accepts; a server that asks under other Params is refused.
    me : str
        This client's id in the roster.
    identity : Identity
        Its signing key, which must be the roster's.
    roster : Roster
    session : bytes, optional
        16-byte session id to insist on; learnt from the first request otherwise.
    rounding_seed : bytes, optional
        Makes stochastic rounding reproducible for experiments. Never a source of keys.

    Raises
    ------
    ParameterError
        `me` is not in the roster, `identity` is not its key, or the roster is larger than the Params allow.

    Examples
    --------
    >>> for frame in inbox:
    ...     client.receive(frame)
    >>> if client.awaiting:
    ...     client.submit(update, weight=n_examples)
    >>> for frame in client.outbox():
    ...     carrier.send(frame)
    """

    def __init__(
        self,
        params: Params,
        *,
        me: str,
        identity: Identity,
        roster: Roster,
        session: bytes | None = None,
        rounding_seed: bytes | None = None,
    ) -> None:
        check_parties(params, roster)
        if me not in roster:
            raise ParameterError(f"{me!r} is not in the roster")
        if identity.verify_key != roster.key(me):
            raise ParameterError(f"identity is not the roster's key of {me!r}")
        if session is not None and len(session) != 16:
            raise ParameterError("a session id has 16 bytes")
        self._params = params
        self._me = me
        self._rounding_seed = rounding_seed
        self._core = PairwiseClient(params, me, identity, roster, os.urandom, session)

    def __repr__(self) -> str:
        return f"Client(me={self._me!r}, awaiting={self.awaiting})"

    def __reduce__(self) -> Any:
        raise TypeError("a Client holds secrets and cannot be pickled or copied")

    @property
    def me(self) -> str:
        """This client's id."""
        return self._me

    @property
    def awaiting(self) -> Awaiting | None:
        """What the server waits for, or None."""
        round_id = self._core.awaiting
        return None if round_id is None else Awaiting(round_id)

    def receive(self, frame: bytes) -> None:
        """Take one frame from the server.

        Raises
        ------
        PeerError
            The frame was refused (DecodeError, AuthenticationError, EquivocationError say why); state is unchanged.
        AbortError
            The server says that this client dropped out; nothing was released.
        """
        self._core.receive(frame)

    def submit(
        self,
        update: Any,
        *,
        weight: int = 1,
        metrics: Mapping[str, float] | None = None,
        context: bytes = b"",
    ) -> None:
        """Protect the update of the awaited round and put its frames into the outbox.

        Parameters
        ----------
        update : ndarray or nest of ndarray
            In the structure, shapes and dtypes of the layout. Read, never kept. Secret.
        weight : int
            From 0 to ``params.max_weight``; hidden from the server, who learns only the sum. Weight 0 contributes nothing.
        metrics : mapping of str to float, optional
            Exactly the names of ``params.metrics``.
        context : bytes
            The model this update belongs to, or a hash of it; clients with different contexts are never mixed.

        Raises
        ------
        StateError
            No update is awaited.
        InputError
            The update, weight or metrics do not fit the Params, or another update was already submitted for this round.
            State is unchanged.
        """
        if not isinstance(context, bytes | bytearray | memoryview):
            raise InputError("context must be bytes")
        upload = self._core.begin_upload(bytes(context))
        key = upload.rounding_key
        if self._rounding_seed is not None and self.awaiting is not None:
            key = rounding_key(self._rounding_seed, self._me, self.awaiting.round_id)
        plan = self._params.segment_plan
        encoded = plan.encode(update, weight, metrics, key)
        frames = protect(
            plan.segments, encoded.vectors, upload.keys, upload.signs, self._params.frame_bytes, upload.chunk
        )
        frames.append(upload.finish())
        self._core.send(frames)

    def outbox(self) -> list[bytes]:
        """Return the frames to send to the server, oldest first, and forget them."""
        return self._core.take_outbox()


def check_parties(params: Params, roster: Roster) -> None:
    """Refuse a roster that the Params' bounds were not computed for."""
    if not isinstance(params, Params):
        raise ParameterError("params must be a Params")
    if len(roster) > params.clients:
        raise ParameterError(f"the roster has {len(roster)} clients, Params were checked for {params.clients}")
