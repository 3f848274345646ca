"""A committee member that lies, for the demo to show that it is found and named: no party of the engine can be told to lie."""

from __future__ import annotations

from collections.abc import Collection

from secagg.client import Client
from secagg.errors import InternalError
from secagg.hazmat import aead, field
from secagg.hazmat.agreement import KeyPair
from secagg.protocols.oneshot import OneshotClient
from secagg.protocols.oneshot.member import Member
from secagg.protocols.oneshot.messages import Kind, MaskedHeader, Reveal, RevealRequest, answer_key, decoders
from secagg.protocols.oneshot.setup import Setup
from secagg.wire import Envelope, decode_body, decode_frame, seal_envelope

__all__ = ["corrupt"]


class _Liar(Member):
    """Signs and seals what it should, but for the sum in it: one share is off by one."""

    lies: Collection[int] = ()

    def _answer(
        self, body: RevealRequest, setup: Setup, pair: KeyPair, account: bytes, headers: dict[str, MaskedHeader]
    ) -> bytes:
        frame = super()._answer(body, setup, pair, account, headers)
        if body.round_id not in self.lies:
            return frame
        _, outer = decode_frame(frame, max_bytes=len(frame))
        if not isinstance(outer, Envelope):
            raise InternalError("an answer is an envelope")
        told: Reveal = decode_body(outer.payload, decoders[Kind.REVEAL], outer.sender)
        party = self._party
        key = answer_key(pair.agree(setup.server_key), setup.session, setup.hash, body.round_id, party.me)
        plain = aead.open_(key, told.sealed, account)
        size = field.ELEMENT_BYTES
        first = (int.from_bytes(plain[:size], "little") + 1) % field.P
        sealed = aead.seal(key, first.to_bytes(size, "little") + plain[size:], account, party.entropy)
        lie = Reveal(told.round_id, told.account, told.account_signature, sealed, told.complaints)
        return seal_envelope(Kind.REVEAL, setup.session, party.me, lie, party.identity.sign)


def corrupt(client: Client, lies: Collection[int]) -> None:
    """Let a client that has seen no frame yet answer wrongly, as a committee member, in the rounds of `lies`."""
    core = client._core  # noqa: SLF001  # an adversary does not ask
    if not isinstance(core, OneshotClient):
        raise InternalError("only protocol='oneshot' has a committee")
    liar = _Liar(core._state, core._forget)  # noqa: SLF001  # likewise
    liar.lies = lies
    core._member = liar  # noqa: SLF001  # likewise
