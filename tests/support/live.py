"""Sessions in which the engine and the reference sit at one table: any client and the server may be either, or both at once.

A `Twin` is the engine and the reference in one seat, fed the same frames and the same entropy; whatever differs is an error.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from reference import errors, frames
from reference.entropy import Entropy
from reference.party import Client as ReferenceClient
from reference.server import Server as ReferenceServer
from reference.settings import Roster as ReferenceRoster
from reference.settings import Settings
from secagg import Client, FixedPoint, Identity, Integer, Layout, Params, Receipt, Roster, Server
from secagg.errors import AbortError, PeerError
from secagg.protocols.pairwise import PairwiseClient, PairwiseServer

REFUSALS = (PeerError, AbortError, errors.PeerError, errors.AbortError)
EXAMPLE = {"w": np.zeros((3, 5), np.float32), "counts": np.zeros(20, np.int64), "b": 0.0}
# Rounding to nearest: which sums are right does not depend on anybody's secrets. (Those of a Twin are known.)
ENCODINGS = {
    "layout": Layout.of(EXAMPLE),
    "encoding": FixedPoint(clip=2, bits=12, rounding="nearest"),
    "segments": {"metrics": FixedPoint(clip=4.0, bits=20, rounding="nearest"), "counts": Integer(-3, 400)},
    "metrics": ("loss",),
    "max_weight": 30,
    "frame_bytes": 64,
}


@dataclass
class Step:
    """One round of a script."""

    round_id: int
    silent: Mapping[str, Collection[str]] = field(
        default_factory=dict
    )  # who falls silent in a phase, to the end of the round
    torn: Collection[str] = ()  # whose uploads lose their last frame
    participants: Collection[str] | None = None
    tamper: Mapping[tuple[str, int], Callable[[bytes], bytes]] = field(default_factory=dict)  # (sender, kind) -> change
    contexts: Mapping[str, bytes] = field(default_factory=dict)
    survivors: Collection[str] = ()


def identity(name):
    return hashlib.sha256(b"identity " + name.encode()).digest()


def outcome(call, *args, **kwargs):
    """Return what a call returns, or the name of the refusal it raises."""
    try:
        return call(*args, **kwargs)
    except REFUSALS as error:
        return type(error).__name__


class EngineClient:
    """The engine's client with the reference's verbs."""

    core = PairwiseClient

    def __init__(self, live, name):
        key = Identity.from_bytes(identity(name))
        self._params = live.params
        self.client = Client(live.params, me=name, identity=key, roster=live.roster)
        self.client._core = self.core(live.params, name, key, live.roster, Entropy(f"{live.name} {name}"))
        self.receive, self.outbox = self.client.receive, self.client.outbox

    @property
    def awaiting(self):
        return self.client.awaiting and self.client.awaiting.round_id

    def submit(self, values, weight, metrics, context):
        layout, parts = self._params.layout, []
        for leaf in layout.leaves:
            parts.append(np.array(values[: leaf.size], dtype=leaf.dtype))
            values = values[leaf.size :]
        named = dict(zip(self._params.metrics, metrics, strict=True))
        update = parts[0] if layout.is_flat else layout.unflatten(parts)
        self.client.submit(update, weight=weight, metrics=named, context=context)


def engine_server(live):
    key = Identity.from_bytes(identity("the server"))
    server = Server(live.params, identity=key, roster=live.roster)
    server._core = PairwiseServer(
        live.params, key, live.roster, server._core._new_bulk, Entropy(f"{live.name} the server")
    )
    return server


def reference_client(live, name):
    return ReferenceClient(live.settings, live.reference_roster, name, identity(name), Entropy(f"{live.name} {name}"))


def reference_server(live):
    entropy = Entropy(f"{live.name} the server")
    return ReferenceServer(live.settings, live.reference_roster, identity("the server"), entropy)


class Twin:
    """Both implementations in one seat."""

    def __init__(self, engine, reference):
        self.engine, self.reference = engine, reference

    def __getattr__(self, name):
        one, two = getattr(self.engine, name), getattr(self.reference, name)
        if not callable(one):
            assert one == two, name
            return one

        def both(*args, **kwargs):
            made = outcome(one, *args, **kwargs), outcome(two, *args, **kwargs)
            if name == "result":
                return made
            assert made[0] == made[1], name
            if isinstance(made[0], str) and made[0].endswith("Error"):
                raise getattr(errors, made[0])(made[0])
            return made[0]

        return both


class Live:
    """One session; `clients` and `server` say who sits where: engine, reference or twin."""

    def __init__(self, params: Params, ids: list[str], *, server="engine", clients=lambda name: "engine", name="live"):
        self.params, self.ids, self.name = params, ids, name
        keys = {each: frames.verify_key(identity(each)) for each in ids}
        self.roster = Roster(keys, frames.verify_key(identity("the server")))
        self.reference_roster = ReferenceRoster(self.roster.server, keys)
        self.settings = Settings(params.to_bytes())
        self.server = self._seat(server, lambda: engine_server(self), lambda: reference_server(self))
        self.clients = {
            each: self._seat(
                clients(each), lambda me=each: EngineClient(self, me), lambda me=each: reference_client(self, me)
            )
            for each in ids
        }
        self.kinds: Counter[tuple[str, int]] = Counter()  # frames that reached the server, by sender and kind
        self.refused: list[tuple[str, str]] = []
        self.complained: set[tuple[str, tuple[int, ...]]] = set()

    def _seat(self, who, engine, reference):
        makers = {"engine": engine, "reference": reference, "twin": lambda: Twin(engine(), reference())}
        return makers[who]()

    def update(self, name, round_id):
        """Return values in layout order, weight and metrics."""
        rng = np.random.default_rng([round_id, *name.encode()])
        reals = rng.uniform(-2.5, 2.5, 16).astype(np.float32).tolist()
        counts = rng.integers(-3, 401, 20).tolist()
        return [*reals[:15], *counts, reals[15]], int(rng.integers(1, 31)), [float(rng.uniform(-4, 4))]

    def run(self, step: Step) -> None:
        self.run_to_the_end(step)
        self.check(step)

    def run_to_the_end(self, step: Step) -> None:
        gone: set[str] = set()
        self.server.open_round(step.round_id, step.participants)
        while self.server.phase != "idle":
            gone |= set(step.silent.get(self.server.phase, ()))
            inbox: dict[str, list[bytes]] = {name: [] for name in self.ids}
            for to, frame in self.server.outbox():
                for name in self.ids if to is None else [to]:
                    inbox[name].append(frame)
            for name in self.ids:
                if name not in gone:
                    self.carry(step, name, inbox[name])
            self.server.close_phase()

    def carry(self, step, name, requests):
        client = self.clients[name]
        for frame in requests:
            made = outcome(client.receive, frame)
            if made is not None:
                self.refused.append((name, made))
        if client.awaiting is not None:
            values, weight, metrics = self.update(name, step.round_id)
            client.submit(values, weight, metrics, step.contexts.get(name, b"the model"))
        sent = client.outbox()
        if name in step.torn and sent and sent[-1][3] == frames.HEADER:
            sent = sent[:-1]
        for frame in sent:
            self.kinds[name, frame[3]] += 1
            if frame[3] in (frames.HEADER, frames.UNMASK) and frames.body(frame)[-1]:
                self.complained.add((name, tuple(frames.body(frame)[-1])))
            changed = step.tamper.get((name, frame[3]), bytes)(frame)
            assert self.server.receive(changed, sender=name) == name

    def check(self, step):
        """The sum is exactly that of the survivors, and the receipt says so."""
        made = []
        for name in step.survivors:
            values, weight, metrics = self.update(name, step.round_id)
            seat = self.clients[name]
            key = seat.reference.rounding_key(step.round_id) if isinstance(seat, Twin) else None
            made.append(self.settings.encode(values, weight, metrics, key))
        expected = [[sum(column) for column in zip(*rows, strict=True)] for rows in zip(*made, strict=True)]
        results = self.server.result(step.round_id)
        for result in results if isinstance(results, tuple) else (results,):
            if hasattr(result, "sums"):
                assert result.sums == expected
                receipt = Receipt.from_json(result.json)
            else:
                head, model, counts, _ = expected
                assert [result.weight, result.clipped] == head[:2]
                assert result.integer_sum.tolist() == [*model[:15], *counts, *model[15:]]
                receipt = result.receipt
            assert not result.blamed
            assert receipt.survivors == tuple(sorted(step.survivors))
            receipt.verify(self.roster, self.params)
        if isinstance(results, tuple):
            assert Receipt.from_json(results[1].json) == results[0].receipt


def spoil(dealer, holder_at, part):
    """Return a change of a dealing, signed again by its dealer: one byte of one holder's box, or of its root."""

    def change(frame):
        _, (session, sender, _, _) = frames.outer(frame)
        body = frames.body(frame)
        at, size = {"root": (3, 32), "box": (4, len(body[4]) * 32 // (len(body[3]) - 32))}[part]
        data = bytearray(body[at])
        data[holder_at * size + 5] ^= 1
        body[at] = bytes(data)
        assert sender == dealer
        return frames.envelope(frames.DEALING, session, sender, body, identity(sender))

    return change
