"""How many bytes the frames of a session have, in closed form: MessagePack's sizes, the protocol's counts.

References
----------
docs/spec/pairwise.md, section 2 (frames) and sections 4 to 7 (their bodies).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Traffic", "traffic"]

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
