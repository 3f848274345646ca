"""Make oneshot.json, single operations of the protocol, from the reference implementation alone.

Run from the root of the repository: `PYTHONPATH=tests python -m vectors.generate_oneshot`
"""

from hashlib import sha256
from pathlib import Path

from reference import frames, msgpack
from reference.entropy import Entropy
from reference.errors import PeerError
from reference.hashes import u64
from reference.oneshot_common import Setup, answer_key, committee, leaf_path, public_seed, root, share_key, tree
from reference.oneshot_member import write_share
from reference.oneshot_settings import OneshotSettings
from reference.settings import Roster
from vectors.generate_kernels import text as written
from vectors.generate_oneshot_session import IDS, KINDS, canonical
from vectors.oneshot_refusals import other_keys
from vectors.pairwise_refusals import identity

PATH = Path(__file__).with_name("oneshot.json")
SESSION = sha256(b"session").digest()[:16]
SHARE = [0, 1, 2**61 - 2, 2**60]


def case(op, given, output, error=None, note=""):
    return {"op": op, "input": given, "output": output, "success": error is None, "error": error, "note": note}


def parties(ids):
    keys = {name: frames.verify_key(identity(name)) for name in ids}
    roster = Roster(frames.verify_key(identity("server")), keys)
    told = {"server": roster.server.hex(), "clients": {name: key.hex() for name, key in roster.clients.items()}}
    return roster, told


def params():
    for name, kind in KINDS.items():
        made = canonical(*kind)
        settings = OneshotSettings(msgpack.pack(made))
        output = {
            "hash": settings.hash.hex(), "max_frame_bytes": settings.limit, "box": settings.box,
            "primes": settings.parts[0].ring.primes,
            "chunks": [[size for (number, _), size in settings.sizes(settings.M).items() if number == i]
                       for i in range(len(settings.parts) + 1)],
        }  # fmt: skip
        yield case("params", {"canonical": msgpack.pack(made).hex()}, output, note=name)
    threat, members, threshold, packing = KINDS["malicious"]
    ring = canonical(*KINDS["malicious"])[18]
    for at, value, note in (
        (20, 2, "a server that lies could open two sets in one round"),
        (8, 2, "the same, with a lower threshold"),
        (20, 3, "as many secrets as shares"),
        (19, 5, "more members than clients"),
        (9, 2, "fewer than min_honest honest updates in a sum"),
        (18, [*ring[:4], 9], "another width of a digit"),
        (18, [4096, 36, *ring[2:]], "digits of another ring"),
        (18, [*ring[:3], [[62, 1, 101], *ring[3][1:]], 8], "another bound on errors"),
        (18, [4096, 54, 2, *ring[3:]], "a modulus above the cap"),
    ):
        made = canonical(threat, members, threshold, packing)
        made[at] = value
        yield case("params", {"canonical": msgpack.pack(made).hex()}, None, "ParameterError", note)


def committees():
    for count, size in ((4, 4), (5, 2), (12, 5), (12, 11)):
        roster, told = parties([f"é{i}" if i % 2 else f"client {i}".replace(" ", "-") for i in range(count)])
        settings = type("Settings", (), {"M": size})
        for number in range(2):
            session = sha256(b"%d" % number).digest()[:16]
            crew = committee(settings, roster, session)
            yield case("committee", {**told, "session": session.hex(), "size": size}, crew)


def trees():
    for count in (1, 2, 3, 4, 5, 6, 7, 8, 13):
        leaves = [b"leaf %d" % i for i in range(count)]
        levels, top = tree(leaves), root(leaves)
        paths = [leaf_path(levels, place) for place in range(count)]
        given = {"leaves": [leaf.hex() for leaf in leaves]}
        yield case("tree", given, {"root": top.hex(), "paths": [path.hex() for path in paths]})
        place = count - 1
        for leaf, at, path, error, note in (
            (leaves[place], place, paths[place], None, "the last leaf"),
            (leaves[place] + b"x", place, paths[place], "AuthenticationError", "another leaf"),
            (leaves[place], place, paths[place] + bytes(32), "AuthenticationError", "a path of another length"),
            (leaves[place], place, bytes(len(paths[place])), "AuthenticationError", "a path of zeros"),
            (leaves[place], 0, paths[place], "AuthenticationError", "another place"),
        ):
            same = (leaf, at, path) == (leaves[place], place, paths[place])
            if same == (error is None):
                told = {"leaf": leaf.hex(), "place": at, "count": count, "path": path.hex(), "root": top.hex()}
                yield case("path", told, None, error, note)


def refused(settings, roster, shown):
    try:
        Setup(settings, roster, SESSION, shown)
    except PeerError as error:
        return type(error).__name__


def setups():
    made = msgpack.pack(canonical(*KINDS["malicious"]))
    settings, (roster, told) = OneshotSettings(made), parties(IDS)
    private = sha256(b"server's private key").digest()
    request = [3, settings.rounds, settings.hash, roster.hash, frames.public(private)]
    keys = []
    for name in IDS:
        own = frames.public(sha256(b"private key " + name.encode()).digest())
        keys.append(frames.envelope(frames.MEMBER_KEY, SESSION, name, [*request, own], identity(name)))
    for shown, error, note in (
        (keys, None, "all"), (keys[:2] + keys[3:], None, "three of four"),
        *other_keys(keys, frames.public(private)),
    ):  # fmt: skip
        given = {
            **told, "canonical": made.hex(), "session": SESSION.hex(), "frames": [frame.hex() for frame in shown],
        }  # fmt: skip
        if error is None:
            setup = Setup(settings, roster, SESSION, shown)
            output = {"setup_hash": setup.hash.hex(), "members_hash": setup.members_hash.hex(), "members": setup.ids}
            yield case("setup", given, output, note=note)
        elif refused(settings, roster, shown) == error:
            yield case("setup", given, None, error, note)
        else:
            raise AssertionError(note)
    yield from boxes(settings, roster, Setup(settings, roster, SESSION, keys))


def boxes(settings, roster, setup):
    given = {"session": SESSION, "params_hash": settings.hash, "roster_hash": roster.hash}
    for round_id in (0, 3, 2**63 - 1):
        public = public_seed(settings, roster, SESSION, round_id)
        told = {name: value.hex() for name, value in given.items()} | {"round_id": round_id}
        yield case("public", told, public.hex())
    private = sha256(b"an upload's private key").digest()
    keys = dict(zip(setup.ids, setup.keys, strict=True))
    common = {"private": private.hex(), "session": SESSION.hex(), "setup_hash": setup.hash.hex(), "round_id": 4}
    for member in ("bo", "éva"):
        shared = frames.agree(private, keys[member])
        told = common | {"public": keys[member].hex(), "client": "ana", "member": member, "share": SHARE}
        key = share_key(shared, setup, 4, "ana", member)
        box = frames.seal(key, write_share(SHARE), u64(4), Entropy(member))
        yield case("share", told | {"nonce": box[:12].hex()}, {"key": key.hex(), "box": box.hex()})
        account = sha256(b"account").digest()
        key = answer_key(shared, setup, 4, member)
        box = frames.seal(key, write_share(SHARE), account, Entropy(member))
        told = common | {"public": keys[member].hex(), "member": member, "account": account.hex(), "share": SHARE}
        yield case("answer", told | {"nonce": box[:12].hex()}, {"key": key.hex(), "box": box.hex()})


def build():
    cases = [made for each in (params, committees, trees, setups) for made in each()]
    return {
        "schema": "secagg-vectors/1",
        "source": "tests/vectors/generate_oneshot.py: the reference implementation, in plain integers",
        "licence": "Apache-2.0",
        "verified_by": "the engine, by `secagg vectors`",
        "params": {"encoding": "hex; names and numbers as they are", "definitions": "docs/spec/oneshot.md"},
        "cases": cases,
    }


if __name__ == "__main__":
    PATH.write_text(written(build()), encoding="utf-8")
