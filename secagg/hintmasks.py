"""The bulk side of oneshot: the only code that touches lattice-masked vectors.

`HintMasking` is the client's half (encode, mask, frame), `HintAccumulator` the server's (add, open).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from secagg import _kernels
from secagg.encoding import Source
from secagg.errors import AbortError, InputError, StateError
from secagg.hazmat.hintrlwe import MaskedSum, MaskSecret
from secagg.hints import MaskSegment
from secagg.params import Params
from secagg.protocols.oneshot import HintUpload
from secagg.protocols.secret import Secret
from secagg.spool import Spool
from secagg.workers import Workers

__all__ = ["HintAccumulator", "HintMasking"]

Place = tuple[int, int]
Pin = Callable[[Source, int, int, int, int], Source]
BLOCK = 1 << 15  # values that are encoded and masked in one go, or one polynomial's


class HintMasking:
    """Encodes and masks updates, chunk by chunk: what `Client` does with an update in oneshot."""

    def __init__(self, params: Params, workers: Workers) -> None:
        self._plan, self._frame_bytes, self._workers = params.mask_plan, params.frame_bytes, workers

    def plan(self, number: int) -> MaskSegment:
        """Return how a segment's values are cut into chunks."""
        return self._plan.segments[number]

    def segment(
        self, source: Source, number: int, upload: HintUpload, pin: Pin | None = None
    ) -> Iterator[tuple[bytes, int]]:
        """Yield the masked frames of one segment other than the head, and with each how many of its values were clipped.

        Parameters
        ----------
        source : Source
            The update. Secret.
        number : int
        upload : HintUpload
        pin : callable, optional
            ``(source, segment, index, start, stop) -> source``: what a chunk is really made of, a copy that was checked.

        Raises
        ------
        InputError
            A value cannot be encoded, or `pin` refuses.
        """
        cut = self._plan.segments[number]
        secret = MaskSecret(cut.ring, upload.seed)
        for index, start, stop in cut:
            fixed = source if pin is None else pin(source, number, index, start, stop)
            work = _Chunk(fixed, cut, (number, index), secret, upload.public)
            self._workers.each(work.fill, self._workers.split(stop - start, work.unit))
            yield upload.chunk(number, index, memoryview(work.payload)), sum(work.clipped)

    def head(self, source: Source, clipped: int, upload: HintUpload) -> bytes:
        """Return the masked frame of the head segment, which knows how many values were clipped in all."""
        cut, lanes = self._plan.segments[0], source.head(clipped)
        payload = MaskSecret(cut.ring, upload.seed).mask(lanes, upload.public, cut.number(0))
        return upload.chunk(0, 0, memoryview(payload))

    def rest(self, upload: HintUpload) -> list[bytes]:
        """Return the frames of the sealed shares."""
        sealed = upload.shares()
        per, last = max(1, self._frame_bytes // len(sealed[0])), len(self._plan.segments)
        return [
            upload.chunk(last, index, memoryview(b"".join(sealed[at : at + per])))
            for index, at in enumerate(range(0, len(sealed), per))
        ]


class _Chunk:
    """One chunk under its masks; ranges of it may be filled by several threads."""

    def __init__(self, source: Source, cut: MaskSegment, place: Place, secret: MaskSecret, public: bytes) -> None:
        self._source, self._cut, self._secret, self._public = source, cut, secret, public
        self._number, index = place
        self._start = cut.span(index)[0]
        self._first = cut.number(index)
        self._poly = cut.ring.payload_bytes(cut.unit)
        self.unit = max(1, BLOCK // cut.unit) * cut.unit
        self.payload = bytearray(cut.payload_bytes(index))
        self.clipped: list[int] = []

    def fill(self, low: int, high: int) -> None:
        """Encode and mask a range of the chunk's values, a few polynomials at a time so that they stay in the cache."""
        for at in range(low, high, self.unit):
            stop, done = min(at + self.unit, high), at // self._cut.unit
            lanes, clipped = self._source.encode(self._number, self._start + at, self._start + stop)
            self.clipped.append(clipped)
            size = self._cut.ring.payload_bytes(stop - at)
            into = memoryview(self.payload)[done * self._poly : done * self._poly + size]
            try:
                self._secret.mask(lanes, self._public, self._first + done, into)
            finally:
                lanes.fill(0)


class HintAccumulator(Secret):
    """Sums of masked updates by group (clients that trained on the same model), and what opens one.

    Parameters
    ----------
    params : Params
    max_groups : int
        Groups that are kept; an upload to one more is refused, since each costs a whole vector.
    workers : Workers, optional
        Default: the caller's thread alone.
    spool : Spool, optional
        Where unfinished uploads, and sealed shares, wait. Default: in memory.

    Notes
    -----
    Memory is 8 bytes a residue and group, and what the spool keeps.
    """

    def __init__(
        self, params: Params, max_groups: int = 1, workers: Workers | None = None, spool: Spool | None = None
    ) -> None:
        self._plan = params.mask_plan
        self._segments = params.segment_plan.segments
        self._sizes = [[cut.payload_bytes(index) for index, _, _ in cut] for cut in self._plan.segments]
        self._max_groups = max_groups
        self._workers = workers or Workers(1)
        self._spool = spool or Spool(1 << 62)
        self._sums: dict[bytes, list[list[MaskedSum]]] = {}
        self._shares: list[int] = []
        self._broken = False

    def expect(self, shares: list[int]) -> None:
        """Let each upload have chunks of these lengths for its sealed shares."""
        self._shares = list(shares)

    def chunks(self) -> list[list[int]]:
        """Return, per segment, the payload bytes of each chunk of an upload; the last segment is the sealed shares."""
        return [*self._sizes, self._shares]

    def add(self, client: str, segment: int, index: int, payload: memoryview) -> None:
        """Keep one authenticated chunk of an unfinished upload; InputError if there is no room for it."""
        self._spool.put(client, (segment, index), payload)

    def uploaded(self, client: str) -> Iterator[tuple[Place, memoryview]]:
        """Yield the chunks of an unfinished upload."""
        return self._spool.payloads(client)

    def discard(self, client: str) -> None:
        """Forget an unfinished upload."""
        self._spool.drop(client)

    def shares(self, client: str) -> bytes:
        """Return the sealed shares of a complete upload."""
        return b"".join(bytes(payload) for _, payload in sorted(self._spool.payloads(_kept(client))))

    def fold(self, client: str, group: bytes) -> None:
        """Add a complete upload to its group's sum, and keep its sealed shares.

        Raises
        ------
        InputError
            A residue is not below its prime, padding is not zero, or there are too many groups or too little room; the sum is as
            it was.
        """
        sums, fresh = self._sums.get(group), False
        if sums is None:
            if len(self._sums) >= self._max_groups:
                raise InputError("too many different contexts in one round")
            sums = [[MaskedSum(cut.ring, stop - start) for _, start, stop in cut] for cut in self._plan.segments]
            fresh = True
        self._check_whole()
        last = len(self._plan.segments)
        self._broken = True  # until all of it is added, or none
        added: list[tuple[MaskedSum, memoryview]] = []
        try:
            for (number, index), payload in self._spool.payloads(client):
                if number < last:
                    sums[number][index].add(payload)
                    added.append((sums[number][index], payload))
                else:
                    self._spool.put(_kept(client), (number, index), memoryview(bytes(payload)))
        except InputError:
            for total, payload in added:
                total.subtract(payload)
            self._spool.drop(_kept(client))
            self._broken = False
            raise
        self._broken = False
        if fresh:  # a refused upload leaves no empty group behind
            self._sums[group] = sums
        self._spool.drop(client)

    def _check_whole(self) -> None:
        if self._broken:
            raise AbortError("an upload was added in part when the machine failed; abort the round")

    def finish(self, group: bytes, secret_sum: NDArray[np.int64], public: bytes) -> list[NDArray[np.unsignedinteger]]:
        """Return a group's opened sums, one array of lanes a segment, and forget every group.

        Raises
        ------
        AbortError
            The sum of the errors is none that honest clients have.
        StateError
            No upload is in the group.
        """
        if group not in self._sums:
            raise StateError("no upload was folded into this group")
        self._check_whole()
        opened = [self._open(number, row, secret_sum, public) for number, row in enumerate(self._sums[group])]
        self._sums = {}
        self._spool.clear()
        return opened

    def _open(
        self, number: int, row: list[MaskedSum], secret_sum: NDArray[np.int64], public: bytes
    ) -> NDArray[np.unsignedinteger]:
        cut, segment = self._plan.segments[number], self._segments[number]
        lanes = np.empty(cut.count, dtype=_kernels.lane_dtype(segment.w))
        for index, total in enumerate(row):
            start, stop = cut.span(index)
            try:
                values = total.open(secret_sum, public, cut.number(index))
            except InputError as error:
                raise AbortError(
                    f"{error}: a client garbled its upload or its shares, or a member its answer; nothing was released"
                ) from None
            if segment.w < 64 and bool((values >> np.uint64(segment.w)).any()):
                raise AbortError("a sum is out of range: a client garbled its upload; nothing was released")
            lanes[start:stop] = values
        return lanes


def _kept(client: str) -> str:
    """Under which name the spool keeps a client's sealed shares: no id has white space."""
    return f"{client} shares"
