"""Between a server and its journal: what is recorded of each step, and how the steps are taken again.

A server is a function of what came in and of the randomness it drew. So the journal has, in order, each round that was opened,
each frame that changed something, and each phase that was closed, with the randomness drawn for it and a digest of what came of
it. Taken again they give the same frames and the same sum, byte for byte. What a finished round leaves is short (`Core.memo`);
with it, the next round's first row replaces all rows but those of the setup that it still uses.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from enum import IntEnum
from typing import Any, NamedTuple, Protocol

import msgspec

from secagg.errors import AbortError, InputError, PeerError, SecAggError
from secagg.outcomes import Ended
from secagg.protocols.secret import Secret, SecretStruct
from secagg.store import Journal
from secagg.wire import Chunk, decode_frame

__all__ = ["Core", "Recorder", "Steps", "outcome"]

BATCH_FRAMES = 1024  # received and not yet durable
BATCH_BYTES = 64 << 20


class Core(Protocol):
    """What every protocol's server offers to one that keeps a journal."""

    @property
    def round_id(self) -> int | None:
        """The round in progress, or None."""

    @property
    def equivocations(self) -> Mapping[str, str]:
        """Senders that said two different things, and when."""

    @property
    def excluded(self) -> Collection[str]:
        """Clients whose upload was refused in the round in progress."""

    @property
    def setting_up(self) -> bool:
        """Whether the open phase belongs to a setup, whose frames outlive the round."""

    def memo(self) -> bytes:
        """Return what outlives a round and does not follow from the frames of the setup."""

    def recall(self, memo: bytes) -> None:
        """Between rounds: know what was known when `memo` was made."""

    def forget(self) -> None:
        """Between rounds: know no setup."""


class Steps(NamedTuple):
    """A server's own steps, none of which records anything."""

    open: Callable[[int, Collection[str] | None, Collection[str] | None], bytes]
    receive: Callable[[bytes], Any]
    close: Callable[[], bytes]
    end: Callable[[int | None, Ended], None]
    sent: Callable[[], None]  # what waits to be sent is of a phase that is over


class _Kind(IntEnum):
    OPENED = 1
    FRAME = 2
    REFUSED = 3  # a frame that was refused, and yet changed something: blame
    CLOSED = 4
    ENDED = 5


class _Opened(SecretStruct, frozen=True, array_like=True, forbid_unknown_fields=True):
    round_id: int
    participants: list[str] | None
    cohort: list[str] | None
    draws: list[bytes]
    outcome: bytes


class _Closed(SecretStruct, frozen=True, array_like=True, forbid_unknown_fields=True):
    draws: list[bytes]
    outcome: bytes


class _Ended(SecretStruct, frozen=True, array_like=True, forbid_unknown_fields=True):
    memo: bytes
    round_id: int | None
    reason: str
    counts: tuple[str, int, int] | None


def outcome(frames: Iterable[tuple[str | None, bytes]], signature: bytes) -> bytes:
    """Return a digest of what a step made: frames and to whom, and the signature on a receipt."""
    inner = hashlib.sha256()
    for to, frame in frames:
        name = b"*" if to is None else b"=" + to.encode()
        inner.update(len(name).to_bytes(8, "big") + name + len(frame).to_bytes(8, "big"))
        inner.update(frame)
    inner.update(signature)
    return inner.digest()


def _name(frame: bytes) -> tuple[Any, bool]:
    """Return what makes a frame another than those before it, and whether it is a chunk.

    Of a sender, one chunk in a place is kept, and of envelopes those that differ: nobody can fill the disk with repeats.
    """
    _, outer = decode_frame(frame, max_bytes=len(frame))
    if isinstance(outer, Chunk):
        return (outer.sender, outer.segment, outer.index), True
    return hashlib.sha256(frame).digest(), False


class Recorder(Secret):
    """Records a server's steps in its journal, and takes them again.

    Parameters
    ----------
    journal : Journal
    core : callable
        Given a source of randomness, returns the protocol's server.
    """

    def __init__(self, journal: Journal, core: Callable[[Callable[[int], bytes]], Any]) -> None:
        self._journal = journal
        self._draws: list[bytes] = []
        self._script: list[bytes] | None = None  # draws to be repeated
        self._seen: set[Any] = set()
        self._waiting = (0, 0)  # frames and bytes
        self._setting_up, self._keep = False, 0
        self.core = core(self._draw)
        self._blame: dict[str, tuple[str | None, bool]] = {}

    @property
    def recorded(self) -> int:
        """How many rows were ever written."""
        return self._journal.recorded

    def _draw(self, count: int) -> bytes:
        if self._script is not None:
            drawn = self._script.pop(0) if self._script else b""
            if len(drawn) != count:
                raise InputError("the journal's steps need other randomness than was drawn for them")
            return drawn
        drawn = os.urandom(count)
        self._draws.append(drawn)
        return drawn

    def _drawn(self) -> list[bytes]:
        draws, self._draws = self._draws, []
        return draws

    def _blamed(self, name: str) -> tuple[str | None, bool]:
        return self.core.equivocations.get(name), name in self.core.excluded

    def _stepped(self, seq: int) -> None:
        """Know which rows belong to the setup, once it is complete."""
        before, running = self._setting_up, self.core.round_id is not None
        self._setting_up = running and self.core.setting_up
        if before and running and not self._setting_up:
            self._keep = seq
        self._seen.clear()
        self._blame = {name: (said, False) for name, said in self.core.equivocations.items()}

    # -- recording ------------------------------------------------------------------------------------------------

    def opened(
        self, memo: bytes, round_id: int, who: tuple[Collection[str] | None, Collection[str] | None], made: bytes
    ) -> None:
        """Record that a round was opened, when `memo` was what was known; AbortError if that cannot be made durable."""
        participants, cohort = (None if names is None else [str(name) for name in names] for names in who)
        self._keep = 0 if self.core.setting_up else self._keep
        self._journal.cut(self._keep)
        self._journal.append(_Kind.ENDED, msgspec.msgpack.encode(_Ended(memo, None, "", None)))
        row = _Opened(int(round_id), participants, cohort, self._drawn(), made)
        self._journal.append(_Kind.OPENED, msgspec.msgpack.encode(row))
        self._commit()
        self._stepped(self._journal.last)

    def received(self, frame: bytes) -> None:
        """Record a frame that was accepted, unless it is one that came before; AbortError if the journal fails."""
        self._frame(_Kind.FRAME, bytes(frame))

    def refused(self, frame: bytes, peer: str | None) -> None:
        """Record a frame that was refused, if its sender was blamed for it; AbortError if the journal fails."""
        if peer is None:
            return
        blame = self._blamed(peer)
        if blame != self._blame.get(peer, (None, False)):
            self._blame[peer] = blame
            self._frame(_Kind.REFUSED, bytes(frame))

    def _frame(self, kind: _Kind, frame: bytes) -> None:
        name, chunk = _name(frame)
        if (kind, name) in self._seen:
            return
        self._seen.add((kind, name))
        if chunk and not self._setting_up:
            self._journal.append_frame(kind, frame)
        else:
            self._journal.append(kind, frame)
        frames, size = self._waiting
        self._waiting = (frames + 1, size + len(frame))
        if frames + 1 >= BATCH_FRAMES or size + len(frame) >= BATCH_BYTES:
            self._commit()

    def closed(self, made: bytes) -> None:
        """Record that a phase was closed; AbortError if that cannot be made durable."""
        self._journal.append(_Kind.CLOSED, msgspec.msgpack.encode(_Closed(self._drawn(), made)))
        self._commit()
        self._stepped(self._journal.last)

    def ended(self, round_id: int, why: Ended) -> AbortError | None:
        """Record that the round is over; return what kept that from being made durable.

        The round is over all the same, and the setup is forgotten with it: the next round that can be recorded replaces all.
        """
        self._drawn()
        failed = None
        if self._setting_up:  # its last step is not in the journal, so nothing is built upon this setup
            self.core.forget()
        self._append_ended(round_id, why)
        try:
            self._commit()
        except AbortError as error:
            failed = error
            self.core.forget()
            self._journal.drop()
            self._append_ended(round_id, why)
        self._stepped(self._journal.last)
        return failed

    def _append_ended(self, round_id: int, why: Ended) -> None:
        self._journal.append(_Kind.ENDED, msgspec.msgpack.encode(_Ended(self.core.memo(), round_id, *why)))

    def _commit(self) -> None:
        self._journal.commit()
        self._waiting = (0, 0)

    def sync(self) -> None:
        """Make every frame that was received durable; AbortError if that fails."""
        self._commit()

    def close(self) -> None:
        """Let go of the journal."""
        self._journal.close()

    # -- taking the steps again -----------------------------------------------------------------------------------

    def replay(self, steps: Steps) -> None:
        """Take every step that was recorded again.

        Raises
        ------
        InputError
            A step does not give what it gave: the rows are whole, so it was another version of this package that wrote them.
        """
        seq = 0
        try:
            for seq, kind, content in self._journal.entries():
                self._again(_Kind(kind), content, steps)
                if kind in {_Kind.FRAME, _Kind.REFUSED}:
                    self._seen.add((kind, _name(content)[0]))
                else:
                    self._stepped(seq)
        except (SecAggError, msgspec.DecodeError, ValueError) as error:
            raise InputError(
                f"the journal cannot be replayed beyond row {seq} ({error}): was it written by another version of secagg?"
            ) from None
        for name in (*self.core.equivocations, *self.core.excluded):
            self._blame[name] = self._blamed(name)

    def _again(self, kind: _Kind, content: bytes, steps: Steps) -> None:
        if kind in {_Kind.OPENED, _Kind.CLOSED}:
            steps.sent()
        match kind:
            case _Kind.OPENED:
                opened = msgspec.msgpack.decode(content, type=_Opened)
                self._script = opened.draws
                self._same(opened.outcome, steps.open(opened.round_id, opened.participants, opened.cohort))
                self._keep = 0 if self.core.setting_up else self._keep
            case _Kind.FRAME:
                steps.receive(content)
            case _Kind.REFUSED:
                try:
                    steps.receive(content)
                except PeerError:
                    return
                raise InputError("a frame that was refused is accepted")
            case _Kind.CLOSED:
                closed = msgspec.msgpack.decode(content, type=_Closed)
                self._script = closed.draws
                self._same(closed.outcome, steps.close())
            case _Kind.ENDED:
                ended = msgspec.msgpack.decode(content, type=_Ended)
                steps.end(ended.round_id, Ended(ended.reason, ended.counts))
                self.core.recall(ended.memo)

    def _same(self, expected: bytes, made: bytes) -> None:
        if self._script or made != expected:
            raise InputError("a step gives something else than it gave")
        self._script = None
