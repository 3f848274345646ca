"""Sums of TenSEAL's ciphertexts: by this package's server, and by TenSEAL itself."""

from __future__ import annotations

import contextlib
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from importlib import metadata
from typing import Any

import numpy as np

from secagg.cli.bench.estimate import Terms
from secagg.cli.bench.figures import Sample, Size
from secagg.cli.bench.memory import Meter
from secagg.cli.bench.protections import Missing
from secagg.cli.bench.session import Watch, updates_of
from secagg.errors import ParameterError
from secagg.identity import Identity, Roster

__all__ = ["Interop", "TenSeal"]

DEGREE, PRIMES, SCALE_BITS = 8192, (60, 40, 40), 40
REAL = 3  # clients that are run: each does the same work
TERMS = Terms(client=("L", "1"), server=("nL", "L", "n", "1"), holder=(), first=1 << 62, real=REAL)
SECURITY = (
    f"128 bits (RLWE, N={DEGREE}, log q={sum(PRIMES)}); one secret key shared by all: any corrupt client opens all"
)
LEARNS = "server: who took part; every client: sum, and any update whose ciphertext it gets"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what TenSEAL's C++ prints at each long vector off the output."""
    kept = os.dup(1)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123  # a descriptor is needed
        os.dup2(nowhere.fileno(), 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


class _Common(ABC):
    """The context that NVFlare uses by default, symmetric, with its sessions of few real clients."""

    exchanges, holder_exchanges = 2, 0  # the sum comes back, to be decrypted
    setup: tuple[str, ...] = ()
    terms = TERMS
    bytes_a_value = 70.0

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._size = Size(1, 1, 1, 0)

    def prepare(self, size: Size) -> None:
        """Make a context."""
        try:
            import tenseal
        except ImportError:
            raise Missing("TenSEAL is not installed: pip install 'secagg[tenseal]'") from None
        self._size, self._tenseal = size, tenseal
        kinds = tenseal.ENCRYPTION_TYPE
        self._context = tenseal.context(
            tenseal.SCHEME_TYPE.CKKS, DEGREE, -1, list(PRIMES), encryption_type=kinds.SYMMETRIC, n_threads=self._threads
        )
        self._context.global_scale = 2.0**SCALE_BITS

    def run(self, clients: int, length: int, meter: Meter | None = None) -> Sample:
        """Run a round of a few of the clients, and scale the server's time to those that are not lost."""
        begin = time.perf_counter()
        here = clients - self._size.lost_of(clients)
        real = min(here, REAL)
        with quiet():
            watch, mean, once, names = self._round(real, length, meter)
        updates = updates_of(length)
        exact = sum((updates(i) for i in range(real)), np.zeros(length)) / real
        phases = watch.phases(names)
        each = phases["encrypted"].server / real
        phases["encrypted"] = replace(phases["encrypted"], server=each * here + once)
        error = float(np.abs(mean - exact).max())
        return Sample(clients, length, phases, time.perf_counter() - begin, error)

    @abstractmethod
    def _round(self, real: int, length: int, meter: Meter | None) -> tuple[Watch, Any, float, list[str]]:
        """Return what was clocked, the mean, the seconds that the server spends once, and the clients' names."""

    def words(self) -> tuple[str, str]:
        """Say how secure it is, and who learns what."""
        return SECURITY, LEARNS


class Interop(_Common):
    """TenSEAL encrypts and decrypts; `SumServer` checks, parses and adds."""

    name, title = "tenseal interop", "TenSEAL keys, our server"

    def prepare(self, size: Size) -> None:
        """Make a context, and see that the sums fit."""
        super().prepare(size)
        from secagg.integrations.tenseal import SharedContext

        try:
            self._shared = SharedContext(self._context)
            self._step = self._params(size.clients, size.length).step
        except ParameterError as refused:
            raise Missing(str(refused)) from None

    def _params(self, clients: int, length: int) -> Any:
        from secagg.integrations.tenseal import SumParams

        return SumParams(
            self._shared.public(),
            clients=max(clients, 2),
            min_clients=2,
            length=length,
            bound=1.0,
            threat="semi-honest",
        )

    def _round(self, real: int, length: int, meter: Meter | None) -> tuple[Watch, Any, float, list[str]]:
        from secagg.integrations.tenseal import SumClient, SumServer

        names, updates, watch = [f"client-{i:09d}" for i in range(real)], updates_of(length), Watch(meter)
        keys, own = {name: Identity.generate() for name in names}, Identity.generate()
        roster = Roster({name: key.verify_key for name, key in keys.items()}, own.verify_key)
        params = self._params(self._size.clients, length)
        server = SumServer(params, identity=own, roster=roster)
        clients = {
            name: SumClient(self._shared, params, me=name, identity=keys[name], roster=roster, session=server.session)
            for name in names
        }
        server.open_round(1)
        for i, name in enumerate(names):
            sent = watch.of("encrypted", name, clients[name].encrypt, updates(i), 1)
            watch.sent("encrypted", name, len(sent))
            watch.of("encrypted", "", server.receive, sent, name, holding=len(sent))
        before = time.perf_counter()
        message = server.close_round()
        once = time.perf_counter() - before
        for name in names:
            watch.got("decrypt", name, len(message))
        *_, opened = [watch.of("decrypt", name, clients[name].decrypt, message, 1) for name in names]
        return watch, opened.mean, once, names

    def error_bound(self) -> float | None:
        """Return half the step."""
        return float(self._step) / 2

    def facts(self) -> dict[str, Any]:
        """Return the context, and TenSEAL's version."""
        return {"context": [DEGREE, list(PRIMES), SCALE_BITS], "tenseal": metadata.version("tenseal")}


class TenSeal(_Common):
    """TenSEAL's own functions throughout, unsigned, as NVFlare's homomorphic encryption calls them."""

    name = "peer tenseal"

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        self.title = "peer: TenSEAL"

    def prepare(self, size: Size) -> None:
        """Make a context."""
        super().prepare(size)
        self.title = f"peer: TenSEAL {metadata.version('tenseal')}"

    def _round(self, real: int, length: int, meter: Meter | None) -> tuple[Watch, Any, float, list[str]]:
        names, updates, watch = [f"client-{i:09d}" for i in range(real)], updates_of(length), Watch(meter)
        tenseal, context, total = self._tenseal, self._context, None

        def encrypt(i: int) -> bytes:
            return bytes(tenseal.ckks_vector(context, updates(i)).serialize())

        def add(total: Any, sent: bytes) -> Any:
            vector = tenseal.ckks_vector_from(context, sent)
            if total is None:
                return vector
            total += vector
            return total

        for i, name in enumerate(names):
            sent = watch.of("encrypted", name, encrypt, i)
            watch.sent("encrypted", name, len(sent))
            total = watch.of("encrypted", "", add, total, sent, holding=len(sent))
        before = time.perf_counter()
        message = bytes(total.serialize())  # type: ignore[union-attr]  # there is at least one client
        once = time.perf_counter() - before

        def decrypt() -> Any:
            return np.array(tenseal.ckks_vector_from(context, message).decrypt())

        opened = None
        for name in names:
            watch.got("decrypt", name, len(message))
            opened = watch.of("decrypt", name, decrypt)
        return watch, opened / real, once, names  # type: ignore[operator]  # the same

    def error_bound(self) -> float | None:
        """Return None: its results are not rounded, and have no bound but a likely one."""
        return None

    def facts(self) -> dict[str, Any]:
        """Return the context, and TenSEAL's version."""
        return {"context": [DEGREE, list(PRIMES), SCALE_BITS], "tenseal": metadata.version("tenseal")}
