"""Writes the table of faults into docs/how-it-is-tested.md, from the names of the tests.

Run ``python docs/tools/faults.py`` after a test of a fault was added; ``--check`` says whether the page is current, as a test
does. It needs nothing but Python. A test is called ``test_fault_NN[_and_MM]_what_happens``.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "how-it-is-tested.md"
BEGIN, END = "<!-- faults: made by docs/tools/faults.py -->", "<!-- end of faults -->"
NAME = re.compile(r"test_fault_(\d+[a-z]?)((?:_and_\d+[a-z]?)*)_")
COLUMNS = ("pairwise", "ckks", "oneshot", "TenSEAL", "parts")
REFUSE, EXCLUDE, ABORT = "refused", "left out", "abort"

CASES = {
    "1": ("a client is lost before it sent keys", EXCLUDE),
    "2": ("lost after its keys, before its shares", EXCLUDE),
    "3": ("lost before its update", f"{EXCLUDE}; only its pair masks' keys are opened"),
    "4": ("lost after its update", "its update counts"),
    "5": ("lost in the middle of its update", "as if none of it had come"),
    "6": ("exactly as many as are needed", "an exact sum"),
    "7": ("one fewer than are needed, in any phase", ABORT),
    "8": ("too few left around one client of a sparse graph", ABORT),
    "9": ("the same frame twice", "changes nothing"),
    "10": ("a second, different frame", f"{REFUSE}, and recorded"),
    "11": ("a frame of another round", REFUSE),
    "12": ("frames in another order", f"the same sum, or {REFUSE}"),
    "13": ("a frame after its phase", f"{REFUSE}, never added"),
    "14": ("another session, round or version", REFUSE),
    "15": ("an answer that got lost and is asked for again", "the same bytes again"),
    "17": ("a sealed share that was tampered with", "reported, and not used"),
    "18": ("a message passed off as somebody else's", REFUSE),
    "19": ("X25519 keys of small order", REFUSE),
    "20": ("Ed25519 keys of small order or in a second encoding", REFUSE),
    "21": ("a signature in a second form", REFUSE),
    "22": ("a key used twice, or one's own sent back", REFUSE),
    "23": ("a nonce used twice", "impossible to ask for"),
    "24": ("a wrong share that looks right", "found and named; the sum is right or the round ends"),
    "25": ("shares with impossible indices", REFUSE),
    "26": ("numbers outside the field", REFUSE),
    "27": ("other survivors told to other clients", "nobody is opened both ways, no sum of too few"),
    "28": ("both kinds of share asked for one client", f"{REFUSE}, also after a restart"),
    "29": ("a client is told that it dropped out", ABORT),
    "30": ("strangers, repeats or dropouts in a list", REFUSE),
    "31": ("fewer survivors than a client accepts", f"{REFUSE} by that client"),
    "32": ("other Params than agreed", f"{REFUSE} at setup"),
    "33": ("keys that were exchanged on the way", ABORT),
    "34": ("one participant under several names", REFUSE),
    "35": ("different models for different clients", "not mixed in one sum"),
    "36": ("one round again with another set", REFUSE),
    "37": ("NaN or infinity in an update", REFUSE),
    "38": ("values beyond the clip", f"clipped and counted, or {REFUSE}"),
    "39": ("denormal numbers and minus zero", "the same bytes everywhere"),
    "40": ("sums that could wrap", f"{REFUSE} by Params"),
    "41": ("an update without values", REFUSE),
    "42": ("more values than fit in a frame, or in 2^31", "sent as many frames"),
    "43": ("another shape or dtype", REFUSE),
    "44": ("arrays in other memory or byte order", "the right values"),
    "45": ("weight 0, and a total of 0", "contributes nothing; no mean"),
    "46": ("negative, fractional or too large weights", REFUSE),
    "47": ("one client, or two", f"{REFUSE}; two only on request"),
    "48": ("impossible thresholds", REFUSE),
    "48b": ("a member that is not sampled", "neither survivor nor dropout"),
    "48c": ("back after a missed round", "takes part with its state, waits without"),
    "48d": ("another cohort, or a key used up", "a setup in band"),
    "49": ("a process killed between any two messages", "goes on or ends; never a second answer"),
    "50": ("a torn, changed or foreign file", REFUSE),
    "51": ("an old copy of a state, or two at once", "the same frame or none; the loss without a ledger as documented"),
    "52": ("a full disk", f"{ABORT}, the old file intact"),
    "53": ("something small that asks for much memory; no memory left", f"{REFUSE} before it is allocated; {ABORT}"),
    "54": ("frames from many threads at once", "the same sum"),
    "55": ("a fork", "other randomness in the child"),
    "57": ("a processor without AES instructions, or no C at all", "the same bytes"),
    "58": ("secrets in texts, logs and tracebacks", "none found"),
    "59": ("pickling or copying of keys", REFUSE),
    "60": ("what was secret, after it has served", "gone from states, scratch and stacks, as best Python can"),
    "62": ("a length beyond the limit", f"{REFUSE} unread"),
    "64": ("nested, unknown or trailing fields", REFUSE),
    "66": ("pickle or .npy in place of a frame", REFUSE),
    "67": ("an empty or short ciphertext", REFUSE),
    "68": ("a flipped bit in a ciphertext", f"{REFUSE} before it is parsed"),
    "69": ("a ciphertext under another key or other parameters", REFUSE),
    "70": ("encrypted sums beyond the modulus", f"{REFUSE} by Params"),
    "71": ("a secret key sent to the server", REFUSE),
    "72": ("one round decrypted twice", REFUSE),
    "73": ("a ciphertext that hides nothing", REFUSE),
}

# Why a column has no test of a case; a cell that is empty for no reason given here is an error.
NOT_APPLICABLE = {
    "pairwise": {
        "nothing is encrypted to a key holder": "67 68 69 71 73",
        "the moduli are those of case 40": "70",
        "each client answers once: case 28": "72",
    },
    "ckks": {
        "no shares are dealt": "2 17 24 25 28",
        "there is no graph": "8",
        "clients hear of no survivors": "29",
    },
    "oneshot": {
        "a setup has no clients, and shares go out with the update": "2",
        "there is no graph": "8",
        "clients hear of no survivors": "29",
        "nothing is encrypted to a key holder": "67 68 69 71 73",
        "the moduli are those of case 40": "70",
        "a member answers once: case 28": "72",
    },
    "TenSEAL": {
        "one message each way: no keys phase, no shares, no lists, no parts of a message": "1 2 5 8 12 17 24 25 26 27 28 29 33",
        "no key agreement": "19 22",
        "keys and rosters are those of the parts": "20 21 34",
        "TenSEAL draws the randomness, and encrypts": "23 39 55 57 60",
        "arrays are converted by numpy": "44",
        "no weights": "45 46",
        "no samples, batches or cohorts": "48b 48c 48d",
        "nothing is kept on disk": "15 49 50 51 52",
        "sizes are fixed by the terms: case 62": "53",
        "one thread at a time, as its docstrings say": "54",
    },
    "parts": {
        "decided by whole rounds, not by a part": (
            "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 17 18 24 27 28 29 30 31 32 33 35 36 38 39 40 47 48b 48c 48d 53 54"
        ),
        "of ciphertexts": "67 68 69 70 71 72 73",
    },
}


def column(path: Path) -> str:
    """Return which protocol a file of tests is about."""
    name = path.stem
    if "tenseal" in path.as_posix():
        return "TenSEAL"
    if "ckks" in name or "holder" in name or name in {"test_ciphertexts", "test_lattice"}:
        return "ckks"
    if "oneshot" in name:
        return "oneshot"
    return "parts" if path.parent.name in {"unit", "native"} and name != "test_facades" else "pairwise"


def counted() -> dict[str, Counter[str]]:
    """Return for each fault how many tests each column has."""
    found: dict[str, Counter[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and (match := NAME.match(node.name)):
                for fault in re.findall(r"\d+[a-z]?", match[1] + match[2]):
                    found.setdefault(fault.lstrip("0"), Counter())[column(path.relative_to(ROOT))] += 1
    return found


def reasons() -> dict[tuple[str, str], str]:
    """Return why a column has no test of a fault, by (fault, column)."""
    return {
        (fault, name): reason
        for name, given in NOT_APPLICABLE.items()
        for reason, faults in given.items()
        for fault in faults.split()
    }


def table() -> str:
    """Return the Markdown table, and the reasons under it.

    Raises
    ------
    ValueError
        A test speaks of a fault that has no case here, or a case has no test; a cell is empty without a reason, or has both.
    """
    found, absent = counted(), reasons()
    if set(found) != set(CASES):
        raise ValueError(f"cases and tests differ: {sorted(set(found) ^ set(CASES))}")
    wrong = [(f, name) for f in CASES for name in COLUMNS if bool(found[f][name]) == ((f, name) in absent)]
    if wrong:
        raise ValueError(f"cells with neither a test nor a reason in NOT_APPLICABLE, or with both: {wrong}")
    numbered = {reason: number for number, reason in enumerate(dict.fromkeys(absent.values()), 1)}
    rows = [f"| | case | expected | {' | '.join(COLUMNS)} |", f"|---|---|---|{'---|' * len(COLUMNS)}"]
    for fault, (case, expected) in CASES.items():
        cells = (str(found[fault][name] or f"n/a ({numbered[absent[fault, name]]})") for name in COLUMNS)
        rows.append(f"| {fault} | {case} | {expected} | {' | '.join(cells)} |")
    totals = " | ".join(str(sum(counter[each] for counter in found.values())) for each in COLUMNS)
    rows.append(f"| | | tests of a fault | {totals} |")
    told = "; ".join(f"({number}) {reason}" for reason, number in numbered.items())
    return "\n".join([*rows, "", f"Not applicable: {told}."])


def page() -> str:
    """Return the page with the table as it should be."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        sys.exit(page() != PAGE.read_text(encoding="utf-8") and "the table is old: run python docs/tools/faults.py")
    PAGE.write_text(page(), encoding="utf-8")
