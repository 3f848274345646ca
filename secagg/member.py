"""The facade of a committee member that sends no updates: a key out, one answer a round."""

from __future__ import annotations

import os

from secagg.client import placeholder
from secagg.errors import InputError, ParameterError
from secagg.frameless import frameless
from secagg.identity import Identity, Roster
from secagg.params import Params
from secagg.protocols.oneshot import OneshotMember
from secagg.quiet import QuietParty

__all__ = ["Member"]


class Member(QuietParty):
    """A member of a oneshot committee that sends no updates of its own; a `Client` in the committee needs none.

    Parameters
    ----------
    params : Params
        ``protocol="oneshot"``.
    me : str
        This member's id in the roster.
    identity : Identity
        Its signing key, which must be the roster's.
    roster : Roster
    session : bytes, optional
        16-byte session id to insist on; needed where the committee is drawn from the roster, and learnt from the first request
        otherwise.
    ledger : str or os.PathLike, optional
        File in which it remembers, durably, for which set of a round it answered. Without one, a member whose state is rolled
        back or copied can be made to answer for two sets of one round, and counts as corrupt.

    Raises
    ------
    ParameterError
        The Params are of another protocol, `me` is not in the roster, or `identity` is not its key.
    InputError
        The ledger is damaged, another party's, or cannot be opened.

    Examples
    --------
    >>> for frame in inbox:
    ...     member.receive(frame)
    >>> for frame in member.outbox():
    ...     carrier.send(frame)
    """

    @frameless
    def __init__(
        self,
        params: Params,
        *,
        me: str,
        identity: Identity,
        roster: Roster,
        session: bytes | None = None,
        ledger: str | os.PathLike[str] | None = None,
    ) -> None:
        if not isinstance(params, Params) or params.protocol != "oneshot":
            raise ParameterError("only protocol='oneshot' has a committee")
        if me not in roster:
            raise ParameterError(f"{me!r} is not in the roster")
        if identity.verify_key != roster.key(me):
            raise ParameterError(f"identity is not the roster's key of {me!r}")
        super().__init__(params, identity, roster, session, ledger, me)
        self._core = OneshotMember(params, me, identity, roster, os.urandom, session, self._ledger)

    def __repr__(self) -> str:
        return f"Member(me={self.me!r})"

    @property
    def me(self) -> str:
        """This member's id."""
        return self._role

    @frameless
    def receive(self, frame: bytes) -> None:
        """Take one frame from the server.

        Raises
        ------
        PeerError
            The frame was refused; state is unchanged.
        AbortError
            The ledger cannot be written, or says that the round is over; nothing leaves.
        """
        with self._lock:
            self._core.receive(frame)

    @frameless
    def snapshot(self) -> bytes:
        """Return the member's whole state, sealed so that only the same identity under the same roster can restore it.

        Store it after `outbox` and before the frames are sent. It holds the secret key of the present batch of rounds.

        Raises
        ------
        StateError
            Frames wait in the outbox, and would be lost: take them first.
        """
        return self._snapshot()

    @classmethod
    @frameless
    def restore(
        cls,
        snapshot: bytes,
        *,
        identity: Identity,
        roster: Roster,
        ledger: str | os.PathLike[str] | None = None,
        params: Params | None = None,
        session: bytes | None = None,
        ledger_lost: bool = False,
    ) -> Member:
        """Return the member that made a snapshot; where the ledger knows of later answers, those stand.

        Parameters
        ----------
        snapshot : bytes
        identity, roster, ledger
            As for the member that made it.
        params, session
            What the snapshot must have been made under, if given.
        ledger_lost : bool
            Restore although the ledger that belongs to the snapshot is missing, another one or older than it. This member may
            then be made to answer for a second set of a round.

        Raises
        ------
        InputError
            Torn, changed, another identity's, roster's, session's or Params'; or the ledger is, or is not the snapshot's.
        """
        kept, own = cls._opened(snapshot, identity, roster, params)
        if own.protocol != "oneshot" or kept.role not in roster:
            raise InputError("the snapshot is not a committee member's")
        made = cls(own, me=kept.role, identity=identity, roster=roster, session=placeholder(own), ledger=ledger)
        made._resume(kept, session, ledger_lost=ledger_lost)
        return made
