"""The server of the ckks protocol: phases advance only by `close_phase`, frames are taken at any time.

Theory of operation. A round asks the holder for a key when none covers it, asks the participants for encrypted updates, adds what
is complete and well formed, and asks the holder to decrypt the sum of those that trained on one model. The server has no secret
key and no frame could bring it one: an announcement holds a public key by its type. A phase that ends with too few aborts the
round: its id is burned, nothing is released, the session goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from secagg.errors import AbortError, ThresholdError
from secagg.hazmat.agreement import KeyPair
from secagg.protocols.accounts import account_digest, participants_digest, survivors_digest, upload_tag
from secagg.protocols.ckks.intake import Intake
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
from secagg.protocols.one_message_server import OneMessageServer
from secagg.protocols.rounds import one_model
from secagg.protocols.secret import Secret
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


class CkksServer(OneMessageServer[ServerState, Decryption]):
    """The server's state across the keys and rounds of a session."""

    _events = ServerEvent
    _setup_phase = ServerPhase.KEYS
    _forgets = (
        ServerPhase.DECRYPT
    )  # the holder may have lost its key, and with it every round of the batch: ask for another

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
        super().__init__(params, identity, roster, bulk, state, Intake(state), entropy)

    # -- what the facade sees -------------------------------------------------------------------------------------

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

    def forget(self) -> None:
        """Between rounds: know no key, so that the next round asks for one."""
        self._state.key = None

    # -- keys -----------------------------------------------------------------------------------------------------

    @property
    def _keys(self) -> Key | None:
        return self._state.key

    @property
    def _unfinished(self) -> bool:
        return self._state.key is not None and self._state.key.body is None

    def _covers(self, round_id: int) -> bool:
        return self._state.key is not None and self._state.key.covers(round_id)

    def _new_round(self, round_id: int) -> Round:
        return Round(round_id)

    def _ask_keys(self, round_id: int) -> list[tuple[str | None, bytes]]:
        request = KeyRequest(round_id, self._params.rounds_per_setup, self._params.hash, self._roster.hash())
        self._state.key = Key(request)
        return [(HOLDER, self._sign(Kind.KEY_REQUEST, request))]

    # -- phases ---------------------------------------------------------------------------------------------------

    def _close(self) -> Decryption | None:
        match self._machine.state:
            case ServerPhase.KEYS:
                self._close_keys()
            case ServerPhase.ENCRYPTED:
                self._close_encrypted()
            case _:
                return self._close_decrypt()
        return None

    def _close_keys(self) -> None:
        key, _ = self._state.open()
        if key.body is None:
            raise ThresholdError("keys of the key holder", 1, 0)
        self._machine.fire(ServerEvent.CLOSE)
        self._ask_updates()

    def _ask_updates(self) -> None:
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
