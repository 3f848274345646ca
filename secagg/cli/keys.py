"""`secagg keygen` and `secagg roster`: keys for participants, and the file that says whose they are."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath

from secagg.cli.files import columns, using
from secagg.errors import InputError
from secagg.identity import FINGERPRINT_BITS, Identity, PublicKey, Roster, check_id, key_fingerprint
from secagg.protocols.oneshot import committee

__all__ = ["keygen", "roster_make", "roster_show"]

COMPARE = "Read the roster's fingerprint to every other participant by telephone before the first round."


def keygen(name: str, *, out: Path, as_json: bool) -> None:
    """Make a key pair, ``NAME.key`` and ``NAME.pub``, and print the public part.

    Raises
    ------
    ParameterError
        `name` can be no id.
    InputError
        `name` can be no file name, a file exists, or cannot be written; nothing was left behind.
    """
    check_id(name)
    if name.startswith(".") or Path(name).name != name or PureWindowsPath(name).name != name:
        raise InputError(f"{name!r} is no plain file name: a key's name starts with no dot and holds no /, \\ or drive")
    private, public = out / f"{name}.key", out / f"{name}.pub"
    if public.exists():
        raise InputError(f"{public} exists; move it away first, a key is never overwritten")
    identity = Identity.generate()
    made = PublicKey(name, identity.verify_key)
    with using(private):
        identity.save(private)
    try:
        with using(public):
            made.save(public)
    except InputError:
        private.unlink()  # nobody can have used it yet
        raise
    if as_json:
        told = {
            "name": name,
            "key": made.key.hex(),
            "fingerprint": made.fingerprint,
            "fingerprint_bits": FINGERPRINT_BITS,
            "secret_file": str(private),
            "public_file": str(public),
        }
        print(json.dumps(told, indent=2))
        return
    rows = [
        ("secret key", f"{private}  (keep it here, and secret)"),
        ("public key", f"{public}  (hand this out)"),
        ("verify key", made.key.hex()),
        ("fingerprint", f"{made.fingerprint}  ({FINGERPRINT_BITS} bits)"),
    ]
    print(columns(rows))


def _load(path: Path) -> PublicKey:
    with using(path):
        return PublicKey.load(path)


def _refuse_twins(server: tuple[Path, PublicKey], clients: Sequence[tuple[Path, PublicKey]]) -> None:
    names: dict[str, Path] = {}
    keys = {server[1].key: server[0]}
    for path, public in clients:
        if public.name in names:
            raise InputError(f"{names[public.name]} and {path} both name the client {public.name!r}")
        if public.key in keys:
            raise InputError(f"{keys[public.key]} and {path} hold the same key: one participant would count twice")
        names[public.name] = keys[public.key] = path


def roster_make(
    path: Path, *, server: Path, clients: Sequence[Path], as_json: bool, holder: Path | None = None
) -> None:
    """Write a roster of public-key files and print it; `holder` may be one of the clients' files.

    Raises
    ------
    InputError, ParameterError
        A file is no public key, an id or a key comes twice, or the roster's file exists.
    """
    host = (server, _load(server))
    members = [(each, _load(each)) for each in clients]
    _refuse_twins(host, members)
    held = None if holder is None else _load(holder).key
    roster = Roster({public.name: public.key for _, public in members}, host[1].key, held)
    with using(path):
        roster.save(path)
    _print(path, roster, as_json=as_json)


def roster_show(path: Path, *, as_json: bool, session: str | None = None, size: int | None = None) -> None:
    """Print a roster; with a session id in hex and a size, oneshot's committee too.

    Raises
    ------
    InputError, ParameterError
        The file cannot be read or is no roster, or the session or size is none.
    """
    with using(path):
        roster = Roster.load(path)
    if (session is None) != (size is None):
        raise InputError(
            "--session and --committee go together: the committee follows from roster, session id and size"
        )
    crew: tuple[str, ...] = ()
    if session is not None and size is not None:
        if re.fullmatch("[0-9a-fA-F]{32}", session) is None:
            raise InputError("--session is 16 bytes: 32 digits in hex")
        if not 2 <= size <= len(roster):
            raise InputError(f"--committee must be from 2 to the roster's {len(roster)} clients")
        crew = committee(roster, bytes.fromhex(session), size)
    _print(path, roster, as_json=as_json, crew=crew)


def _print(path: Path, roster: Roster, *, as_json: bool, crew: Sequence[str] = ()) -> None:
    if as_json:
        told = {
            "roster": str(path),
            "fingerprint": roster.fingerprint,
            "fingerprint_bits": FINGERPRINT_BITS,
            "hash": roster.hash().hex(),
            "count": len(roster),
            "server": {"key": roster.server.hex(), "fingerprint": key_fingerprint(roster.server)},
            "holder": None
            if roster.holder is None
            else {"key": roster.holder.hex(), "fingerprint": key_fingerprint(roster.holder)},
            "clients": {
                name: {"key": roster.key(name).hex(), "fingerprint": key_fingerprint(roster.key(name))}
                for name in roster
            },
        } | ({"committee": list(crew)} if crew else {})
        print(json.dumps(told, indent=2, ensure_ascii=False))
        return
    rows = [("id", "fingerprint of the key")]
    rows += [(name, key_fingerprint(roster.key(name))) for name in roster]
    rows.append(("(the server)", key_fingerprint(roster.server)))
    if roster.holder is not None:
        rows.append(("(the key holder)", key_fingerprint(roster.holder)))
    print(columns(rows))
    others = "and the server" if roster.holder is None else "the server and the key holder"
    print(f"\n{path}: {len(roster)} clients {others}")
    print(f"fingerprint of the roster ({FINGERPRINT_BITS} bits):\n\n  {roster.fingerprint}\n\n{COMPARE}")
    if crew:
        print(f"\ncommittee of that session ({len(crew)}): {' '.join(crew)}")
