"""What a client knows, apart from how it moves: the secrets of its setup, its view of the round, and its memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from secagg.errors import AuthenticationError, DecodeError, EquivocationError, PeerError
from secagg.hazmat.agreement import KeyPair
from secagg.hazmat.transcript import digest
from secagg.protocols.machine import Machine
from secagg.protocols.memory import Record
from secagg.protocols.pairwise.dealing import Holding
from secagg.protocols.pairwise.messages import (
    KeysRequest,
    Kind,
    MaskedHeader,
    decoders,
    participants_digest,
)
from secagg.protocols.pairwise.setup import Setup
from secagg.protocols.pairwise.transitions import CLIENT_ROUND, CLIENT_SETUP, ClientEvent, RoundState, SetupState
from secagg.protocols.party import INTENT, Party, Submission
from secagg.protocols.secret import Secret
from secagg.wire import Envelope, decode_body, decode_frame

__all__ = ["INTENT", "MASKED", "SHARES", "UNMASK", "ClientBatch", "ClientRound", "ClientState"]

# Phases whose one frame the memory keeps. An advertisement is not among them: it carries nothing but fresh public keys.
SHARES, MASKED, UNMASK = "shares", "masked", "unmask"


@dataclass(repr=False)
class ClientBatch(Secret):
    """Secrets of one setup."""

    request: KeysRequest
    request_digest: bytes
    advertisement: bytes
    channel: KeyPair | None
    server_secret: bytes
    mask_pairs: list[KeyPair | None]
    seeds: list[bytes | None]
    rounding: bytes
    dealing: bytes
    machine: Machine[SetupState, ClientEvent] = field(default_factory=lambda: Machine(CLIENT_SETUP, SetupState.EMPTY))
    pairwise: dict[int, bytes] = field(default_factory=dict)
    setup: Setup | None = None
    shares_digest: bytes = b""
    dealt: bytes = b""
    own: Holding | None = None
    members: list[int] = field(default_factory=list)
    holdings: dict[int, Holding] = field(default_factory=dict)
    complaints: list[int] = field(default_factory=list)

    def erase_before(self, round_id: int) -> None:
        """Forget the secrets of every round before `round_id`."""
        for offset in range(min(max(round_id - self.request.first_round, 0), self.request.rounds)):
            self.mask_pairs[offset] = None
            self.seeds[offset] = None
            for holding in (self.own, *self.holdings.values()):
                if holding is not None:
                    holding.erase(offset)
        if round_id >= self.request.first_round + self.request.rounds:
            self.erase_setup()
            self.server_secret = self.rounding = b""

    def erase_setup(self) -> None:
        """Forget what only dealing and opening the dealt shares needed; with recorded traffic it would open erased shares."""
        self.channel, self.dealt, self.dealing = None, b"", b""
        self.pairwise.clear()


@dataclass(repr=False)
class ClientRound(Submission):
    """The client's view of the round in progress."""

    machine: Machine[RoundState, ClientEvent] = field(default_factory=lambda: Machine(CLIENT_ROUND, RoundState.IDLE))
    body: MaskedHeader | None = None
    unmask_digest: bytes = b""
    answer: bytes = b""

    def check_same(self, participants: list[int], phase: str) -> None:
        """Refuse to see the round with other participants than before, whether this state remembers it or the memory does."""
        submitted = self.participants_hash if self.body is None else self.body.participants_hash
        if self.participants != participants or submitted != self.participants_hash:
            raise EquivocationError("the same round again with other participants", peer="server", phase=phase)

    def submitted(self, header: bytes, body: MaskedHeader) -> None:
        """Keep the header that left."""
        if self.machine.state is RoundState.IDLE:  # its request came to an older copy of this state
            self.machine.fire(ClientEvent.MASKED_REQUEST)
        self.machine.fire(ClientEvent.SUBMIT)
        super().submitted(header, body)


@dataclass(repr=False)
class ClientState(Party):
    """Everything that the client's parts share: `PairwiseClient` moves it."""

    batch: ClientBatch | None = None
    round: ClientRound | None = None

    def need_batch(self, phase: str) -> ClientBatch:
        """Return the setup under way, or refuse."""
        if self.batch is None:
            raise PeerError("no setup is under way here", peer="server", phase=phase)
        return self.batch

    def need_setup(self, setup_hash: bytes, round_id: int, phase: str) -> tuple[ClientBatch, Setup]:
        """Return batch and setup if a request of this round belongs to them, or refuse."""
        batch = self.need_batch(phase)
        if batch.setup is None:
            raise PeerError("no shares were dealt yet", peer="server", phase=phase)
        if setup_hash != batch.setup.setup_hash:
            raise AuthenticationError("request of another setup", peer="server", phase=phase)
        if not batch.setup.covers(round_id):
            raise PeerError("round is not in this setup", peer="server", phase=phase)
        return batch, batch.setup

    def check_participants(self, setup: Setup, members: list[int], participants: list[int], phase: str) -> None:
        """Refuse participants who are no members, out of order, or too many or few for our Params."""
        setup.check_ranks(participants, members, "server")
        if not self.params.min_clients <= len(participants) <= self.params.max_participants:
            raise PeerError("number of participants is outside Params", peer="server", phase=phase)

    def new_round(self, setup: Setup, round_id: int, participants: list[int]) -> ClientRound:
        """Return a view of a round that is not entered yet, with what the memory knows of it."""
        view = participants_digest(setup.setup_hash, round_id, setup.names(participants))
        current = ClientRound(round_id, list(participants), view)
        self.reconcile(current)
        return current

    def reconcile(self, current: ClientRound) -> None:
        """Let a frame that left before this state was last saved stand, whatever this state says."""
        if not self.session:
            return
        intent = self.memory.recall(self.session, current.round_id, INTENT)
        if intent is not None:
            current.intent = intent.mark
        header = self.memory.recall(self.session, current.round_id, MASKED)
        if header is not None and header.frame and not current.header:
            asked = current.machine.state is RoundState.AWAITING
            current.submitted(header.frame, read_header(header.frame))
            current.resubmit = asked  # recorded, but nobody knows whether it was sent
        answer = self.memory.recall(self.session, current.round_id, UNMASK)
        if answer is not None and not answer.frame:
            raise PeerError("the round is over", peer="server")
        if answer is not None and current.machine.allows(ClientEvent.UNMASK_REQUEST):
            current.machine.fire(ClientEvent.UNMASK_REQUEST)
            current.unmask_digest, current.answer, current.resubmit = answer.mark, answer.frame, False

    def enter(self, batch: ClientBatch, current: ClientRound) -> None:
        """Make a round the one in progress; earlier ones expire."""
        batch.erase_before(current.round_id)
        self.own_floor = current.round_id
        self.round = current

    def answerable(self, session: bytes, round_id: int, phase: str, frame: bytes, mark: bytes) -> bytes | None:
        """Make a dealing or an answer durable before it leaves; return the one that answers `mark`, None if another stands.

        It is another one than `frame` only where an answer was recorded and then lost with the process.
        """
        kept = b"" if phase == SHARES else frame  # a dealing is large, and made again from the same state byte for byte
        stands = self.record(session, round_id, phase, frame, mark=mark, kept=kept)
        if stands == Record(mark, digest("record", frame), kept):
            return frame
        return stands.frame if phase == UNMASK and stands.mark == mark and stands.frame else None


def read_header(frame: bytes) -> MaskedHeader:
    """Return the body of a header of our own, out of our own memory."""
    _, outer = decode_frame(frame, max_bytes=len(frame))
    if not isinstance(outer, Envelope):
        raise DecodeError("the memory holds no header")
    body: MaskedHeader = decode_body(outer.payload, decoders[Kind.MASKED_HEADER], outer.sender)
    return body
