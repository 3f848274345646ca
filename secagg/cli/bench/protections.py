"""What is compared: each protection of the package, and no protection."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from secagg.cli.bench.estimate import Terms
from secagg.cli.bench.figures import Sample, Size
from secagg.cli.bench.memory import Meter
from secagg.cli.bench.session import Watch, play, updates_of
from secagg.encoding import FixedPoint
from secagg.errors import ParameterError
from secagg.params import Params
from secagg.planner import plan

__all__ = ["Missing", "Plaintext", "Protection", "Secagg", "secagg_protections"]

WHO = "clients: who took part"
OWN = {
    "pairwise": ("neighbours", "threshold"),
    "ckks": ("ring", "reveal"),
    "oneshot": ("ring", "committee", "threshold", "packing"),
}
PLAIN = Terms(client=("L", "1"), server=("nL", "n", "1"), holder=())


class Missing(Exception):  # noqa: N818  # no error: what cannot be measured here is reported as missing
    """A protection cannot be measured; the text says why."""


class Protection(Protocol):
    """One row of the table."""

    name: str
    title: str
    terms: Terms
    setup: tuple[str, ...]
    exchanges: int
    holder_exchanges: int
    bytes_a_value: float

    def prepare(self, size: Size) -> None:
        """Get ready for a size; Missing if it cannot be measured."""

    def run(self, clients: int, length: int, meter: Meter | None = None) -> Sample:
        """Run one session of the prepared size, or a smaller one."""

    def words(self) -> tuple[str, str]:
        """Return the security level, and what each party learns."""

    def error_bound(self) -> float | None:
        """Return what the error of the mean cannot exceed."""

    def facts(self) -> dict[str, Any]:
        """Return more about the prepared size."""


@dataclass
class Plaintext:
    """No protection: clients send float32, the server adds with numpy."""

    threads: int = 1
    name: str = "plaintext"
    title: str = "plaintext (numpy)"
    terms: Terms = PLAIN
    setup: tuple[str, ...] = ()
    exchanges: int = 1
    holder_exchanges: int = 0
    bytes_a_value: float = 4.0
    _lost: Callable[[int], int] = lambda _clients: 0

    def prepare(self, size: Size) -> None:
        """Get ready for a size."""
        self._lost = size.lost_of

    def run(self, clients: int, length: int, meter: Meter | None = None) -> Sample:
        """Run one round."""
        begin = time.perf_counter()
        updates, watch, lost = updates_of(length), Watch(meter), self._lost(clients)
        total = watch.of("sum", "", np.zeros, length, np.float32)
        names = [f"client-{i:09d}" for i in range(lost, clients)]

        def add(sent: bytes) -> None:
            np.add(total, np.frombuffer(sent, np.float32), out=total)

        for i, name in enumerate(names, lost):
            sent = watch.of("sum", name, updates(i).tobytes)
            watch.sent("sum", name, len(sent))
            watch.of("sum", "", add, sent, holding=len(sent))
        mean = watch.of("sum", "", lambda: total / np.float32(len(names)))
        exact = sum((updates(i) for i in range(lost, clients)), np.zeros(length)) / len(names)
        error = float(np.abs(mean - exact).max())
        return Sample(clients, length, watch.phases(names), time.perf_counter() - begin, error)

    def words(self) -> tuple[str, str]:
        """Say what it protects: nothing."""
        return "none", "server: every update"

    def error_bound(self) -> float | None:
        """Return None: rounding of float32 sums, which depends on the order."""
        return None

    def facts(self) -> dict[str, Any]:
        """Return nothing more."""
        return {}


class Secagg:
    """A protocol of this package, through `Client`, `Server` and `KeyHolder`; in oneshot the clients are the committee too.

    Parameters
    ----------
    name, title : str
    threads : int
        Of each party.
    fixed : mapping
        What `plan` is given beside the size; or nothing but Params, under "params".
    """

    def __init__(self, name: str, title: str, threads: int, fixed: Mapping[str, Any]) -> None:
        self.name, self.title, self._threads, self._fixed = name, title, threads, fixed
        self.terms: Terms = PLAIN
        self.setup: tuple[str, ...] = ()
        self.exchanges, self.holder_exchanges = 0, 0
        self.bytes_a_value = 8.0
        self._params: Params | None = None
        self._size = Size(1, 1, 1, 0)

    @property
    def params(self) -> Params:
        """What was prepared."""
        if self._params is None:
            raise Missing("nothing was prepared")
        return self._params

    def prepare(self, size: Size) -> None:
        """Choose the Params of a size; Missing if there are none."""
        self._size = size
        try:
            self._params = self._of(size)
        except ParameterError as refused:
            raise Missing(f"no Params for {size.clients} clients: {refused}") from None
        if self.name == "pairwise k-regular":
            if self.params.full:
                raise Missing(f"with {size.clients} clients no sparse graph is enough: it would be the full one")
            self.title = f"{self.name}, k={self.params.neighbours}"
        protocol = self.params.protocol
        self.setup = ("keys", "shares") if protocol == "pairwise" else ("keys",)
        self.exchanges, self.holder_exchanges = (4, 0) if protocol == "pairwise" else (1, 2)
        if protocol == "oneshot":
            everybody = self.params.committee == self.params.clients
            self.terms = Terms(
                client=("L", "n", "1"), server=("nL", "n", "nn", "1") if everybody else ("nL", "n", "1"), holder=("n", "1"),
                first=3 if everybody else self.params.committee, power=2 if everybody else 1,
            )  # fmt: skip
        elif protocol == "ckks":
            self.terms = Terms(client=("L", "1", "n"), server=("nL", "n", "1"), holder=("L", "1", "n", "nL"))
        elif self.params.full:
            self.terms = Terms(client=("nL", "n", "L", "1"), server=("nL", "n", "nn", "1"), holder=(), power=2)
        else:
            first = self.params.neighbours + 2
            self.terms = Terms(client=("L", "1", "n"), server=("nL", "n", "1"), holder=(), first=first)

    def _of(self, size: Size) -> Params:
        """Return the Params of a size: the user's own, with another size in a sweep, or planned ones."""
        own: Params | None = self._fixed.get("params")
        if own is None:
            encoding = FixedPoint(clip=1.0, bits=size.bits)
            return plan(
                size.clients, size.length, dropout=size.lost, rounds_per_setup=1, encoding=encoding, **self._fixed
            )
        if size.clients == own.clients:
            return own if size.length == own.length else replace(own, length=size.length, layout=None)
        raise Missing("their number of clients is what Params are made for")

    def _smaller(self, clients: int, length: int) -> Params:
        """Return Params of fewer clients or values, in whose sums as many bits, and the same ring, are used."""
        whole, size = self.params, self._size
        if (clients, length) == (size.clients, size.length):
            return whole
        lost = size.lost_of(clients)
        weight = max(whole.max_weight * size.clients // clients, 1)
        shared: dict[str, Any] = {
            "length": length, "encoding": whole.encoding, "threat": whole.threat, "max_weight": weight,
            "frame_bytes": whole.frame_bytes, "rounds_per_setup": whole.rounds_per_setup,
        }  # fmt: skip
        if clients == size.clients:
            shared |= {"max_weight": whole.max_weight, "corrupt": whole.corrupt, "min_honest": whole.min_honest}
        if whole.protocol == "ckks":
            ring = whole.ring
            return plan(clients, dropout=lost, protocol="ckks", reveal=whole.reveal, ring=ring, **shared)
        if whole.protocol == "oneshot":
            if whole.committee < size.clients:  # the same committee, whose work is not to shrink with the clients
                shared |= {"committee": whole.committee, "threshold": whole.threshold, "packing": whole.packing}
                shared["corrupt"] = int(whole.corrupt) * clients // size.clients
            return plan(clients, dropout=lost, protocol="oneshot", ring=whole.ring, **shared)
        if whole.full:
            return plan(clients, dropout=lost, neighbours=clients - 1, **shared)
        return Params(
            clients,
            neighbours=whole.neighbours,
            threshold=whole.threshold,
            min_clients=clients - lost,
            min_cohort=clients - lost,
            **{"corrupt": int(whole.corrupt) * clients // size.clients, **shared},
        )

    def run(self, clients: int, length: int, meter: Meter | None = None) -> Sample:
        """Run one session; for memory, one without dropouts, and of the full graph."""
        if meter is not None:
            own = self.params
            same: dict[str, Any] = {}
            if own.protocol != "pairwise":
                same = {"protocol": own.protocol, "reveal": own.reveal, "ring": own.ring}
            params = plan(
                clients, length, dropout=0, threat=own.threat, encoding=own.encoding, frame_bytes=own.frame_bytes,
                max_weight=max(own.max_weight * self._size.clients // clients, 1), rounds_per_setup=1, corrupt=1, **same,
            )  # fmt: skip
            return play(params, 0, self._threads, meter)
        return play(self._smaller(clients, length), self._size.lost_of(clients), self._threads)

    def words(self) -> tuple[str, str]:
        """Say how secure these Params are, and who learns what."""
        params, told = self.params, self.params.explain().data
        if params.protocol == "ckks":
            ring = params.cipher_plan.ring
            first = f"128 bits (RLWE, N={ring.degree}, log q={ring.bits})"
            first += f"; g={params.opened_honest} honest updates in any sum" + (
                ", pads against a lying server" if params.padded else "; a server that follows the protocol"
            )
            sees = "holder: sum, who took part" + ("; server: sum, who took part" if params.reveal == "server" else "")
            return first, f"{sees}; {WHO}"
        if params.protocol == "oneshot":
            most, plan_ = told["corrupt_members"], params.mask_plan
            first = (
                f"128 bits (Hint-RLWE, N={plan_.degree}, log q={plan_.bits}); g={params.opened_honest} honest updates in any "
                f"sum; {params.threshold} of {params.committee} members open it, at most {most} of them corrupt"
            )
            if params.threat == "semi-honest":
                first += "; a server that follows the protocol"
            return first, f"server: sum, who took part; members: who took part; {WHO}"
        first = "128 bits (AES masks); "
        if params.threat == "malicious":
            first += f"g={params.opened_honest} honest updates in any sum, whatever the server does"
        elif params.full:
            first += f"all of at least {params.min_clients - int(params.corrupt)} honest survivors in the sum"
        else:
            risk = told["security_log2"]
            first += "less than the sum exposed: never" if risk is None else f"less than the sum exposed: 2^{risk:.0f}"
        if params.threat == "semi-honest":
            first += "; a server that follows the protocol"
        return first, f"server: sum, who took part; {WHO}"

    def error_bound(self) -> float | None:
        """Return the bound of the encoding."""
        encoding = self.params.encoding
        return encoding.error_bound() if isinstance(encoding, FixedPoint) else 0.0

    def facts(self) -> dict[str, Any]:
        """Return the Params' main figures, and the bytes that they predict."""
        params, told = self.params, self.params.explain().data
        names = ("protocol", "threat", "min_clients", "corrupt", "rounds_per_setup")
        return {
            "params": {name: getattr(params, name) for name in names}
            | {"opened_honest": told["opened_honest"]}
            | {name: getattr(params, name) for name in OWN.get(params.protocol, ())},
            "bytes_up_predicted": round(told["bytes_up_round"]),
        }


def secagg_protections(threads: int) -> list[Secagg]:
    """Return the package's own protocols."""
    lying, honest = {"threat": "malicious"}, {"threat": "semi-honest"}
    ckks = {"protocol": "ckks", "reveal": "server"}
    return [
        Secagg("pairwise full", "pairwise, full graph", threads, lying),
        Secagg("pairwise k-regular", "pairwise k-regular", threads, honest),
        Secagg("ckks malicious", "ckks, lying server", threads, ckks | lying),
        Secagg("ckks semi-honest", "ckks, semi-honest", threads, ckks | honest),
        Secagg("oneshot", "oneshot, committee", threads, {"protocol": "oneshot"} | lying),
    ]
