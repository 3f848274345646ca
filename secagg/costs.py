"""How many bytes the frames of a session have, in closed form: MessagePack's sizes, the protocol's counts.

References
----------
docs/spec/pairwise.md, section 2 (frames) and sections 4 to 7 (their bodies); docs/spec/ckks.md and oneshot.md, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["CommitteeTraffic", "HolderTraffic", "Traffic", "ckks_traffic", "oneshot_traffic", "traffic"]

HASH = 32
SIGNATURE = 64
SESSION = 16
TAG = 16
SALT = 16
SEED_SHARE = 24
KEY_SHARE = 40
BOX = 28  # nonce and tag of a sealed box
HEADER = 4  # magic, version, kind


@dataclass(frozen=True)
class Traffic:
    """Bytes to and from one client.

    Attributes
    ----------
    setup_up, setup_down : int
        Keys and shares of one batch: advertisement and dealing; the requests, and the delivery.
    round_up, round_down : int
        One steady round of a participant: its upload and answer; both requests.
    answer_up, answer_down : int
        One steady round of a member that is not asked for an update.
    """

    setup_up: int
    setup_down: int
    round_up: int
    round_down: int
    answer_up: int
    answer_down: int


def _int(value: int) -> int:
    return 1 if value < 128 else 2 if value < 1 << 8 else 3 if value < 1 << 16 else 5 if value < 1 << 32 else 9


def _bin(size: int) -> int:
    return size + (2 if size < 1 << 8 else 3 if size < 1 << 16 else 5)


def _str(size: int) -> int:
    return size + (1 if size < 32 else 2)


def _array(count: int) -> int:
    return 1 if count < 16 else 3 if count < 1 << 16 else 5


def _numbers(count: int) -> int:
    """The integers from 0 to count - 1, one after the other."""
    steps = (
        (0, 1),
        (128, 1),
        (1 << 8, 1),
        (1 << 16, 2),
        (1 << 32, 4),
    )  # from where on a number takes so many bytes more
    return sum(more * max(count - start, 0) for start, more in steps)


def _ranks(count: int) -> int:
    """A list of `count` ranks, 0 to count - 1: one of other ranks is larger by a few bytes."""
    return _array(count) + _numbers(count)


def _envelope(sender: int, payload: int) -> int:
    return HEADER + 1 + _bin(SESSION) + _str(sender) + _bin(SIGNATURE) + _bin(payload)


def traffic(
    *,
    cohort: int,
    participants: int,
    neighbours: int,
    rounds: int,
    chunks: Sequence[tuple[int, int, int]],
    id_bytes: int = 16,
    round_id: int = 1,
) -> Traffic:
    """Return the bytes of a session in which everybody answers.

    Parameters
    ----------
    cohort, participants : int
        Members of the setup, and those of them who are asked for an update.
    neighbours : int
        Degree of the graphs, or more.
    rounds : int
        Rounds of a batch.
    chunks : sequence of (int, int, int)
        Of each segment: how many chunks, the payload bytes of each but the last, and those of the last.
    id_bytes : int
        Length of a client id.
    round_id : int
        A typical one; larger ids take a few bytes more.
    """
    degree = min(neighbours, cohort - 1)
    box, number = BOX + SALT + rounds * (SEED_SHARE + KEY_SHARE), _int(round_id)
    advertisement = _envelope(id_bytes, 1 + number + _int(rounds) + 3 * _bin(HASH) + _bin(HASH * rounds))
    keys_request = _envelope(0, 1 + number + _int(rounds) + 3 * _bin(HASH))
    shares_request = _envelope(0, 1 + number + _array(cohort) + cohort * _bin(advertisement))
    dealing = _envelope(
        id_bytes, 1 + number + _bin(HASH) + _bin(HASH * rounds) + _bin(HASH * (degree + 1)) + _bin(box * degree)
    )
    delivery = 1 + _ranks(cohort) + _bin(HASH * degree) + _bin(box * degree)
    masked_request = _envelope(0, 1 + number + _bin(HASH) + _ranks(participants) + 1)
    header = _envelope(id_bytes, 1 + number + 6 * _bin(HASH) + 1)
    frame = HEADER + 1 + _bin(SESSION) + _str(id_bytes) + number + _bin(TAG)
    upload = header + sum(
        count * (frame + _int(segment)) + _numbers(count) + (count - 1) * _bin(size) + _bin(last)
        for segment, (count, size, last) in enumerate(chunks)
    )
    unmask_request = _envelope(
        0, 1 + number + _bin(HASH) + _ranks(participants) + _array(participants) + participants * _bin(header) + 1
    )
    opening = SALT + HASH * (2 * rounds - 1).bit_length()
    # Survivors of whom a client holds a seed share, on average: a participant holds one of itself too.
    held = round(degree * (participants - 1) / (cohort - 1)) + 1
    others = round(degree * participants / (cohort - 1))

    def answer(targets: int) -> int:
        plain = 1 + _bin(SEED_SHARE * targets) + _bin(opening * targets) + 2 * _bin(0)
        return _envelope(id_bytes, 1 + number + _bin(HASH) + _bin(SIGNATURE) + _bin(plain + BOX) + 1)

    return Traffic(
        setup_up=advertisement + dealing,
        setup_down=keys_request + shares_request + delivery - 1,
        round_up=upload + answer(held),
        round_down=masked_request + unmask_request,
        answer_up=answer(others),
        answer_down=unmask_request,
    )


@dataclass(frozen=True)
class HolderTraffic:
    """Bytes of a ckks round, a key's share of which is in `key`.

    Attributes
    ----------
    client_up, client_down : int
        One steady round of a participant: its upload; the request.
    holder_up, holder_down : int
        One round of the key holder: its answer; the request, and the sum or the uploads.
    key : int
        Bytes of one key announcement, which goes to the server once and to each client once.
    """

    client_up: int
    client_down: int
    holder_up: int
    holder_down: int
    key: int


def _chunk(sender: int, number: int, segment: int, index: int, payload: int) -> int:
    fixed = HEADER + 1 + _bin(SESSION) + _str(sender) + number + _int(segment) + _int(index)
    return fixed + _bin(SIGNATURE) + _bin(payload)


def ckks_traffic(
    *,
    participants: int,
    rounds: int,
    public_key: int,
    uploads: Sequence[Sequence[int]],
    results: Sequence[Sequence[int]],
    padded: bool,
    recompute: bool,
    id_bytes: int = 16,
    round_id: int = 1,
) -> HolderTraffic:
    """Return the bytes of a ckks round in which everybody answers.

    Parameters
    ----------
    participants, rounds : int
        In a round, and under one key.
    public_key : int
        Bytes of the RLWE public key.
    uploads, results : sequence of sequence of int
        Per segment, the payload bytes of each chunk of an upload, and of an opened sum (empty if the holder keeps it).
    padded, recompute : bool
        As in Params.
    id_bytes : int
        Length of a client id.
    round_id : int
        A typical one; larger ids take a few bytes more.
    """
    number = _int(round_id)
    holder = len("(key holder)")
    key = _envelope(holder, 1 + number + _int(rounds) + 3 * _bin(HASH) + _bin(public_key))
    request = _envelope(0, 1 + number + 2 * _bin(HASH) + _ranks(participants) + 1)
    header = _envelope(id_bytes, 1 + number + 5 * _bin(HASH) + _bin(HASH if padded else 0))

    def bulk(sender: int, sizes: Sequence[Sequence[int]], more: int = 0) -> int:
        return sum(
            _chunk(sender, number, segment, index, size + more)
            for segment, row in enumerate(sizes)
            for index, size in enumerate(row)
        )

    decrypt = _envelope(
        0,
        1 + number + 3 * _bin(HASH) + _bin(0 if recompute else HASH) + _ranks(participants) + _array(participants)
        + participants * _bin(header),
    )  # fmt: skip
    salt = _bin(HASH + BOX if results else 0)
    answer = _envelope(holder, 1 + number + 3 * _bin(HASH) + _bin(SIGNATURE) + salt)
    return HolderTraffic(
        client_up=header + bulk(id_bytes, uploads),
        client_down=request,
        holder_up=answer + bulk(holder, results, BOX),
        holder_down=decrypt + (participants * bulk(id_bytes, uploads) if recompute else bulk(0, uploads)),
        key=key,
    )


@dataclass(frozen=True)
class CommitteeTraffic:
    """Bytes of a oneshot session in which everybody answers.

    Attributes
    ----------
    client_up, client_down : int
        One steady round of a participant: its upload; the request.
    shares : int
        How much of an upload are the sealed shares.
    member_up, member_down : int
        One round of a committee member: its answer; the request, with everybody's headers and its shares.
    key_up, key_down : int
        A member's key for a batch of rounds; the request for it.
    keys : int
        All members' keys, which go to each client once a batch.
    """

    client_up: int
    client_down: int
    shares: int
    member_up: int
    member_down: int
    key_up: int
    key_down: int
    keys: int


def oneshot_traffic(
    *,
    participants: int,
    committee: int,
    rounds: int,
    uploads: Sequence[Sequence[int]],
    share: int,
    frame_bytes: int,
    id_bytes: int = 16,
    round_id: int = 1,
) -> CommitteeTraffic:
    """Return the bytes of a oneshot round in which everybody answers.

    Parameters
    ----------
    participants, committee, rounds : int
        In a round; members; and in a batch.
    uploads : sequence of sequence of int
        Per segment, the payload bytes of each chunk of an upload, without the shares.
    share : int
        Bytes of one member's share of one secret.
    frame_bytes : int
        As in Params.
    id_bytes : int
        Length of a client id.
    round_id : int
        A typical one; larger ids take a few bytes more.
    """
    number, box = _int(round_id), share + BOX
    key_request = _envelope(0, 1 + number + _int(rounds) + 3 * _bin(HASH))
    key = _envelope(id_bytes, 1 + number + _int(rounds) + 4 * _bin(HASH))
    keys = _array(committee) + committee * _bin(key)
    request = _envelope(0, 1 + number + 2 * _bin(HASH) + _ranks(participants) + 1)
    header = _envelope(id_bytes, 1 + number + 7 * _bin(HASH))
    per = max(1, frame_bytes // box)
    shared = [min(per, committee - at) * box for at in range(0, committee, per)]
    sizes = [*uploads, shared]
    chunks = [
        [_chunk(id_bytes, number, segment, index, size) for index, size in enumerate(row)]
        for segment, row in enumerate(sizes)
    ]
    path = HASH * (committee - 1).bit_length()
    reveal = _envelope(
        0,
        1 + number + 2 * _bin(HASH) + _ranks(participants) + _array(participants) + participants * _bin(header) + keys
        + _bin(box * participants) + _bin(path * participants),
    )  # fmt: skip
    answer = _envelope(id_bytes, 1 + number + _bin(HASH) + _bin(SIGNATURE) + _bin(share + BOX) + 1)
    return CommitteeTraffic(
        client_up=header + sum(map(sum, chunks)),
        client_down=request,
        shares=sum(chunks[-1]),
        member_up=answer,
        member_down=reveal,
        key_up=key,
        key_down=key_request,
        keys=keys,
    )
