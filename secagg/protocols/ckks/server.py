"""The server of the ckks protocol: phases advance only by `close_phase`, frames are taken at any time.

Theory of operation. A round asks the holder for a key when none covers it, asks the participants for encrypted updates, adds what
is complete and well formed, and asks the holder to decrypt the sum of those that trained on one model. The server has no secret
key and no frame could bring it one: an announcement holds a public key by its type. A phase that ends with too few aborts the
round: its id is burned, nothing is released, the session goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from secagg.errors import AbortError, InputError, SecAggError, ThresholdError
from secagg.hazmat.agreement import KeyPair
from secagg.protocols.accounts import account_digest, participants_digest, survivors_digest, upload_tag
from secagg.protocols.ckks.intake import Intake
from secagg.protocols.ckks.memo import Memo, read_memo
from secagg.protocols.ckks.messages import (
    DecryptRequest,
    EncryptedRequest,
    KeyRequest,
    Kind,
    make_chunk,
    request_mark,
)
from secagg.protocols.ckks.state import Key, Round, ServerBulk, ServerState
from secagg.protocols.ckks.transitions import ServerEvent, ServerPhase
from secagg.protocols.rounds import check_participants, check_round_id, known, one_model
from secagg.protocols.secret import Secret
from secagg.protocols.serving import Serving
from secagg.wire import HOLDER, SERVER, Chunk, encode_chunk

if TYPE_CHECKING:
    from secagg.identity import Identity, Roster
    from secagg.params import Params

__all__ = ["CkksServer", "Decryption"]


@dataclass(frozen=True, repr=False)
class Decryption(Secret):
    """What a finished round leaves: who is in the sum, and the holder's signature on it."""

    round_id: int
    context: bytes
    participants: tuple[str, ...]
    uploads: dict[str, bytes]
    members_hash: bytes
    setup_hash: bytes
    session: bytes
    account: bytes
    signatures: dict[str, bytes]
    result_hash: bytes
    salt: bytes
    blamed: dict[str, str] = field(default_factory=dict)


class CkksServer(Serving[ServerState]):
    """The server's state across the keys and rounds of a session."""

    def __init__(
        self,
        params: Params,
        identity: Identity,
        roster: Roster,
        bulk: Callable[[], ServerBulk],
        entropy: Callable[[int], bytes],
        session: bytes | None = None,
    ) -> None:
        state = ServerState(params, roster, entropy(16) if session is None else session, bulk())
        super().__init__(params, identity, roster, bulk, state, Intake(state))
        self._entropy = entropy

    # -- what the facade sees -------------------------------------------------------------------------------------

    @property
    def excluded(self) -> Collection[str]:
        """Clients whose upload was refused in the round in progress."""
        return () if self._state.round is None else self._state.round.excluded

    @property
    def setting_up(self) -> bool:
        """Whether the open phase belongs to a setup."""
        return self._machine.state is ServerPhase.KEYS

    @property
    def missing(self) -> tuple[str, ...]:
        """Names still awaited in the open phase, sorted."""
        key, current = self._state.key, self._state.round
        if key is None or current is None:
            return ()
        match self._machine.state:
            case ServerPhase.KEYS:
                return () if key.body is not None else (HOLDER,)
            case ServerPhase.ENCRYPTED:
                gone = current.complete.keys() | current.excluded
                return tuple(c for c in self._names(current.participants) if c not in gone)
            case ServerPhase.DECRYPT:
                return () if self._state.answered() else (HOLDER,)
        return ()

    def open_round(self, round_id: int, participants: Collection[str] | None, cohort: Collection[str] | None) -> None:
        """Ask for a round; the holder is asked for a key first when none covers it."""
        check_round_id(round_id, self._floor)
        if cohort is not None:
            raise InputError("protocol='ckks' has no cohort; say who takes part with participants")
        wanted = known(self._roster, participants, "participants")
        check_participants(self._params, wanted)
        key = self._state.key
        fresh = key is None or not key.covers(round_id)
        if fresh and round_id + self._params.rounds_per_setup > 1 << 63:
            raise InputError("the key's last round would be beyond 2**63 - 1")
        self._machine.local(ServerEvent.OPEN_KEYS)
        self._floor, self._wanted = round_id, wanted
        self._state.round = Round(round_id)
        self._state.bulk = self._new_bulk()
        if not fresh:
            self._machine.fire(ServerEvent.OPEN_ROUND)
            self._ask_encrypted()
            return
        request = KeyRequest(round_id, self._params.rounds_per_setup, self._params.hash, self._roster.hash())
        self._state.key = Key(request)
        self._machine.fire(ServerEvent.OPEN_KEYS)
        self._out.append((HOLDER, self._sign(Kind.KEY_REQUEST, request)))

    def close_phase(self) -> Decryption | None:
        """End the open phase; return the Decryption when it was the last.

        Raises
        ------
        AbortError
            Too few took part; the round is over and nothing was released.
        """
        self._machine.local(ServerEvent.CLOSE)
        try:
            match self._machine.state:
                case ServerPhase.KEYS:
                    self._close_keys()
                case ServerPhase.ENCRYPTED:
                    self._close_encrypted()
                case _:
                    return self._close_decrypt()
        except SecAggError:
            unanswered = self._machine.state is ServerPhase.DECRYPT
            self.abort()
            if unanswered:  # the holder may have lost its key, and with it every round of the batch: ask for another
                self._state.key = None
            raise
        return None

    def abort(self) -> None:
        """End the round without a result; its id is burned."""
        # A round that broke while it was opened has not moved the machine yet.
        if self._state.round is None or self._machine.state is not ServerPhase.IDLE:
            self._machine.fire(ServerEvent.ABORT)
        if self._state.key is not None and self._state.key.body is None:
            self._state.key = None
        self._state.round = None
        self._out.clear()
        self._state.bulk = self._new_bulk()

    # -- what outlives a round, for a journal ---------------------------------------------------------------------

    def memo(self) -> bytes:
        """Return what outlives a round and does not follow from the holder's announcement."""
        return Memo.of(self._state, self._floor).to_bytes()

    def recall(self, memo: bytes) -> None:
        """Between rounds: know what was known when `memo` was made; InputError if it is none of this session's."""
        kept = read_memo(memo)
        self._floor = kept.floor
        kept.fill(self._state)

    def forget(self) -> None:
        """Between rounds: know no key, so that the next round asks for one."""
        self._state.key = None

    # -- phases ---------------------------------------------------------------------------------------------------

    def _names(self, ranks: Collection[int]) -> list[str]:
        return [self._roster.ids[rank] for rank in ranks]

    def _close_keys(self) -> None:
        key, _ = self._state.open()
        if key.body is None:
            raise ThresholdError("keys of the key holder", 1, 0)
        self._machine.fire(ServerEvent.CLOSE)
        self._ask_encrypted()

    def _ask_encrypted(self) -> None:
        key, current = self._state.open()
        current.participants = sorted(self._state.ranks[name] for name in self._wanted)
        current.participants_hash = participants_digest(key.hash, current.round_id, self._names(current.participants))
        with_key, without = (
            self._sign(
                Kind.ENCRYPTED_REQUEST,
                EncryptedRequest(current.round_id, self._params.hash, key.hash, current.participants, frame),
            )
            for frame in (key.frame, None)
        )
        self._out += [(name, without if name in key.shown else with_key) for name in self._names(current.participants)]

    def _close_encrypted(self) -> None:
        key, current = self._state.open()
        ids = self._roster.ids
        # They may have lost the key; and so many may have that this round ends here.
        key.shown -= {c for c in self._names(current.participants) if c not in current.headers}
        current.context, current.survivors = one_model(self._params, {
            rank: current.complete[ids[rank]] for rank in current.participants if ids[rank] in current.complete
        })  # fmt: skip
        names = self._names(current.survivors)
        current.account = account_digest(
            self.session, current.round_id, self._params.hash, key.hash, self._roster.hash(), current.participants_hash,
            survivors_digest(key.hash, current.round_id, {name: current.headers[name][1].tag for name in names}),
            current.context,
        )  # fmt: skip
        current.pair = KeyPair.generate(self._entropy)
        frames, sum_tag = self._forward(key, current, names) if self._params.recompute else self._total(key, current)
        body = DecryptRequest(
            current.round_id, self._params.hash, key.hash, current.participants,
            [current.headers[name][0] for name in names], sum_tag, current.pair.public_bytes,
        )  # fmt: skip
        current.mark = request_mark(current.account, body)
        self._machine.fire(ServerEvent.CLOSE)
        self._out += [(HOLDER, frame) for frame in (self._sign(Kind.DECRYPT_REQUEST, body), *frames)]

    def _total(self, key: Key, current: Round) -> tuple[list[bytes], bytes]:
        """Return the frames of the sum, and its tag."""
        frames, contents = [], []
        for (segment, index), payload in self._state.bulk.total(current.context):
            place = (current.round_id, segment, index)
            frame, content = make_chunk(self.session, SERVER, place, key.hash, memoryview(payload), self._identity.sign)
            frames.append(frame)
            contents.append(content)
        return frames, upload_tag(contents)

    def _forward(self, key: Key, current: Round, names: list[str]) -> tuple[list[bytes], bytes]:
        """Return every survivor's chunks as it signed them."""
        del key
        frames = []
        for name in names:
            for (segment, index), payload in self._state.bulk.uploads(name):
                tag = current.kept[name][segment, index].signature
                frames.append(encode_chunk(Chunk(self.session, name, current.round_id, segment, index, tag, payload)))
        return frames, b""

    def _close_decrypt(self) -> Decryption:
        key, current = self._state.open()
        if not self._state.answered() or current.answer is None:
            raise ThresholdError("answers of the key holder", 1, 0)
        body = current.answer[1]
        if upload_tag(current.opened[place] for place in sorted(current.opened)) != body.tag:
            raise AbortError("the key holder's chunks are not those of its answer; nothing was released")
        names = self._names(current.survivors)
        made = Decryption(
            current.round_id, current.context, tuple(self._names(current.participants)),
            {name: current.headers[name][1].tag for name in names}, self._roster.hash(), key.hash, self.session,
            current.account, {HOLDER: body.signature}, body.result_hash, current.salt,
        )  # fmt: skip
        self._machine.fire(ServerEvent.CLOSE)
        self._state.round = None
        return made
