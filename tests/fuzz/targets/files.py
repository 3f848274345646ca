"""Files and byte strings that somebody else may have written: Params, rosters, keys, policies, receipts."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path

import msgspec

from fuzz.recipe import CHANGES, Recipe, change
from fuzz.targets.frames import encode
from secagg import FixedPoint, Identity, Integer, Layout, Params, Receipt, Roster
from secagg.cli.toml import read_params, write_params
from secagg.errors import DecodeError, InputError, ParameterError, PeerError
from secagg.identity import PublicKey
from secagg.integrations.policy import Policy
from support.committee import Committee
from support.encrypted import Encrypted
from support.federation import Federation
from support.live import ENCODINGS

MEMORY = Path("/dev/shm")


def examples() -> list[Params]:
    """Params of every kind."""
    nest = Layout.of({"a": [1.0, 2.0], "b": {"c": 3.0}})
    return [
        Params(clients=5, length=37, encoding=Integer(-50, 1000)),
        Params(clients=6, **ENCODINGS),
        Params(clients=100, length=1000, encoding=FixedPoint(clip=1.0, bits=16), threat="semi-honest", neighbours=40),
        Params(clients=4, layout=nest, encoding=FixedPoint(clip=1.0, bits=8), threat="semi-honest"),
        Encrypted.make_params(5),
        Encrypted.make_params(4, reveal="holder", threat="semi-honest"),
        Committee.make_params(5),
        Committee.make_params(200, committee=50, packing=4, threshold=38, corrupt=10, min_clients=110),
    ]


def folder_for(owner: object) -> Path:
    """Return a new directory, in memory where there is one, that goes when its owner does."""
    made = tempfile.mkdtemp(prefix="secagg-fuzz-", dir=MEMORY if MEMORY.is_dir() else None)
    weakref.finalize(owner, shutil.rmtree, made)
    return Path(made)


class OneFile:
    """A place for the bytes under test."""

    def __init__(self) -> None:
        self.path = folder_for(self) / "file"
        self.path.write_bytes(b"")
        self.path.chmod(0o600)

    def write(self, data: bytes) -> Path:
        self.path.write_bytes(data)
        return self.path


class ParamsBytes:
    """`Params.from_bytes`: the first byte says whether the rest is bytes or a recipe for changing good Params."""

    def __init__(self) -> None:
        self._good = [each.to_bytes() for each in examples()]

    def run(self, data: bytes) -> None:
        recipe = Recipe(data)
        if recipe.byte() % 2:
            given = recipe.rest()
        else:
            value = msgspec.msgpack.decode(self._good[recipe.below(len(self._good))])
            for _ in range(CHANGES):
                value = change(recipe, value) if recipe.left > 0 else value
            given = encode(value)
        try:
            made = Params.from_bytes(given)
        except ParameterError:
            return
        assert made.to_bytes() == given

    def seeds(self) -> list[bytes]:
        changes = [bytes([0, at % 8, 1, 6, at, 9, 2, 1, 2]) for at in range(40)]
        return [*(b"\x01" + good for good in self._good), *changes]


class ParamsToml(OneFile):
    """`read_params`, the file of `secagg plan --out`."""

    def run(self, data: bytes) -> None:
        try:
            made = read_params(self.write(data))
        except (InputError, ParameterError):
            return
        assert read_params(self.write(write_params(made).encode())) == made

    def seeds(self) -> list[bytes]:
        return [write_params(each).encode() for each in examples()]


class RosterFile(OneFile):
    """`Roster.load`."""

    def run(self, data: bytes) -> None:
        try:
            made = Roster.load(self.write(data))
        except (InputError, ParameterError):
            return
        assert Roster(dict(zip(made.ids, map(made.key, made.ids), strict=True)), made.server, made.holder) == made

    def seeds(self) -> list[bytes]:
        found = []
        for made in (Federation(3).roster, Encrypted(3).roster):
            with tempfile.TemporaryDirectory() as home:
                made.save(Path(home) / "roster")
                found.append((Path(home) / "roster").read_bytes())
        return found


class KeyFiles(OneFile):
    """`Identity.load` and `PublicKey.load` of one file."""

    def run(self, data: bytes) -> None:
        path = self.write(data)
        try:
            made = Identity.load(path)
        except InputError:
            pass
        else:
            assert made.to_bytes().hex().encode() in data.lower()
        try:
            public = PublicKey.load(path)
        except (InputError, ParameterError):
            return
        assert public.key.hex().encode() in data

    def seeds(self) -> list[bytes]:
        found = []
        identity = Identity.from_bytes(bytes(range(32)))
        with tempfile.TemporaryDirectory() as home:
            identity.save(Path(home) / "one")
            PublicKey("c0", identity.verify_key).save(Path(home) / "two")
            found += [(Path(home) / name).read_bytes() for name in ("one", "two")]
        return found


class PolicyFile(OneFile):
    """`Policy.load`, and what it then says to Params."""

    def __init__(self) -> None:
        super().__init__()
        self._params = examples()

    def run(self, data: bytes) -> None:
        try:
            made = Policy.load(self.write(data))
        except InputError:
            return
        for params in self._params:
            try:
                made.check(params)
            except ParameterError:
                continue

    def seeds(self) -> list[bytes]:
        return [
            b'protocols = ["pairwise", "ckks", "oneshot"]\nthreat = "malicious"\nmin_honest = 3\nmin_clients = 4\n',
            b"corrupt = 0.25\nmax_rounds_per_setup = 16\nledger = false\nleast_max_weight = 10\nrefusing_encodings = true\n",
        ]


class ReceiptFile:
    """`Receipt.from_json` and `verify`."""

    def __init__(self) -> None:
        self._tables = [Federation(3), Committee(3)]
        for table in self._tables:
            table.round()

    def run(self, data: bytes) -> None:
        try:
            made = Receipt.from_json(data)
        except DecodeError:
            return
        assert Receipt.from_json(made.to_json()) == made
        for table in self._tables:
            try:
                made.verify(table.roster, table.params)
            except (PeerError, InputError, ParameterError):
                continue
            assert made == table.server.result(1).receipt, "a receipt that nobody signed"

    def seeds(self) -> list[bytes]:
        other = Encrypted(3)
        other.round()
        return [each.server.result(1).receipt.to_json().encode() for each in (*self._tables, other)]
