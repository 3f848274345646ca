"""`secagg verify`: whether a receipt holds, and what follows from that."""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secagg.cli.files import columns, using
from secagg.cli.toml import read_params
from secagg.errors import AuthenticationError, InputError
from secagg.identity import Roster
from secagg.oneshot_rules import committee_corrupt
from secagg.params import Params
from secagg.receipt import Receipt
from secagg.store import Sent, read_sent
from secagg.wire import HOLDER

__all__ = ["verify"]

COUNTED, LEFT_OUT, NOTHING = "counted", "made, not counted", "none made"


@dataclass(frozen=True)
class _Case:
    """A receipt, and all that it is held against."""

    receipt: Receipt
    roster: Roster
    params: Params | None
    threshold: int
    sent: Sent | None

    @property
    def dropouts(self) -> list[str]:
        return [name for name in self.receipt.participants if name not in self.receipt.uploads]

    @property
    def signers(self) -> list[str]:
        return sorted(self.receipt.signatures, key=str.encode)

    def check(self) -> None:
        """Check everything, or raise AuthenticationError."""
        self.receipt.verify(self.roster, self.params, threshold=self.threshold)
        if self.sent is not None:
            self.receipt.verify_sent(self.sent, self.roster)


def _became(sent: Sent, receipt: Receipt) -> str:
    """Return what became of the upload of the ledger's client."""
    if sent.me in receipt.uploads:
        return COUNTED
    return NOTHING if sent.header is None else LEFT_OUT


def verify(
    receipt: Path, *, roster: Path, params: Path | None, threshold: int, ledger: Path | None, as_json: bool
) -> bool:
    """Check a receipt, print what that proves or which check failed, and return whether it holds.

    Raises
    ------
    InputError, DecodeError, ParameterError
        A file cannot be read or is not what it should be: nothing was checked.
    """
    case = _read(receipt, roster, params, threshold, ledger)
    try:
        case.check()
    except AuthenticationError as refused:
        if as_json:
            print(json.dumps({"valid": False, "receipt": str(receipt), "reason": str(refused)}, indent=2))
        else:
            print(f"{receipt} DOES NOT HOLD: {refused}")
        return False
    if as_json:
        print(json.dumps(_told(receipt, case), indent=2, ensure_ascii=False))
    else:
        _show(receipt, case)
    return True


def _read(receipt: Path, roster: Path, params: Path | None, threshold: int, ledger: Path | None) -> _Case:
    if threshold < 1:
        raise InputError("--threshold must be 1 or more: a receipt that no client signed proves nothing")
    with using(receipt):
        read = Receipt.load(receipt)
    with using(roster):
        known = Roster.load(roster)
    agreed = None if params is None else read_params(params)
    sent = None if ledger is None else read_sent(ledger, read.session, read.round_id)
    return _Case(read, known, agreed, threshold, sent)


def _held(case: _Case) -> bool:
    """Whether a key holder opened the sum."""
    return HOLDER in case.receipt.signatures


def _proven_by_holder(case: _Case) -> list[str]:
    proven = [
        "The key holder decrypted one sum of this round: that of exactly these uploads, for this model, under these Params.",
        "Every client that is counted signed that very upload for this round and this model, if the key holder is honest.",
    ]
    if case.params is not None:
        proven.append("The Params are those of the file.")
    return proven


def _proven_by_clients(case: _Case) -> list[str]:
    params = case.params
    least = "if one of those who signed is honest"
    if params is not None and len(case.signers) > int(params.corrupt):
        least = f"if no more than {params.corrupt} of those who signed are corrupt, as Params assume"
    what = "who was asked, whose upload is counted and which upload that is, under these Params and for this model"
    proven = [
        f"All who signed stand by one account of this round: {what}.",
        f"Every client that is counted signed that very upload for this round and this model, {least}.",
        "An honest client that signed helped to open the sum of exactly these uploads, and no other of this round.",
    ]
    if params is not None:
        proven.append(f"The Params are those of the file, and as many clients signed as they demand: {_needed(case)}.")
    return proven


def _proven_by_committee(case: _Case, params: Params) -> list[str]:
    corrupt = committee_corrupt(params.clients, params.committee, int(params.corrupt))
    least = "if one of those who signed is honest"
    if len(case.signers) > corrupt:
        least = f"if no more than {corrupt} of the committee are corrupt, as Params assume"
    what = "who was asked, whose upload is counted and which upload that is, under these Params and for this model"
    return [
        f"All who signed are in the committee that roster and session give, and stand by one account of this round: {what}.",
        f"Every client that is counted signed that very upload for this round and this model, {least}.",
        "An honest member that signed added the shares of exactly these uploads, and answers for no other set in this round.",
        f"The Params are those of the file, and as many members signed as open a round: {_needed(case)}.",
    ]


def _proven(case: _Case) -> list[str]:
    sent = case.sent
    if _held(case):
        proven = _proven_by_holder(case)
    elif case.params is not None and case.params.protocol == "oneshot":
        proven = _proven_by_committee(case, case.params)
    else:
        proven = _proven_by_clients(case)
    if sent is not None:
        became = {
            COUNTED: f"The upload counted for {sent.me} is the one in its ledger, made for this model.",
            LEFT_OUT: f"{sent.me} made an upload that is not counted; its ledger has no answer that contradicts this.",
            NOTHING: f"Nothing is counted for {sent.me}, and its ledger has no upload of this round.",
        }
        proven.append(became[_became(sent, case.receipt)])
    return proven


def _not_proven(case: _Case) -> list[str]:
    missing = [
        "That the published result is the right sum: the result's digest is the key holder's and the server's word."
        if _held(case)
        else "That the published result is the right sum: the server alone sees the sum, and the result's digest is its word.",
        "That the updates are good, in range, or made from real patients.",
        "That the keys on the roster are the right people's: compare its fingerprint with theirs.",
    ]
    if case.params is None:
        missing.append(
            "Which Params that were, how many had to sign, and in oneshot whether it was the committee: give --params."
        )
    if case.sent is None:
        missing.append("That what is counted for you is what you sent: give --ledger.")
    return missing


def _needed(case: _Case) -> int:
    params = case.params
    if params is None:
        return case.threshold
    return max(case.threshold, params.threshold)


def _told(path: Path, case: _Case) -> dict[str, Any]:
    receipt, sent = case.receipt, case.sent
    return {
        "valid": True,
        "receipt": str(path),
        "roster_fingerprint": case.roster.fingerprint,
        "session": receipt.session.hex(),
        "round_id": receipt.round_id,
        "participants": list(receipt.participants),
        "survivors": list(receipt.survivors),
        "dropouts": case.dropouts,
        "signers": case.signers,
        "signatures_needed": _needed(case),
        "params_hash": receipt.params_hash.hex(),
        "params_checked": case.params is not None,
        "context_hash": receipt.context_hash.hex(),
        "result_hash": receipt.result_hash.hex(),
        "client": None if sent is None else {"id": sent.me, "upload": _became(sent, receipt)},
        "proven": _proven(case),
        "not_proven": _not_proven(case),
    }


def _show(path: Path, case: _Case) -> None:
    receipt, sent = case.receipt, case.sent
    survivors, signers, dropouts = receipt.survivors, case.signers, case.dropouts
    checked = "as in the file" if case.params is not None else "not checked"
    rows = [
        ("session, round", f"{receipt.session.hex()}, {receipt.round_id}"),
        (f"asked for an update ({len(receipt.participants)})", " ".join(receipt.participants)),
        (f"counted in the sum ({len(survivors)})", " ".join(survivors)),
        (f"asked, not counted ({len(dropouts)})", " ".join(dropouts) or "nobody"),
        (f"signed ({len(signers)}, at least {_needed(case)} needed)", f"{' '.join(signers)}, and the server"),
        ("model context", receipt.context_hash.hex()),
        (f"Params ({checked})", receipt.params_hash.hex()),
        ("result", receipt.result_hash.hex()),
        ("fingerprint of the roster", case.roster.fingerprint),
    ]
    if sent is not None:
        rows.append((f"upload of {sent.me}", _became(sent, receipt)))
    print(f"{path} holds: every signature is right.\n\n{columns(rows)}")
    for title, lines in (("Proven", _proven(case)), ("Not proven", _not_proven(case))):
        print(f"\n{title}:")
        for line in lines:
            print(textwrap.fill(line, 80, initial_indent="- ", subsequent_indent="  ", break_long_words=False))
