"""The engine against tests/reference, piece by piece and over whole rounds, byte for byte."""

import hashlib
import random
import re
from pathlib import Path

import numpy as np
import pytest

import secagg
from reference import dealing as ref_dealing
from reference import encoding as ref_encoding
from reference import field as ref_field
from reference import frames as ref_frames
from reference import hashes as ref_hashes
from reference import msgpack as ref_msgpack
from reference import stream as ref_stream
from reference.party import Client, Settings, Setup, apply, open_sum
from secagg import FixedPoint, Integer, Layout, Params, _kernels
from secagg.hazmat import kdf, prg, shamir, transcript
from secagg.protocols.machine import diagram
from secagg.protocols.pairwise import PairwiseClient, dealing, graph, transitions
from secagg.testing import Network
from secagg.wire import ChunkPlan

SPEC = Path(__file__).parents[2] / "docs" / "spec" / "pairwise.md"
EXAMPLE = {"w": np.zeros((3, 5), np.float32), "counts": np.zeros(70, np.int64), "b": [np.zeros(4, np.float16), 0.0]}


class Entropy:
    """Reproducible bytes, the same for the engine and for the reference."""

    def __init__(self, name):
        self.name, self.drawn = name, 0

    def __call__(self, length):
        self.drawn += 1
        return hashlib.shake_256(f"{self.name} {self.drawn}".encode()).digest(length)


@pytest.fixture
def rng():
    return random.Random(20261)


# -- pieces ---------------------------------------------------------------------------------------------------------


def test_digest_and_hkdf(rng):
    for count in range(6):
        fields = [rng.randbytes(rng.randrange(300)) for _ in range(count)]
        assert ref_hashes.digest("frame", *fields) == transcript.digest("frame", *fields)
        for length in (16, 32, 100):
            made = ref_hashes.hkdf(b"secret", "mask", *fields, length=length)
            assert made == kdf.hkdf(b"secret", "mask", *fields, length=length)


@pytest.mark.parametrize("length", [16, 32, 7, 1])
def test_shamir(rng, length):
    for n, t in ((1, 1), (5, 1), (5, 3), (40, 40)):
        xs = sorted(rng.sample(range(1, 1000), n))
        secret = rng.randbytes(length)
        shares = shamir.split(secret, t, xs, Entropy(length))
        assert shares == ref_field.split(secret, t, xs, Entropy(length))
        some = {x: shares[xs.index(x)] for x in rng.sample(xs, t)}
        assert ref_field.combine(some, length) == secret == shamir.combine(some, t, length)


@pytest.mark.parametrize("w", [1, 7, 16, 17, 31, 32, 33, 63, 64])
def test_masks_packing_and_chunks(rng, w):
    count, start = 83, 29
    values = [rng.randrange(2**w) for _ in range(count)]
    masks = [(rng.randbytes(16), rng.choice((1, -1))) for _ in range(5)]
    lanes = np.array(values, dtype=_kernels.lane_dtype(w))
    assert _kernels.pack(lanes, w) == ref_encoding.pack(values, w)
    assert _kernels.unpack(ref_encoding.pack(values, w), w, count).tolist() == values
    keys, signs = [key for key, _ in masks], [sign for _, sign in masks]
    part = lanes[start:].copy()
    prg.apply_masks(lanes, keys, signs, 3, 0, w)
    assert lanes.tolist() == apply(values, masks, 3, w)
    prg.apply_masks(part, keys, signs, 3, start, w)
    assert part.tolist() == lanes[start:].tolist()
    plan = ChunkPlan(count, w, 64)
    assert [(a, b) for _, a, b in plan] == ref_encoding.chunks(count, w, 64)


def test_permutation_and_graphs(rng):
    for size in (1, 2, 3, 16, 17, 200):
        key = rng.randbytes(16)
        order = prg.permutation(key, size)
        assert order == ref_stream.permutation(key, size)
        for degree in {2, 4, 6, 14, size - 1, size + 3}:
            if (degree % 2 and degree < size - 1) or degree < 1:
                continue
            made = list(graph.Graph(key, range(size), degree).values())
            assert [sorted(row) for row in ref_stream.graph(key, size, degree)] == made
    setup_hash, view, ranks = rng.randbytes(32), rng.randbytes(32), sorted(rng.sample(range(50), 21))
    made = graph.mask_graph(setup_hash, 9, view, ranks, 6)
    assert {a: sorted(row) for a, row in ref_stream.mask_graph(setup_hash, 9, view, ranks, 6).items()} == made


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bits", [1, 8, 16, 32])
def test_fixed_point(rng, dtype, bits):
    clip = 0.75
    x = np.array([rng.uniform(-1, 1) for _ in range(300)] + [0.0, -0.0, clip, -clip, 5e-324, 9.0, -9.0], dtype=dtype)
    key = rng.randbytes(16)
    for rounding, used in (("nearest", None), ("stochastic", key)):
        encoding = FixedPoint(clip=clip, bits=bits, rounding=rounding)
        w = ref_encoding.width(bits, 10 * 7)
        assert w == encoding.width(70)
        plain = ref_encoding.fixed_point(x.tolist(), clip, bits, used, 5, 11)
        lanes, clipped = encoding.encode(x, weight=7, w=w, key=key, stream_id=5, start=11)
        assert lanes.tolist() == [7 * value for value in plain]
        assert clipped == sum(abs(float(v)) > clip for v in x)
        mean = encoding.decode_sum(lanes.astype(np.uint64), 7) / 7
        assert mean.tolist() == pytest.approx(
            ref_encoding.fixed_point_mean(lanes.tolist(), 7, clip, bits), rel=1e-12, abs=1e-12
        )


def test_integer(rng):
    encoding = Integer(-50, 1000)
    x = [rng.randrange(-50, 1001) for _ in range(100)]
    lanes, _ = encoding.encode(np.array(x), weight=3, w=encoding.width(30))
    assert lanes.tolist() == [3 * value for value in ref_encoding.integer(x, -50)]
    assert encoding.width(30) == ref_encoding.width((1050).bit_length(), 30)


@pytest.mark.parametrize("rounds", [1, 2, 3, 5])
def test_dealing_and_openings(rng, rounds):
    seeds, keys = [[rng.randbytes(size) for _ in range(rounds)] for size in (16, 32)]
    made = dealing.deal(seeds, keys, 3, 4, [1, 2, 7], Entropy("deal"))
    assert made == ref_dealing.plaintexts(seeds, keys, 3, 4, [1, 2, 7], Entropy("deal"))
    for plaintext in made.values():
        holding = dealing.Holding.of(plaintext, rounds)
        root = holding.root()
        assert root == ref_dealing.root(plaintext)
        for i, share in enumerate(ref_dealing.shares_of(plaintext)[1]):
            opened = holding.opening(i)
            assert opened == ref_dealing.opening(plaintext, i)
            assert ref_dealing.opens(root, i, share, opened) and dealing.check_opening(root, i, share, opened)
            wrong = bytes([share[0] ^ 1]) + share[1:]
            assert not ref_dealing.opens(root, i, wrong, opened)
            assert not dealing.check_opening(root, i, wrong, opened)


def test_params_and_roster_hash():
    params = Params(
        clients=30, layout=Layout.of(EXAMPLE), encoding=FixedPoint(clip=2, bits=12),
        segments={"metrics": FixedPoint(clip=4.0, bits=20, rounding="nearest"), "counts": Integer(-3, 400)},
        metrics=("loss",), max_weight=300, min_honest=3,
    )  # fmt: skip
    leaf = [["leaf", "float32", [3, 5]], ["leaf", "int64", [70]], ["leaf", "float16", [4]], ["leaf", "float64", []]]
    tree = ["dict", [["w", leaf[0]], ["counts", leaf[1]], ["b", ["list", [leaf[2], leaf[3]]]]]]
    canonical = [
        30, 90, ["layout", tree], ["fixed-point", 2.0, 12, "stochastic", "clip"],
        [["counts", ["integer", -3, 400]], ["metrics", ["fixed-point", 4.0, 20, "nearest", "clip"]]],
        ["loss"], "pairwise", "malicious", 27, 27, 3, 3, 30, 27, 29, 300, 1, 4 << 20,
    ]  # fmt: skip
    assert ref_hashes.digest("params", ref_msgpack.pack(canonical)) == params.hash
    roster = Network.fresh(Params(clients=3, length=1), ["b", "é", "a"]).server._core._roster
    fields = [part for name in ("a", "b", "é") for part in (name.encode(), roster.key(name))]
    assert ref_hashes.digest("roster", roster.server, *fields) == roster.hash()


def test_spec_draws_the_tables_and_names_every_label():
    text = SPEC.read_text(encoding="utf-8")
    for table in (transitions.SERVER, transitions.CLIENT_SETUP, transitions.CLIENT_ROUND):
        assert diagram(table) in text
    package = Path(secagg.__file__).parent
    sources = [
        path.read_text(encoding="utf-8")
        for path in package.rglob("*.py")
        if "cli" not in path.relative_to(package).parts
    ]
    labels = {
        label for source in sources for label in re.findall(r'(?:digest\(\s*|hkdf\(\s*[\w.]+, )"([^"]+)"', source)
    }
    assert labels >= {"frame", "setup", "account", "mask", "share", "rounding-seed"}
    assert [label for label in labels if f"`{label}`" not in text] == []


# -- whole rounds ---------------------------------------------------------------------------------------------------


class Wiretap(Network):
    """A network that keeps every frame, and whose clients draw from a known entropy."""

    @classmethod
    def known(cls, params, ids):
        network = cls.fresh(params, ids)
        for name, client in network.clients.items():
            client._core = PairwiseClient(params, name, client._identity, client._roster, Entropy(name))
        network.down, network.up = {name: {} for name in ids}, {name: [] for name in ids}
        return network

    def phase(self, submit, silent=()):
        pending = self.server.outbox()
        for to, frame in pending:
            for name in self.clients if to is None else (to,):
                self.down[name][frame[3]] = frame
        self.server._core._out += pending
        carried = self.faults.carry

        def keep(frames):
            for sender, frame in frames:
                self.up[sender].append(frame)
            return carried(frames)

        self.faults.carry = keep
        self.exchange(submit, silent=silent)
        self.faults.carry = carried
        self.server.close_phase()


def update_of(name):
    local = np.random.default_rng(list(name.encode()))
    return {
        "w": local.uniform(-2.5, 2.5, (3, 5)).astype(np.float32),
        "counts": local.integers(-3, 401, 70),
        "b": [local.uniform(-1, 1, 4).astype(np.float16), float(local.uniform(-1, 1))],
    }


def encode(update, weight, loss, key):
    """Return the segments' values by the spec alone."""
    model = [*update["w"].ravel().tolist(), *update["b"][0].tolist(), update["b"][1]]
    clipped = sum(abs(x) > 2.0 for x in model)
    first = ref_encoding.fixed_point(model, 2.0, 12, key, 1, 0)
    counts = ref_encoding.integer(update["counts"].tolist(), -3)
    metric = ref_encoding.fixed_point([loss], 4.0, 20, None, 3, 0)
    return [[weight, clipped, 1], *([weight * v for v in part] for part in (first, counts, metric))]


SHAPES = {
    "full": {"corrupt": 1, "threshold": 5, "min_clients": 5},
    "sparse": {
        "corrupt": 0, "threshold": 3, "min_clients": 5, "min_cohort": 8, "neighbours": 6, "threat": "semi-honest",
    },
}  # fmt: skip


@pytest.mark.parametrize("shape, n", [("full", 7), ("sparse", 9)])
def test_whole_round(shape, n):
    total = n * 30
    params = Params(
        clients=n, layout=Layout.of(EXAMPLE), encoding=FixedPoint(clip=2, bits=12), metrics=("loss",), max_weight=30,
        segments={"metrics": FixedPoint(clip=4.0, bits=20, rounding="nearest"), "counts": Integer(-3, 400)},
        frame_bytes=64, rounds_per_setup=2, **SHAPES[shape],
    )  # fmt: skip
    widths = [64, ref_encoding.width(12, total), ref_encoding.width(9, total), ref_encoding.width(20, total)]
    settings = Settings(
        params.threshold, params.neighbours, 64, params.hash, list(zip(widths, (3, 20, 70, 1), strict=True))
    )
    ids = [f"c{i}" for i in range(n)]
    network = Wiretap.known(params, ids)
    refs = {name: Client(settings, name, network.clients[name]._identity.to_bytes(), Entropy(name)) for name in ids}
    weights = {name: 2 + 3 * i for i, name in enumerate(ids)}

    def submit(client):
        me = client.me
        client.submit(update_of(me), weight=weights[me], metrics={"loss": 0.1}, context=b"the model")

    for round_id, lost, late in ((4, "c3", "c5"), (5, None, "c0")):
        for sent in network.up.values():
            sent.clear()
        network.server.open_round(round_id, participants=None if round_id == 4 else ids[:-1])
        while network.server.phase != "idle":
            phase = network.server.phase
            gone = {lost} if phase == "masked" else {lost, late} if phase == "unmask" else set()
            network.phase(submit, gone)
        assert not network.refused
        check_round(network, settings, refs, round_id, weights)


def check_round(network, settings, refs, round_id, weights):
    result = network.server.result(round_id)
    survivors = result.contributors
    payloads, answers, setup, plain = {}, {}, None, []
    for name, ref in refs.items():
        down, sent = network.down[name], list(network.up[name])
        if round_id == 4:
            assert ref.advertise(down[ref_frames.KEYS_REQUEST]) == sent.pop(0)
            assert ref.deal(down[ref_frames.SHARES_REQUEST]) == sent.pop(0)
        setup = ref.setup
        if name in survivors:
            key = ref.rounding_key(round_id)
            vectors = encode(update_of(name), weights[name], 0.1, key)
            plain.append(vectors)
            expected = ref.upload(down[ref_frames.MASKED_REQUEST], vectors, b"the model")
            assert sent[: len(expected)] == expected
            payloads[setup.ids.index(name)] = read_chunks(sent[: len(expected) - 1], settings)
            del sent[: len(expected)]
        if sent:
            (frame,) = sent
            assert ref.answer(down[ref_frames.UNMASK_REQUEST]) == frame
            box = ref_frames.body(frame)[3]
            key, account = ref.server_key("answer", round_id), ref_frames.body(frame)[1]
            answers[setup.ids.index(name)] = ref_msgpack.unpack(ref_frames.unseal(key, box, account))
    assert isinstance(setup, Setup)
    participants = [setup.ids.index(name) for name in result.receipt.participants]
    ranks = [setup.ids.index(name) for name in survivors]
    sums = open_sum(setup, round_id, participants, ranks, payloads, answers)
    assert sums == [[sum(values) for values in zip(*parts, strict=True)] for parts in zip(*plain, strict=True)]
    head, model, counts, _ = sums
    assert (result.weight, result.clipped, len(survivors)) == tuple(head)
    assert result.integer_sum.tolist() == [*model[:15], *counts, *model[15:]]
    raw = b"".join(
        value.to_bytes(ref_stream.lane_bytes(w), "little")
        for (w, _), part in zip(settings.segments, sums, strict=True)
        for value in part
    )
    receipt = result.receipt
    assert receipt.result_hash == ref_hashes.digest("result", hashlib.sha256(raw).digest())
    members = sorted(next(iter(refs.values())).members)
    tags = {setup.ids.index(name): receipt.uploads[name] for name in survivors}
    assert receipt.account == setup.account(
        round_id, members, participants, tags, ref_hashes.digest("context", b"the model")
    )
    signed = [part for name in sorted(receipt.signatures) for part in (name.encode(), receipt.signatures[name])]
    statement = ref_hashes.digest("receipt", ref_hashes.u64(round_id), receipt.account, receipt.result_hash, *signed)
    assert receipt.statement == statement
    receipt.verify(network.server._core._roster)


def read_chunks(frames, settings):
    """Return the values of each segment from its chunk frames."""
    values = [[] for _ in settings.segments]
    for frame in frames:
        _, (_, _, _, number, index, _, payload) = ref_frames.outer(frame)
        w, count = settings.segments[number]
        start, stop = ref_encoding.chunks(count, w, settings.frame_bytes)[index]
        values[number] += ref_encoding.unpack(payload, w, stop - start)
    return values
