"""The engine against tests/reference, piece by piece, byte for byte; test_live.py does the same with whole sessions."""

import random
import re
from pathlib import Path

import numpy as np
import pytest

import secagg
from reference import dealing as ref_dealing
from reference import encoding as ref_encoding
from reference import field as ref_field
from reference import hashes as ref_hashes
from reference import msgpack as ref_msgpack
from reference import stream as ref_stream
from reference.entropy import Entropy
from reference.party import apply
from reference.settings import Roster as RefRoster
from reference.settings import Settings
from secagg import FixedPoint, Integer, Layout, Params, _kernels
from secagg.hazmat import kdf, prg, shamir, transcript
from secagg.protocols.ckks import transitions as ckks_transitions
from secagg.protocols.machine import diagram
from secagg.protocols.oneshot import transitions as oneshot_transitions
from secagg.protocols.pairwise import dealing, graph, transitions
from secagg.testing import Network
from secagg.wire import ChunkPlan

SPEC = Path(__file__).parents[2] / "docs" / "spec"
EXAMPLE = {"w": np.zeros((3, 5), np.float32), "counts": np.zeros(70, np.int64), "b": [np.zeros(4, np.float16), 0.0]}


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
    assert RefRoster(roster.server, {name: roster.key(name) for name in ("é", "b", "a")}).hash == roster.hash()


NAMED = {"a": Integer(-3, 9), "metrics": FixedPoint(clip=1, bits=9, rounding="nearest")}


@pytest.mark.parametrize(
    "layout, segments",
    [
        (Layout.flat(9), {}),
        (Layout.flat(9), {"model": Integer(0, 5)}),
        (Layout.of({"a": np.zeros(3), "b": (np.zeros((2, 2)), [0, 1.0])}), {"a": Integer(-3, 9)}),
        (
            Layout.of({"b": {"a": np.zeros(3)}, "a": np.zeros((2, 0, 3)), "model": 1.0, "c": 2.0}),
            {"model": Integer(0, 1)},
        ),
        (Layout.of({"b": 1.0, "a": np.zeros(2)}), {"b": Integer(6, 7), "a": Integer(0, 1)}),
        (Layout.of([{"a": np.zeros(3)}, np.zeros(1)]), {}),
    ],
)
@pytest.mark.parametrize("metrics", [(), ("y", "x")])
def test_segments_are_read_from_canonical_params(layout, segments, metrics):
    named = segments | ({"metrics": NAMED["metrics"]} if metrics else {})
    params = Params(clients=5, layout=layout, segments=named, metrics=metrics, max_weight=7, frame_bytes=100)
    settings = Settings(params.to_bytes())
    assert settings.hash == params.hash and settings.limit == params.max_frame_bytes
    plan = params.segment_plan
    assert [part[:3] for part in settings.segments] == [(each.name, each.w, each.count) for each in plan.segments]
    assert [part.levels for part in settings.segments[1:]] == [each.encoding.levels for each in plan.segments[1:]]
    values, weight = [1 + i % 2 if not segments else 1 for i in range(layout.size)], 3
    if "b" in segments:
        values[0] = 7
    parts, at = [], 0
    for leaf in layout.leaves:
        parts.append(np.array(values[at : at + leaf.size], dtype=leaf.dtype))
        at += leaf.size
    update = parts[0] if layout.is_flat else layout.unflatten(parts)
    scalars = dict(zip(metrics, (0.5, 1.5), strict=False))
    made = plan.encode(update, weight, scalars, bytes(16))
    again = settings.encode(values, weight, list(scalars.values()), bytes(16))
    assert [vector.tolist() for vector in made.vectors] == again


def tables(module):
    """Return every table of transitions of a protocol."""
    return [table for name in module.__all__ if isinstance(table := getattr(module, name), dict)]


@pytest.mark.parametrize(
    "name, module, count",
    [("pairwise", transitions, 3), ("ckks", ckks_transitions, 3), ("oneshot", oneshot_transitions, 3)],
)
def test_spec_draws_the_tables(name, module, count):
    text = (SPEC / f"{name}.md").read_text(encoding="utf-8")
    assert len(tables(module)) == count
    for table in tables(module):
        assert f"```mermaid\n{diagram(table)}\n```" in text
    assert "```mermaid\nsequenceDiagram" in text


LABELS = re.compile(r'(?:digest\(\s*|(?:hkdf|derived)\(\s*[\w.]+, |_derive\()"([^"]+)"')


def test_specs_name_every_label_each_where_it_is_used():
    pages = {path.stem: path.read_text(encoding="utf-8") for path in SPEC.glob("*.md")}
    package = Path(secagg.__file__).parent
    found, plugged = {}, {}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package).parts
        if "cli" not in parts:
            into = plugged if "integrations" in parts else found
            into |= dict.fromkeys(LABELS.findall(path.read_text(encoding="utf-8")), path.parent.name)
    assert found.keys() >= {"frame", "setup", "account", "mask", "share", "rounding-seed"}
    assert found.keys() >= {"ckks-key", "ckks-pad", "ckks-result-salt", "roster-holder", "rlwe/s"}
    assert found.keys() >= {"oneshot-setup", "oneshot-reveal", "oneshot-share", "oneshot-sharing"}
    assert [label for label in found if f"`{label}`" not in "".join(pages.values())] == []
    for protocol, page in pages.items():
        assert [label for label, where in found.items() if where == protocol and f"`{label}`" not in page] == []
    # An integration's are no part of a protocol, and so begin with its name.
    assert [label for label, where in plugged.items() if not label.startswith(f"{where}/")] == []
    assert not plugged.keys() & found.keys()
