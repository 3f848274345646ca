"""Sessions of the ckks protocol with the engine and the reference at one table; `live` has the same for pairwise."""

from __future__ import annotations

from collections import Counter

from reference import frames
from reference.ckks_client import Client as ReferenceClient
from reference.ckks_holder import Holder as ReferenceHolder
from reference.ckks_server import Server as ReferenceServer
from reference.ckks_settings import CkksSettings
from reference.entropy import Entropy
from reference.settings import Roster as ReferenceRoster
from secagg import Identity, KeyHolder, Params, Receipt, Roster, Server
from secagg.protocols.ckks import CkksClient, CkksHolder, CkksServer
from secagg.wire import HOLDER
from support.live import EngineClient, Live, Step, Twin, identity, outcome

__all__ = ["CkksLive", "Step"]


class CkksEngineClient(EngineClient):
    """The engine's client of this protocol."""

    core = CkksClient


class EngineHolder:
    """The engine's key holder with the reference's verbs."""

    def __init__(self, live):
        key = Identity.from_bytes(identity(live.holder_is))
        self.holder = KeyHolder(live.params, identity=key, roster=live.roster)
        bulk, entropy = self.holder._core._new_bulk, Entropy(f"{live.name} {HOLDER}")
        self.holder._core = CkksHolder(live.params, key, live.roster, bulk, entropy)
        self.receive, self.outbox, self.opened = self.holder.receive, self.holder.outbox, self.holder.result

    def result(self, round_id):
        """Return the sums as the reference has them."""
        return [lanes.tolist() for lanes in self.opened(round_id)._decoded._sums]


class EngineServer:
    """The engine's server; a result is a receipt and either the sums or the ciphertext."""

    def __init__(self, live):
        key, entropy = Identity.from_bytes(identity("the server")), Entropy(f"{live.name} the server")
        self.server = Server(live.params, identity=key, roster=live.roster)
        self.server._core = CkksServer(live.params, key, live.roster, self.server._core._new_bulk, entropy)
        for verb in ("receive", "outbox", "open_round", "close_phase", "abort", "result"):
            setattr(self, verb, getattr(self.server, verb))

    @property
    def phase(self):
        """The open phase."""
        return self.server.phase

    @property
    def session(self):
        """The session id."""
        return self.server.session


class CkksLive(Live):
    """One session; `clients`, `server` and `holder` say who sits where: engine, reference or twin."""

    def __init__(
        self, params: Params, ids: list[str], *, server="engine", clients=lambda name: "engine", holder="engine",
        name="live", holder_is=HOLDER,
    ):  # fmt: skip
        self.params, self.ids, self.name, self.holder_is = params, ids, name, holder_is
        keys = {each: frames.verify_key(identity(each)) for each in ids}
        own, held = frames.verify_key(identity("the server")), frames.verify_key(identity(holder_is))
        self.roster, self.reference_roster = Roster(keys, own, held), ReferenceRoster(own, keys, held)
        assert self.roster.hash() == self.reference_roster.hash
        self.settings = CkksSettings(params.to_bytes())
        self.server = self._seat(
            server, lambda: EngineServer(self), lambda: self.reference(ReferenceServer, "the server")
        )
        self.holder = self._seat(
            holder, lambda: EngineHolder(self), lambda: self.reference(ReferenceHolder, HOLDER, holder_is)
        )
        self.clients = {
            each: self._seat(
                clients(each), lambda me=each: CkksEngineClient(self, me), lambda me=each: self.reference_client(me)
            )
            for each in ids
        }
        self.kinds: Counter[tuple[str, int]] = Counter()  # frames that reached the server, by sender and kind
        self.refused: list[tuple[str, str]] = []

    def reference(self, role, name, signer=None):
        entropy = Entropy(f"{self.name} {name}")
        return role(self.settings, self.reference_roster, identity(signer or name), entropy)

    def reference_client(self, name):
        entropy = Entropy(f"{self.name} {name}")
        return ReferenceClient(self.settings, self.reference_roster, name, identity(name), entropy)

    def update(self, name, round_id):
        """Return values in layout order, weight and metrics; the largest weight is there, and 0."""
        values, weight, metrics = super().update(name, round_id)
        most = self.params.max_weight
        return values, {"c0": most, "c4": 0}.get(name, weight % most), metrics

    # -- a round --------------------------------------------------------------------------------------------------

    def run_to_the_end(self, step: Step) -> None:
        gone: set[str] = set()
        self.server.open_round(step.round_id, step.participants)
        while self.server.phase != "idle":
            gone |= set(step.silent.get(self.server.phase, ()))
            out = self.server.outbox()
            for to, frame in out:
                if to == HOLDER:
                    self.carry_to_holder(step, frame)
            for name in self.ids:
                if name not in gone:
                    self.carry(step, name, [frame for to, frame in out if to == name])
            self.server.close_phase()

    def carry_to_holder(self, step, frame):
        change = step.tamper.get((HOLDER, frame[3]))
        made = outcome(self.holder.receive, frame if change is None else change(frame))
        if made is not None:
            self.refused.append((HOLDER, made))
        for answer in self.holder.outbox():
            self.kinds[HOLDER, answer[3]] += 1
            assert self.server.receive(answer, sender=HOLDER) == HOLDER

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
        for frame in sent[:-1] if name in step.torn else sent:
            self.kinds[name, frame[3]] += 1
            changed = step.tamper.get((name, frame[3]), bytes)(frame)
            assert self.server.receive(changed, sender=name) == name

    def sums(self, step):
        """Return each segment's sum over the survivors, from their updates in the clear."""
        made = []
        for name in step.survivors:
            values, weight, metrics = self.update(name, step.round_id)
            seat = self.clients[name]
            key = seat.reference.rounding_key(step.round_id) if isinstance(seat, Twin) else None
            made.append(self.settings.encode(values, weight, metrics, key))
        return [[sum(column) for column in zip(*rows, strict=True)] for rows in zip(*made, strict=True)]

    def check(self, step):
        """The holder's sum is exactly that of the survivors, the server's is it or a ciphertext, and the receipt says so."""
        expected = self.sums(step)
        opened = self.holder.result(step.round_id)
        for each in opened if isinstance(self.holder, Twin) else [opened]:
            assert each == expected
        results = self.server.result(step.round_id)
        results = results if isinstance(results, tuple) else (results,)
        receipts, ciphertexts = [], []
        for result in results:
            receipts.append(Receipt.from_json(result.json) if hasattr(result, "json") else result.receipt)
            receipts[-1].verify(self.roster, self.params)
            assert receipts[-1].survivors == tuple(sorted(step.survivors))
            if self.params.reveal == "holder":
                ciphertexts.append(result.ciphertext)
            elif hasattr(result, "sums"):
                assert result.sums == expected
            else:
                assert [lanes.tolist() for lanes in result._decoded._sums] == expected
                assert [result.weight, result.clipped] == expected[0][:2]
        assert all(receipt == receipts[0] for receipt in receipts)
        assert all(ciphertext == ciphertexts[0] for ciphertext in ciphertexts)
