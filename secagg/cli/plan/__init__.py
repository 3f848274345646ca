"""`secagg plan`: what fits a federation, what it would cost on this machine and over this link, and why."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from secagg import build_info
from secagg.cli.files import columns, table, using
from secagg.cli.plan.options import Link, Option, Question, Refusal, as_python, consider, share
from secagg.cli.plan.units import measure_units
from secagg.cli.plan.work import Party
from secagg.cli.toml import write_params
from secagg.errors import InputError
from secagg.explain import human
from secagg.files import write_new

__all__ = ["Link", "Question", "plan", "share"]

WIDTH = 100
PUBLIC = 0o644
SHOWN = ("privacy", "failure", "dropouts", "lattice")  # of an explanation


def plan(question: Question, *, choose: int, out: Path | None, as_json: bool) -> bool:
    """Print what serves, and return whether anything does.

    Parameters
    ----------
    question : Question
    choose : int
        Rank of the option whose Params are printed, and written.
    out : Path or None
        A new file for them, TOML.
    as_json : bool

    Raises
    ------
    InputError, ParameterError
        No such rank, or the file exists.
    """
    if choose < 1:
        raise InputError("--choose is a rank: 1 or more")
    options, refusals = consider(question, measure_units())
    if choose > max(len(options), 1):
        raise InputError(f"--choose {choose}: {len(options)} option(s) serve")
    if out is not None and options:
        with using(out):
            write_new(out, write_params(options[choose - 1].params).encode(), mode=PUBLIC)
    if as_json:
        print(json.dumps(_as_data(question, options, refusals, choose), indent=2))
    else:
        print("\n".join(_lines(question, options, refusals, choose)))
        if out is not None and options:
            print(f"\nwritten to {out}")
    return bool(options)


def _party(party: Party | None) -> dict[str, float] | None:
    if party is None:
        return None
    return {"seconds_setup": party.setup, "seconds_steady": party.steady, "seconds_round": party.average}


def _as_data(question: Question, options: list[Option], refusals: list[Refusal], choose: int) -> dict[str, Any]:
    return {
        "question": asdict(question),
        "machine": build_info(),
        "options": [
            {
                "rank": rank, "name": each.name, "seconds_total": each.total, "seconds_transfer": each.transfer,
                "exchanges": each.exchanges, "client": _party(each.cost.client), "server": _party(each.cost.server),
                "holder": _party(each.cost.holder), "member": _party(each.cost.member),
                "params": each.told.to_dict(), "toml": write_params(each.params),
                "python": as_python(each.params), "hash": each.params.hash.hex(),
            }
            for rank, each in enumerate(options, 1)
        ],
        "refused": [{"name": each.name, "reason": each.reason} for each in refusals],
        "chosen": choose if options else None,
        "why": _why(options) if options else None,
    }  # fmt: skip


def _seconds(value: float) -> str:
    if value >= 100:
        return f"{value:.0f} s"
    return f"{value:.3g} s" if value >= 1 else f"{1000 * value:.3g} ms"


def _lines(question: Question, options: list[Option], refusals: list[Refusal], choose: int) -> Iterator[str]:
    if options:
        yield table(
            ["", "protocol", "round", "client", "server", "opener", "network", "exchanges", "sent by a client"],
            [
                [
                    str(rank), each.name, _seconds(each.total), _seconds(each.cost.client.average),
                    _seconds(each.cost.server.average),
                    "-" if each.cost.opener is None else _seconds(each.cost.opener.average), _seconds(each.transfer),
                    f"{each.exchanges:.2f}", human(each.told.data["bytes_up_round"]),
                ]
                for rank, each in enumerate(options, 1)
            ],
        )  # fmt: skip
        link = question.link
        yield ""
        yield _fill(
            "Predicted for a round in which everybody answers, the setup's share included, one thread of this machine "
            f"({build_info()['isa']}) for each party, and {link.bits / 1e6:g} Mbit/s with {1000 * link.delay:g} ms for each "
            "client, the key holder and the committee's members. The opener is the key holder, or one member, for all answer at "
            "once. The round as a whole is their sum: a client, the server, the opener and the network one after the other."
        )
        yield ""
        yield _fill(_why(options))
    if refusals:
        yield "" if options else "Nothing serves:"
        yield columns([(f"no {each.name}:", each.reason) for each in refusals])
    if options:
        chosen = options[choose - 1]
        yield ""
        yield f"What number {choose} gives:"
        yield columns([(title, text) for title, text in chosen.told.lines if title in SHOWN])
        yield f"\nAs TOML, for --params and --out:\n\n{write_params(chosen.params)}"
        yield f"As Python:\n\n{as_python(chosen.params)}"


def _needs(option: Option) -> str:
    if option.cost.holder is not None:
        return " It needs a key holder who does not work with the server."
    if option.params.protocol == "oneshot" and option.params.committee < option.params.clients:
        return " Its committee is drawn by the session id, which everybody must have from elsewhere than the server."
    return ""


def _opening(option: Option) -> float:
    return 0.0 if option.cost.opener is None else option.cost.opener.average


def _fill(text: str) -> str:
    return textwrap.fill(text, WIDTH)


def _why(options: Sequence[Option]) -> str:
    """Return why the first comes first, from the parts that its round is made of."""
    first = options[0]
    opener = "the committee" if first.cost.member is not None else "the key holder"
    parts = {
        "the network": first.transfer, "the clients": first.cost.client.average, "the server": first.cost.server.average,
        opener: _opening(first),
    }  # fmt: skip
    longest = max(parts, key=lambda name: parts[name])
    text = (
        f"{first.name} comes first: its round takes {_seconds(first.total)}, {100 * parts[longest] / first.total:.0f}% of it "
        f"for {longest}"
    )
    needs = _needs(first)
    if len(options) == 1:
        return f"{text}; nothing else serves.{needs}"
    second = options[1]
    gains = [
        (second.transfer - first.transfer, "on the network"),
        (second.cost.client.average - first.cost.client.average, "at the client"),
        (second.cost.server.average - first.cost.server.average, "at the server"),
        (_opening(second) - _opening(first), "at who opens the sum"),
    ]
    gain, where = max(gains)
    text += f". {second.name} takes {_seconds(second.total)}, {_seconds(gain)} more of it {where}."
    if not needs and second.cost.holder is not None:
        needs = " And it needs no key holder."
    return text + needs
