"""What a client's ledger says about one round, read without its identity and without writing to it."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secagg.errors import InputError, ParameterError, PeerError
from secagg.identity import check_id
from secagg.protocols.ckks import messages as ckks
from secagg.protocols.ckks.client_state import ENCRYPTED
from secagg.protocols.ckks.messages import EncryptedHeader
from secagg.protocols.pairwise.client_state import MASKED, UNMASK
from secagg.protocols.pairwise.messages import Kind, MaskedHeader, Unmask, decoders
from secagg.store.ledger import BUSY_SECONDS, FAILURES, is_ledger
from secagg.wire import Envelope, decode_body, decode_frame, open_envelope

__all__ = ["Sent", "read_sent"]

MAX_FRAME_BYTES = 1 << 30


@dataclass(frozen=True)
class Sent:
    """What one client sent in one round.

    Attributes
    ----------
    me : str
        The client's id.
    verify_key : bytes
        Its 32-byte verify key.
    session : bytes
        16 bytes.
    round_id : int
    header : MaskedHeader, EncryptedHeader or None
        The account of its upload, whose signature holds; None if the ledger has none of this round.
    answered : bool
        Whether it answered an unmask request of this round. A client that sent an upload answers only if it was told that its
        upload is in the sum.
    account : bytes or None
        The account that it answered to; the ledger keeps it until a later round begins.
    """

    me: str
    verify_key: bytes
    session: bytes
    round_id: int
    header: MaskedHeader | EncryptedHeader | None
    answered: bool
    account: bytes | None


def read_sent(path: str | os.PathLike[str], session: bytes, round_id: int) -> Sent:
    """Return what a ledger says about one round; the file, which a running client may have open, is only read.

    Parameters
    ----------
    path : str or os.PathLike
        A file of `Ledger`.
    session : bytes
        16 bytes.
    round_id : int

    Raises
    ------
    InputError
        No such file, no ledger of this version, damaged, locked for long, or left in the middle of a write: open it with its
        client first.

    Notes
    -----
    It knows as much as the ledger: one that was made after the round, or rolled back, has nothing of it.
    """
    name = os.fspath(path)
    try:
        Path(path).stat()  # for a clearer word than SQLite's; opening it here could break locks of this process
        # A URI, so that the file is neither created nor changed; as_uri escapes what has a meaning there.
        uri = Path(path).absolute().as_uri() + "?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)) as db:
            return _read(db, session, round_id)
    except (*FAILURES, PeerError, InputError, ParameterError) as error:
        raise InputError(f"{name} cannot be read as a secagg ledger: {error}") from None
    except OSError as error:
        raise InputError(f"{name}: {error.strerror or error}") from None


def _read(db: sqlite3.Connection, session: bytes, round_id: int) -> Sent:
    db.execute("PRAGMA trusted_schema = OFF")
    db.execute("BEGIN")  # one moment of the file for all that follows
    if not is_ledger(db):
        raise InputError("not a ledger of this version")
    owners = db.execute("SELECT me, verify_key FROM owner").fetchall()
    kept = db.execute(
        "SELECT phase, frame FROM frames WHERE session = ? AND round = ? AND phase IN (?, ?, ?)",
        (session, round_id, MASKED, UNMASK, ENCRYPTED),
    ).fetchall()
    frames = dict(kept)
    if len(owners) != 1 or [type(value) for value in owners[0]] != [str, bytes]:
        raise InputError("it has no one owner")
    me, verify_key = owners[0]
    check_id(me)
    header: MaskedHeader | EncryptedHeader | None = None
    account: bytes | None = None
    if MASKED in frames:
        header = _body(frames[MASKED], Kind.MASKED_HEADER, me, verify_key, session)
    if ENCRYPTED in frames:
        header = _body(frames[ENCRYPTED], ckks.Kind.ENCRYPTED_HEADER, me, verify_key, session)
    if frames.get(UNMASK):  # emptied when the round is over
        answer: Unmask = _body(frames[UNMASK], Kind.UNMASK, me, verify_key, session)
        account = answer.account
    return Sent(me, verify_key, session, round_id, header, UNMASK in frames, account)


def _body(frame: bytes, kind: Kind | ckks.Kind, me: str, verify_key: bytes, session: bytes) -> Any:
    found, outer = decode_frame(frame, max_bytes=MAX_FRAME_BYTES)
    if not isinstance(outer, Envelope) or (found, outer.sender, outer.session) != (kind, me, session):
        raise InputError("it holds a frame of another kind, client or session")
    decoder: Any = decoders[kind] if isinstance(kind, Kind) else ckks.decoders[kind]
    return decode_body(open_envelope(kind, outer, verify_key), decoder, me)
