"""The shares of a round's secret: packed, sealed to each member, added by each, and put together again.

Whoever has seen fewer than ``threshold - packing + 1`` shares of a client's secret knows nothing of it. Members add what they
hold of all survivors, so that what the server puts together is the sum of the secrets, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from secagg.errors import AbortError, DecodeError, InputError
from secagg.hazmat import aead, field, packed, prg
from secagg.hazmat.agreement import KeyPair
from secagg.hazmat.kdf import hkdf
from secagg.hazmat.transcript import u64
from secagg.protocols.oneshot.messages import share_key
from secagg.protocols.oneshot.setup import Setup

if TYPE_CHECKING:
    from secagg.params import Params

__all__ = ["add_shares", "box_bytes", "combine", "derived", "open_share", "read_share", "seal_shares"]


def share_bytes(params: Params) -> int:
    """Return the bytes of one member's share of one secret, or of a sum of secrets."""
    return field.ELEMENT_BYTES * params.mask_plan.share_rows(params.packing)


def box_bytes(params: Params) -> int:
    """Return the bytes of one sealed share."""
    return share_bytes(params) + aead.OVERHEAD_BYTES


def derived(seed: bytes, label: str) -> Callable[[int], bytes]:
    """Return a source of a keystream of the seed in order, so that one upload is made again byte for byte."""
    key, used = hkdf(seed, label, length=prg.SEED_BYTES), 0

    def draw(length: int) -> bytes:
        nonlocal used
        made = prg.expand(key, 0, length, start=used)
        used += length
        return made

    return draw


def seal_shares(
    secret: npt.NDArray[np.int64], params: Params, setup: Setup, pair: KeyPair, round_id: int, me: str, seed: bytes
) -> list[bytes]:
    """Return the sealed shares of a round's secret, one for each member of the setup.

    Parameters
    ----------
    secret : ndarray of int64, shape (N,)
        Secret.
    params : Params
    setup : Setup
    pair : KeyPair
        This upload's own.
    round_id : int
    me : str
    seed : bytes
        32 bytes of the upload's randomness. Secret.
    """
    plan, rho = params.mask_plan, params.packing
    rows = packed.pack_digits(secret, plan.digit_bits, rho).reshape(-1, rho)
    draw = derived(seed, "oneshot-sharing")
    shares = packed.split(rows, params.threshold, range(1, len(setup.ids) + 1), draw)
    rows.fill(0)
    sealed = []
    for place, (member, body) in enumerate(zip(setup.ids, setup.bodies, strict=True)):
        key = share_key(pair.agree(body.channel_key), setup.session, setup.hash, round_id, me, member)
        plain = np.ascontiguousarray(shares[place]).astype("<u8", copy=False).tobytes()
        sealed.append(aead.seal(key, plain, u64(round_id), draw))
    shares.fill(0)
    return sealed


def open_share(
    sealed: bytes, params: Params, setup: Setup, pair: KeyPair, client_key: bytes, place: tuple[int, str, str]
) -> npt.NDArray[np.uint64]:
    """Return the share that a client sealed to a member, at `place` (round, client, member).

    Raises
    ------
    AuthenticationError, DecodeError
        It does not open, or holds no share: its client's doing, who signed for it.
    """
    round_id, client, member = place
    key = share_key(pair.agree(client_key), setup.session, setup.hash, round_id, client, member)
    return read_share(aead.open_(key, sealed, u64(round_id)), params, client)


def read_share(plain: bytes, params: Params, peer: str) -> npt.NDArray[np.uint64]:
    """Return a share from its bytes; DecodeError for another length or a number outside the field."""
    if len(plain) != share_bytes(params):
        raise DecodeError("a share of another length", peer=peer)
    share = np.frombuffer(plain, dtype="<u8").astype(np.uint64, copy=False)
    if not field.is_canonical(share):
        raise DecodeError("a share's element is not canonical", peer=peer)
    return share


def add_shares(shares: Sequence[npt.NDArray[np.uint64]]) -> bytes:
    """Return the bytes of the sum of at least one share, modulo p."""
    total = shares[0].copy()
    for share in shares[1:]:
        packed.add(total, share)
    return total.astype("<u8", copy=False).tobytes()


def combine(
    params: Params, answers: Mapping[int, npt.NDArray[np.uint64]]
) -> tuple[npt.NDArray[np.int64], tuple[int, ...]]:
    """Return the sum of the survivors' secrets from members' answers by place, and the places whose answer was wrong.

    Raises
    ------
    AbortError
        Answers contradict each other and too few are left over to tell which are right.
    """
    plan, places = params.mask_plan, sorted(answers)
    shares = np.stack([answers[place] for place in places])
    try:
        rows, wrong = packed.combine([place + 1 for place in places], shares, params.threshold, params.packing)
    except InputError as error:
        raise AbortError(f"members' answers contradict each other: {error}; nothing was released") from None
    try:
        total = packed.unpack_digits(rows.reshape(-1), plan.digit_bits, plan.degree)
    except InputError:
        raise AbortError(
            "the sum of the secrets is none that honest clients have: a client garbled its shares, or a member its answer; "
            "nothing was released"
        ) from None
    return total, tuple(x - 1 for x in wrong)
