"""Room for unfinished uploads: in memory up to a cap, then in an unnamed file."""

from __future__ import annotations

import contextlib
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from typing import IO, Any

from secagg.errors import AbortError, InputError, ParameterError
from secagg.protocols.secret import Secret

__all__ = ["Spool"]

Place = tuple[int, int]  # segment, chunk


class Spool(Secret):
    """Payloads of uploads that are not complete, by client and place.

    Parameters
    ----------
    memory : int
        Bytes of payload kept in memory; what comes beyond that goes to a temporary file in the system's directory for these
        (``TMPDIR``), which has no name and vanishes with the process.

    Raises
    ------
    ParameterError
        `memory` is negative or no integer.

    Notes
    -----
    What it holds is masked: as secret as the frames it came in. A copy would clear it when it goes, so there is none. Freed space
    in the file is used again for payloads of the same length, of which an upload has two.
    """

    def __init__(self, memory: int) -> None:
        self.in_memory = 0
        self.in_file = 0
        self._kept: dict[str, dict[Place, memoryview]] = defaultdict(dict)
        self._written: dict[str, dict[Place, tuple[int, int]]] = defaultdict(dict)
        self._file: IO[Any] | None = None
        self._end = 0
        self._free: dict[int, list[int]] = defaultdict(list)
        if isinstance(memory, bool) or not isinstance(memory, int) or memory < 0:
            raise ParameterError("spool must be a number of bytes, 0 or more")
        self._memory = memory

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # an interrupt before anything was there
            self.clear()

    def put(self, client: str, place: Place, payload: memoryview) -> None:
        """Keep one payload; a view of bytes is kept as it is, without a copy.

        Raises
        ------
        InputError
            The file cannot take it (a full disk, say); nothing of it was kept.
        """
        size = payload.nbytes
        if self.in_memory + size <= self._memory:
            self._kept[client][place] = payload
            self.in_memory += size
            return
        try:
            if self._file is None:
                # It lives as long as the spool. Unbuffered, so that a write that failed is not tried again with the next.
                self._file = tempfile.TemporaryFile(prefix="secagg-spool-", buffering=0)  # noqa: SIM115
            spare = self._free[size]
            at = spare[-1] if spare else self._end
            self._file.seek(at)
            left = payload.cast("B")
            while left.nbytes:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise InputError(f"no room for unfinished uploads: {error.strerror}") from None
        if spare:
            spare.pop()
        else:
            self._end += size
        self._written[client][place] = (at, size)
        self.in_file += size

    def payloads(self, client: str) -> Iterator[tuple[Place, memoryview]]:
        """Yield what is kept of a client's upload, one payload at a time; AbortError if the file fails."""
        yield from self._kept[client].items()
        for place, (at, size) in self._written[client].items():
            yield place, memoryview(self._read(at, size))

    def _read(self, at: int, size: int) -> bytes:
        parts: list[bytes] = []
        try:
            while size and self._file is not None:
                self._file.seek(at)
                part = self._file.read(size)
                if not part:
                    break
                parts.append(part)
                at, size = at + len(part), size - len(part)
        except OSError as error:
            raise AbortError(f"the file of unfinished uploads cannot be read: {error.strerror}") from None
        if size:
            raise AbortError("the file of unfinished uploads is shorter than what was written to it")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def last_bytes(self, client: str) -> Iterator[tuple[Place, int]]:
        """Yield the last byte of each payload of a client's upload."""
        for place, payload in self._kept[client].items():
            yield place, payload[-1]
        for place, (at, size) in self._written[client].items():
            yield place, self._read(at + size - 1, 1)[0]

    def drop(self, client: str) -> None:
        """Forget a client's upload."""
        for payload in self._kept.pop(client, {}).values():
            self.in_memory -= payload.nbytes
        for at, size in self._written.pop(client, {}).values():
            self._free[size].append(at)
            self.in_file -= size

    def clear(self) -> None:
        """Forget everything and give the file back."""
        self._kept.clear()
        self._written.clear()
        self._free.clear()
        self.in_memory = self.in_file = self._end = 0
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None
