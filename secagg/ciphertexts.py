"""The bulk side of ckks: the only code that touches encrypted vectors.

`Encrypting` is the client's half (encode, encrypt, frame), `CipherAccumulator` the server's and the key holder's (add, open).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from secagg import _kernels
from secagg.aggregate import decode_sums
from secagg.encoding import Source
from secagg.errors import AbortError, InputError, StateError
from secagg.hazmat.rlwe import SecretKey, Sum, encrypt
from secagg.lattice import CipherSegment
from secagg.params import Params
from secagg.protocols.ckks import EncryptedUpload
from secagg.protocols.secret import Secret
from secagg.receipt import result_digest
from secagg.spool import Spool
from secagg.wire import ChunkPlan
from secagg.workers import Workers

__all__ = ["CipherAccumulator", "Encrypting"]

Place = tuple[int, int]
Pin = Callable[[Source, int, int, int, int], Source]
Values = Callable[[int, int], NDArray[np.unsignedinteger]]
BLOCK = 1 << 15  # coefficients that are encoded and encrypted in one go


class Encrypting:
    """Encodes and encrypts updates, chunk by chunk."""

    def __init__(self, params: Params, workers: Workers) -> None:
        self._plan = params.cipher_plan
        self._workers = workers

    def plan(self, number: int) -> CipherSegment:
        """Return how a segment's values are cut into chunks."""
        return self._plan.segments[number]

    def segment(
        self, source: Source, number: int, upload: EncryptedUpload, pin: Pin | None = None
    ) -> Iterator[tuple[bytes, int]]:
        """Yield the encrypted frames of one segment other than the head, and with each how many of its values were clipped.

        Parameters
        ----------
        source : Source
            The update. Secret.
        number : int
        upload : EncryptedUpload
        pin : callable, optional
            ``(source, segment, index, start, stop) -> source``: what a chunk is really made of, a copy that was checked.

        Raises
        ------
        InputError
            A value cannot be encoded, or `pin` refuses.
        """
        for index, start, stop in self._plan.segments[number]:
            fixed = source if pin is None else pin(source, number, index, start, stop)
            work = _Encoding(fixed, number, start)
            yield self._chunk(work.values, stop - start, number, index, upload), sum(work.clipped)

    def head(self, source: Source, clipped: int, upload: EncryptedUpload) -> bytes:
        """Return the encrypted frame of the head segment, which knows how many values were clipped in all."""
        lanes = source.head(clipped)
        return self._chunk(lambda low, high: lanes[low:high], len(lanes), 0, 0, upload)

    def rest(self, upload: EncryptedUpload) -> list[bytes]:
        """Return what else an upload holds before its header: nothing."""
        del upload
        return []

    def _chunk(self, values: Values, count: int, number: int, index: int, upload: EncryptedUpload) -> bytes:
        """Return the frame of one chunk, filled a few polynomials at a time so that they stay in the cache."""
        cut, ring = self._plan.segments[number], self._plan.ring
        payload = bytearray(cut.payload_bytes(index))
        poly, group = 2 * ring.degree * ring.bits // 8, cut.group
        polys = max(group, BLOCK // ring.degree // group * group)
        unit = polys * ring.degree // cut.limbs

        def fill(low: int, high: int) -> None:
            for at in range(low, high, unit):
                stop, first = min(at + unit, high), at // unit * polys
                end = len(payload) if stop == count else (first + polys) * poly
                lanes = values(at, stop)
                coefficients = cut.split(lanes)
                try:
                    encrypt(
                        upload.public, coefficients, self._plan.delta, upload.key, cut.number(index) + first, pad=upload.pad,
                        out=memoryview(payload)[first * poly : end],
                    )  # fmt: skip
                finally:
                    lanes.fill(0)
                    coefficients.fill(0)

        self._workers.each(fill, self._workers.split(count, unit))
        return upload.chunk(number, index, memoryview(payload))


class _Encoding:
    """The values of one chunk; ranges of it may be asked for by several threads."""

    def __init__(self, source: Source, number: int, start: int) -> None:
        self._source, self._number, self._start = source, number, start
        self.clipped: list[int] = []

    def values(self, low: int, high: int) -> NDArray[np.unsignedinteger]:
        """Return the encoded values of a range of the chunk."""
        lanes, clipped = self._source.encode(self._number, self._start + low, self._start + high)
        self.clipped.append(clipped)
        return lanes


class CipherAccumulator(Secret):
    """Sums of ciphertexts by group (clients that trained on the same model), and what opens one.

    Parameters
    ----------
    params : Params
    max_groups : int
        Groups that are kept; an upload to one more is refused, since each costs a whole vector.
    workers : Workers, optional
        Default: the caller's thread alone.
    spool : Spool, optional
        Where uploads wait. Default: in memory.
    keep : bool
        Whether uploads stay in the spool after they were added, to be passed on.

    Notes
    -----
    Memory is 16 bytes a value and group, and what the spool keeps.
    """

    def __init__(
        self,
        params: Params,
        max_groups: int = 1,
        workers: Workers | None = None,
        spool: Spool | None = None,
        *,
        keep: bool = False,
    ) -> None:
        self._params = params
        self._plan = params.cipher_plan
        self._segments = params.segment_plan.segments
        self._sizes = [[cut.payload_bytes(index) for index, _, _ in cut] for cut in self._plan.segments]
        self._packed = [ChunkPlan(s.count, s.w, params.frame_bytes) for s in self._segments]
        self._max_groups = max_groups
        self._workers = workers or Workers(1)
        self._spool = spool or Spool(1 << 62)
        self._keep = keep
        self._sums: dict[bytes, list[list[Sum]]] = {}
        self._lanes: list[NDArray[np.unsignedinteger]] | None = None
        self._broken = False

    # -- uploads --------------------------------------------------------------------------------------------------

    def chunks(self) -> list[list[int]]:
        """Return, per segment, the payload bytes of each chunk of an upload, or of a sum."""
        return self._sizes

    def add(self, client: str, segment: int, index: int, payload: memoryview) -> None:
        """Keep one authenticated chunk of an unfinished upload; InputError if there is no room for it."""
        self._spool.put(client, (segment, index), payload)

    def discard(self, client: str) -> None:
        """Forget an upload."""
        self._spool.drop(client)

    def uploads(self, client: str) -> Iterator[tuple[Place, memoryview]]:
        """Yield the chunks of an upload that was kept."""
        return self._spool.payloads(client)

    def fold(self, client: str, group: bytes) -> None:
        """Add a complete upload to its group's sum.

        Raises
        ------
        InputError
            A residue is not below the modulus, padding is not zero, a polynomial is transparent, or there are too many groups;
            the sum is as it was.
        """
        sums, fresh = self._sums.get(group), False
        if sums is None:
            if len(self._sums) >= self._max_groups:
                raise InputError("too many different contexts in one round")
            ring = self._plan.ring
            sums = [[Sum(ring, cut.coefficients(index)) for index, _, _ in cut] for cut in self._plan.segments]
            fresh = True
        self._check_whole()
        self._broken = True  # until all of it is added, or none
        added: list[tuple[Sum, memoryview]] = []
        try:
            for (number, index), payload in self._spool.payloads(client):
                sums[number][index].add(payload)
                added.append((sums[number][index], payload))
        except InputError:
            for total, payload in added:
                undo = Sum.from_bytes(total.ring, len(total), payload)
                total.ring.subtract(total.c1, undo.c1)
                total.ring.subtract(total.c0, undo.c0)
            self._broken = False
            raise
        self._broken = False
        if fresh:  # a refused upload leaves no empty group behind
            self._sums[group] = sums
        if not self._keep:
            self._spool.drop(client)

    def _check_whole(self) -> None:
        if self._broken:
            raise AbortError("an upload was added in part when the machine failed; abort the round")

    def total(self, group: bytes) -> Iterator[tuple[Place, bytes]]:
        """Yield the chunks of a group's sum."""
        for number, row in enumerate(self._of(group)):
            for index, total in enumerate(row):
                yield (number, index), total.to_bytes()

    def _of(self, group: bytes) -> list[list[Sum]]:
        if group not in self._sums:
            raise StateError("no upload was folded into this group")
        self._check_whole()
        return self._sums[group]

    # -- the holder's opening -------------------------------------------------------------------------------------

    def open(self, secret: SecretKey, pads: list[bytes], uploads: int) -> bytes:
        """Decrypt the one sum there is, keep the integers in it, and return their digest.

        Parameters
        ----------
        secret : SecretKey
        pads : list of bytes
            The keys of the pads that lie over it. Secret.
        uploads : int
            How many uploads are in it.

        Raises
        ------
        AbortError
            The noise, a sum or a check lane is none that honest clients cause; nothing is kept.
        """
        (group,) = self._sums
        lanes = [self._open(number, row, secret, pads) for number, row in enumerate(self._of(group))]
        decode_sums(self._params, lanes, uploads)
        self._lanes, self._sums = lanes, {}
        self._spool.clear()
        return result_digest(lanes)

    def _open(self, number: int, row: list[Sum], secret: SecretKey, pads: list[bytes]) -> NDArray[np.unsignedinteger]:
        cut, plan = self._plan.segments[number], self._plan
        lanes = np.empty(cut.count, dtype=_kernels.lane_dtype(self._segments[number].w))
        for index, total in enumerate(row):
            start, stop = cut.span(index)
            first = cut.number(index)
            sums, worst = secret.decrypt(total, plan.delta, pads=[(pad, first) for pad in pads])
            if worst > plan.worst:
                raise AbortError(
                    "the noise is none that honest uploads have: a client garbled its upload, or the sum is not of the uploads "
                    "that were signed for; nothing was released"
                )
            try:
                lanes[start:stop] = plan.values(number, sums)
            except InputError as error:
                raise AbortError(f"{error}: a client garbled its upload; nothing was released") from None
        return lanes

    def opened(self) -> Iterator[tuple[Place, bytes]]:
        """Yield the packed chunks of the opened sum."""
        lanes = self.lanes()
        for number, plan in enumerate(self._packed):
            for index, start, stop in plan:
                yield (number, index), _kernels.pack(lanes[number][start:stop], plan.w)

    def lanes(self) -> list[NDArray[np.unsignedinteger]]:
        """Return the opened sum, one array of lanes a segment."""
        if self._lanes is None:
            raise StateError("no sum was opened")
        return self._lanes

    # -- the server's taking of it --------------------------------------------------------------------------------

    def results(self) -> list[list[int]]:
        """Return, per segment, the bytes of each chunk of an opened sum."""
        return [[plan.payload_bytes(index) for index in range(plan.chunks)] for plan in self._packed]

    def take(self, segment: int, index: int, plain: bytes) -> None:
        """Keep one chunk of the opened sum; InputError if its padding is not zero."""
        if self._lanes is None:
            self._lanes = [np.zeros(s.count, dtype=_kernels.lane_dtype(s.w)) for s in self._segments]
        start, stop = self._packed[segment].span(index)
        self._lanes[segment][start:stop] = _kernels.unpack(plain, self._segments[segment].w, stop - start)
