"""Sessions of the oneshot protocol with the engine and the reference at one table; `live` has the same for pairwise."""

from __future__ import annotations

from collections import Counter

from reference import frames
from reference.entropy import Entropy
from reference.field import P
from reference.oneshot_client import Client as ReferenceClient
from reference.oneshot_common import answer_key
from reference.oneshot_member import Member as ReferenceMember
from reference.oneshot_member import read_share, write_share
from reference.oneshot_server import Server as ReferenceServer
from reference.oneshot_settings import OneshotSettings
from reference.settings import Roster as ReferenceRoster
from secagg import Client, Identity, Member, Params, Receipt, Roster, Server
from secagg.protocols.oneshot import OneshotClient, OneshotMember, OneshotServer
from support.live import EngineClient, Live, Step, Twin, identity, outcome

__all__ = ["SESSION", "OneshotLive", "Step", "lying"]

SESSION = bytes(range(100, 116))


class OneshotEngineClient(EngineClient):
    """The engine's client of this protocol."""

    def __init__(self, live, name):
        key, entropy = Identity.from_bytes(identity(name)), Entropy(f"{live.name} {name}")
        self._params = live.params
        self.client = Client(live.params, me=name, identity=key, roster=live.roster, session=live.session)
        self.client._core = OneshotClient(live.params, name, key, live.roster, entropy, live.session)
        self.receive, self.outbox = self.client.receive, self.client.outbox


class EngineMember:
    """The engine's member that sends no updates."""

    awaiting = None

    def __init__(self, live, name):
        key = Identity.from_bytes(identity(name))
        self.member = Member(live.params, me=name, identity=key, roster=live.roster, session=live.session)
        entropy = Entropy(f"{live.name} {name}")
        self.member._core = OneshotMember(live.params, name, key, live.roster, entropy, live.session)
        self.receive, self.outbox = self.member.receive, self.member.outbox


class ReferenceQuiet(ReferenceMember):
    """The reference's."""

    awaiting = None


class EngineServer:
    """The engine's server."""

    def __init__(self, live):
        key, entropy = Identity.from_bytes(identity("the server")), Entropy(f"{live.name} the server")
        self.server = Server(live.params, identity=key, roster=live.roster, session=SESSION)
        self.server._core = OneshotServer(
            live.params, key, live.roster, self.server._core._new_bulk, entropy, live.session
        )
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


class OneshotLive(Live):
    """One session; `clients` and `server` say who sits where: engine, reference or twin. `quiet` members send no updates."""

    def __init__(
        self, params: Params, ids: list[str], *, server="engine", clients=lambda name: "engine", quiet=(), session=None,
        name="live",
    ):  # fmt: skip
        self.params, self.ids, self.name, self.session = params, ids, name, session
        keys = {each: frames.verify_key(identity(each)) for each in ids}
        own = frames.verify_key(identity("the server"))
        self.roster, self.reference_roster = Roster(keys, own), ReferenceRoster(own, keys)
        self.settings = OneshotSettings(params.to_bytes())
        self.server = self._seat(server, lambda: EngineServer(self), self._reference_server)
        self.clients = {
            each: self._seat(
                clients(each),
                lambda me=each: (EngineMember if me in quiet else OneshotEngineClient)(self, me),
                lambda me=each: self.reference(ReferenceQuiet if me in quiet else ReferenceClient, me),
            )
            for each in ids
        }
        self.kinds: Counter[tuple[str, int]] = Counter()  # frames that reached the server, by sender and kind
        self.refused: list[tuple[str, str]] = []
        self.complained: set[tuple[str, tuple[int, ...]]] = set()
        self.instead: dict = {}  # client -> what makes the frames that leave in place of its upload, from the reference's client

    def _reference_server(self):
        entropy = Entropy(f"{self.name} the server")
        return ReferenceServer(self.settings, self.reference_roster, identity("the server"), entropy, self.session)

    def reference(self, role, name):
        entropy = Entropy(f"{self.name} {name}")
        return role(self.settings, self.reference_roster, name, identity(name), entropy, self.session)

    def second(self, name):
        """Return the reference in a seat that it has, or shares."""
        seat = self.clients[name]
        return seat.reference if isinstance(seat, Twin) else seat

    def update(self, name, round_id):
        """Return values in layout order, weight and metrics; the largest weight is there, and 0."""
        values, weight, metrics = super().update(name, round_id)
        most = self.params.max_weight
        return values, {"c0": most, "c4": 0}.get(name, weight % most), metrics

    # -- a round --------------------------------------------------------------------------------------------------

    def run_to_the_end(self, step: Step) -> None:
        """Run a round; who is silent in one phase is there again in the next, for a dropout may still answer as a member."""
        self.server.open_round(step.round_id, step.participants)
        while self.server.phase != "idle":
            self.exchange(step)
            self.server.close_phase()

    def exchange(self, step: Step) -> None:
        """Carry the open phase's frames there and back."""
        gone, out = step.silent.get(self.server.phase, ()), self.server.outbox()
        for name in self.ids:
            if name not in gone:
                self.carry(step, name, [frame for to, frame in out if to == name])

    def carry(self, step, name, requests):
        client = self.clients[name]
        for frame in requests:
            made = outcome(client.receive, step.tamper.get((name, frame[3]), bytes)(frame))
            if made is not None:
                self.refused.append((name, made))
        if client.awaiting is not None:
            values, weight, metrics = self.update(name, step.round_id)
            client.submit(values, weight, metrics, step.contexts.get(name, b"the model"))
            if name in self.instead:
                client.outbox()
                sent = self.instead[name](self.second(name))
            else:
                sent = client.outbox()
        else:
            sent = client.outbox()
        if name in step.torn and sent[-1:] and sent[-1][3] == frames.UPDATE_HEADER:
            sent = sent[:-1]
        for frame in sent:
            self.kinds[name, frame[3]] += 1
            changed = step.tamper.get((name, frame[3]), bytes)(frame)
            if changed[3] == frames.REVEAL and frames.body(changed)[4]:
                self.complained.add((name, tuple(frames.body(changed)[4])))
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

    def check(self, step, blamed=()):
        """The sum is exactly that of the survivors, and the receipt says so."""
        expected = self.sums(step)
        results = self.server.result(step.round_id)
        results, receipts = results if isinstance(results, tuple) else (results,), []
        for result in results:
            receipts.append(Receipt.from_json(result.json) if hasattr(result, "json") else result.receipt)
            receipts[-1].verify(self.roster, self.params)
            assert receipts[-1].survivors == tuple(sorted(step.survivors))
            assert sorted(result.blamed) == sorted(blamed)
            if hasattr(result, "sums"):
                assert result.sums == expected
            else:
                assert [lanes.tolist() for lanes in result._decoded._sums] == expected
                assert [result.weight, result.clipped] == expected[0][:2]
        assert all(receipt == receipts[0] for receipt in receipts)


def lying(live, name):
    """Return a change of a member's answer: one element of its sum is another, sealed and signed all the same."""

    def change(frame):
        batch, body = live.second(name).batch, frames.body(frame)
        if body[4]:
            return frame
        setup = live.server.reference.batch.setup
        key = answer_key(frames.agree(batch.private, setup.server_key), setup, body[0], name)
        share = read_share(live.settings, frames.unseal(key, body[3], body[1]))
        share[17] = int.from_bytes(identity(name)) % P
        body[3] = frames.seal(key, write_share(share), body[1], bytes)
        return frames.envelope(frames.REVEAL, live.server.session, name, body, identity(name))

    return {(name, frames.REVEAL): change}
