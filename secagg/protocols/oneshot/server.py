"""The server of the oneshot protocol: phases advance only by `close_phase`, frames are taken at any time.

Theory of operation. A round asks the committee for keys when none cover it, asks the participants for masked updates, adds
what is complete and well formed, and asks the committee for the sum of the secrets of those that trained on one model.
Whoever sent nothing is simply not in that sum: no mask of a dropout has to be opened. A phase that ends with too few aborts
the round: its id is burned, nothing is released, the session goes on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from secagg.errors import AbortError, ThresholdError
from secagg.hazmat.agreement import KeyPair
from secagg.protocols.accounts import account_digest, participants_digest, survivors_digest
from secagg.protocols.one_message_server import OneMessageServer
from secagg.protocols.oneshot import merkle, sharing
from secagg.protocols.oneshot.intake import Intake, cut
from secagg.protocols.oneshot.messages import KeysRequest, Kind, MaskedRequest, RevealRequest, public_seed
from secagg.protocols.oneshot.setup import Setup, committee
from secagg.protocols.oneshot.state import Batch, Bulk, Round, ServerState
from secagg.protocols.oneshot.transitions import ServerEvent, ServerPhase
from secagg.protocols.rounds import one_model
from secagg.protocols.secret import Secret

if TYPE_CHECKING:
    from secagg.identity import Identity, Roster
    from secagg.params import Params

__all__ = ["OneshotServer", "Revealed", "share_chunks"]


def share_chunks(params: Params, members: int) -> list[int]:
    """Return the bytes of each chunk that the sealed shares of one upload travel in: whole shares, as many as fit a frame."""
    box = sharing.box_bytes(params)
    per = max(1, params.frame_bytes // box)
    return [min(per, members - at) * box for at in range(0, members, per)]


@dataclass(frozen=True, repr=False)
class Revealed(Secret):
    """What a finished round leaves: who is in the sum, and the sum of the secrets that mask it."""

    round_id: int
    context: bytes
    secret_sum: npt.NDArray[np.int64]
    public: bytes
    participants: tuple[str, ...]
    uploads: dict[str, bytes]
    members_hash: bytes
    setup_hash: bytes
    session: bytes
    account: bytes
    signatures: dict[str, bytes]
    blamed: dict[str, str]


class OneshotServer(OneMessageServer[ServerState, Revealed]):
    """The server's state across the batches and rounds of a session."""

    _events = ServerEvent
    _setup_phase = ServerPhase.KEYS
    _forgets = (
        ServerPhase.REVEAL
    )  # members may have lost their keys, and with them every round of the batch: ask for others

    def __init__(
        self,
        params: Params,
        identity: Identity,
        roster: Roster,
        bulk: Callable[[], Bulk],
        entropy: Callable[[int], bytes],
        session: bytes | None = None,
    ) -> None:
        state = ServerState(params, roster, entropy(16) if session is None else session, bulk())
        super().__init__(params, identity, roster, bulk, state, Intake(state), entropy)

    # -- what the facade sees -------------------------------------------------------------------------------------

    @property
    def missing(self) -> tuple[str, ...]:
        """Names still awaited in the open phase, sorted."""
        batch, current = self._state.batch, self._state.round
        if batch is None or current is None:
            return ()
        match self._machine.state:
            case ServerPhase.KEYS:
                return tuple(c for c in batch.crew if c not in batch.keys)
            case ServerPhase.MASKED:
                gone = current.complete.keys() | current.excluded
                return tuple(c for c in self._names(current.participants) if c not in gone)
            case ServerPhase.REVEAL if batch.setup is not None:
                return tuple(c for c in batch.setup.ids if c not in current.answer_frames)
        return ()

    def forget(self) -> None:
        """Between rounds: know no setup, so that the next round runs one."""
        self._state.batch = None

    # -- keys -----------------------------------------------------------------------------------------------------

    @property
    def _keys(self) -> Batch | None:
        return self._state.batch

    @property
    def _unfinished(self) -> bool:
        return self._state.batch is not None and self._state.batch.setup is None

    def _covers(self, round_id: int) -> bool:
        batch = self._state.batch
        return batch is not None and batch.setup is not None and batch.setup.covers(round_id)

    def _new_round(self, round_id: int) -> Round:
        return Round(round_id)

    def _ask_keys(self, round_id: int) -> list[tuple[str | None, bytes]]:
        pair = KeyPair.generate(self._entropy)
        request = KeysRequest(
            round_id, self._params.rounds_per_setup, self._params.hash, self._roster.hash(), pair.public_bytes
        )
        crew = committee(self._roster, self.session, self._params.committee)
        self._state.batch = Batch(request, pair, crew, seen={pair.public_bytes})
        frame = self._sign(Kind.KEYS_REQUEST, request)
        return [(name, frame) for name in crew]

    # -- phases ---------------------------------------------------------------------------------------------------

    def _close(self) -> Revealed | None:
        match self._machine.state:
            case ServerPhase.KEYS:
                self._close_keys()
            case ServerPhase.MASKED:
                self._close_masked()
            case _:
                return self._close_reveal()
        return None

    def _close_keys(self) -> None:
        batch = self._state.batch
        have = 0 if batch is None else len(batch.keys)
        if batch is None or have < self._params.threshold:
            raise ThresholdError("committee members that sent keys", self._params.threshold, have)
        frames = [batch.keys[name] for name in sorted(batch.keys, key=str.encode)]
        batch.setup = Setup.read(frames, self.session, self._roster, self._params)
        self._machine.fire(ServerEvent.CLOSE)
        self._ask_updates()

    def _ask_updates(self) -> None:
        batch, setup, current = self._state.setup()
        self._state.bulk.expect(share_chunks(self._params, len(setup.ids)))
        ranks = {name: rank for rank, name in enumerate(self._roster.ids)}
        current.participants = sorted(ranks[name] for name in self._wanted)
        current.participants_hash = participants_digest(setup.hash, current.round_id, self._names(current.participants))
        with_keys, without = (
            self._sign(
                Kind.MASKED_REQUEST,
                MaskedRequest(current.round_id, self._params.hash, setup.hash, current.participants, keys),
            )
            for keys in (list(setup.frames), None)
        )
        self._out += [(c, without if c in batch.shown else with_keys) for c in self._names(current.participants)]

    def _close_masked(self) -> None:
        batch, setup, current = self._state.setup()
        ids = self._roster.ids
        # They may have lost the keys; and so many may have that this round ends here.
        batch.shown -= {c for c in self._names(current.participants) if c not in current.headers}
        current.context, current.survivors = one_model(self._params, {
            rank: current.complete[ids[rank]] for rank in current.participants if ids[rank] in current.complete
        })  # fmt: skip
        names = self._names(current.survivors)
        uploads = {name: current.headers[name][1].tag for name in names}
        current.account = account_digest(
            self.session, current.round_id, self._params.hash, setup.hash, setup.members_hash, current.participants_hash,
            survivors_digest(setup.hash, current.round_id, uploads), current.context,
        )  # fmt: skip
        headers = [current.headers[name][0] for name in names]
        sealed: list[list[bytes]] = [[] for _ in setup.ids]
        paths: list[list[bytes]] = [[] for _ in setup.ids]
        for name in names:
            boxes = cut(self._state.bulk.shares(name), len(setup.ids))
            for place, (box, path) in enumerate(zip(boxes, merkle.paths_in(current.trees[name]), strict=True)):
                sealed[place].append(box)
                paths[place].append(path)
        self._machine.fire(ServerEvent.CLOSE)
        for place, member in enumerate(setup.ids):
            body = RevealRequest(
                current.round_id, self._params.hash, setup.hash, current.participants, headers, list(setup.frames),
                b"".join(sealed[place]), b"".join(paths[place]),
            )  # fmt: skip
            self._out.append((member, self._sign(Kind.REVEAL_REQUEST, body)))
            sealed[place].clear()  # they stand in the frame now
            paths[place].clear()

    def _close_reveal(self) -> Revealed:
        _, setup, current = self._state.setup()
        have, needed = len(current.answers), self._params.threshold
        if have < needed:
            if current.complaints:
                blamed = sorted({name for names in current.complaints.values() for name in names})
                raise AbortError(
                    f"{have} of {needed} members answered: {', '.join(sorted(current.complaints))} could not open shares of "
                    f"{', '.join(blamed)}"
                )
            raise ThresholdError("answers of the committee", needed, have)
        secret_sum, wrong = sharing.combine(self._params, current.answers)
        names = self._names(current.survivors)
        made = Revealed(
            current.round_id, current.context, secret_sum,
            public_seed(self.session, self._params.hash, self._roster.hash(), current.round_id),
            tuple(self._names(current.participants)), {name: current.headers[name][1].tag for name in names},
            setup.members_hash, setup.hash, self.session, current.account, current.signatures,
            _blamed(current, [setup.ids[place] for place in wrong], int(self._params.corrupt)),
        )  # fmt: skip
        self._machine.fire(ServerEvent.CLOSE)
        self._state.round = None
        return made


def _blamed(current: Round, wrong: Iterable[str], corrupt: int) -> dict[str, str]:
    """Return whom a finished round speaks against, and why; who of the two it names lied, nobody but they can tell.

    Who complains of more clients than may be corrupt complains of an honest one: it does not get them all named.
    """
    said, believed = defaultdict(list), {}
    for member in wrong:
        said[member].append("its answer does not fit the others': it is wrong, or a client dealt it a share that is")
    for member, names in current.complaints.items():
        if len(names) > corrupt:
            said[member].append(f"it complained of {len(names)} clients, of whom {corrupt} may be corrupt")
        else:
            believed[member] = names
    for name in sorted({name for names in believed.values() for name in names}):
        by = ", ".join(sorted(member for member, names in believed.items() if name in names))
        said[name].append(f"its shares for {by} do not open: they are none, or that is untrue")
    return {name: "; ".join(reasons) for name, reasons in said.items()}
