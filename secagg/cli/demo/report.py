"""What the demo prints: for people with rich, for programs as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import secagg
from secagg.cli.demo import model as net
from secagg.cli.demo.federation import lost_in
from secagg.cli.demo.leak import Leak, Uniformity, error
from secagg.cli.demo.run import Demo, Round

__all__ = ["STILL_LEAKS", "Screen", "outcome", "print_json"]

SHOWN_FEATURES = 5
TINY = 1e-12  # below this the p-value's approximation says no more than that
WIDEST_GRID = 10  # hospitals whose marks still fit one line of 80 columns
MARKS = {"masked": "m", "late": "m", "encrypted": "e", "unmask": "◐", "reveal": "◐", "absent": "·", "liar": "!"}
PLACES = {
    "masked": "before input",
    "late": "before input",
    "encrypted": "before input",
    "unmask": "before unmask",
    "reveal": "silent",
}
STILL_LEAKS = (
    "The sum still leaks what a sum leaks: secure aggregation hides who contributed what, not what all "
    "contributions together say, and the trained model may remember its patients. Differential privacy is "
    "the tool against that."
)


def outcome(demo: Demo) -> dict[str, Any]:
    """Return models compared, bytes and milliseconds of the rounds so far, ready for JSON."""
    spent, values = demo.federation.total, demo.params.segment_plan.layout.size
    models = {
        "plaintext_float64": demo.exact,
        "plaintext_same_rounding": demo.plain,
        "secure": demo.secure,
        "plaintext_everybody": demo.complete,
    }
    x, y = demo.patients.test_x, demo.patients.test_y
    return {
        "models": {
            name: {
                "accuracy": net.accuracy(model, x, y),
                "auc": net.auc(model, x, y),
                "largest_weight_difference": net.largest_gap(model, demo.secure),
            }
            for name, model in models.items()
        },
        "equal_integer_sums": all(done.sums_equal for done in demo.rounds),
        "rounds_with_equal_sums": sum(done.sums_equal for done in demo.rounds),
        "values_clipped": sum(done.clipped for done in demo.rounds),
        "bytes_per_hospital_and_round": {
            "plaintext_float32": {"up": 4 * values, "down": 4 * values},
            "plaintext_float64": {"up": 8 * values, "down": 8 * values},
            "secure": {
                "up": round(spent.up / spent.rounds),
                "down": 8 * values + round(spent.down / spent.rounds),
            },
            "secure_masked_update": round(spent.masked / spent.rounds),
        },
        "milliseconds_per_round": {
            "hospital": 1e3 * spent.seconds / spent.rounds,
            "server": 1e3 * demo.federation.server_seconds / len(demo.rounds),
        },
    }


def print_json(demo: Demo, results: Mapping[str, Any], leak: Leak) -> None:
    """Print everything as one JSON object."""
    params = demo.params
    print(
        json.dumps(
            {
                "version": secagg.__version__,
                "engine": {key: secagg.build_info()[key] for key in ("backend", "isa")},
                "config": {
                    "hospitals": len(demo.names),
                    "rounds": len(demo.rounds),
                    "dropout": demo.dropout,
                    "seed": demo.seed,
                    "protocol": params.protocol,
                    "reveal": params.reveal,
                    "ring": params.ring,
                    "committee": params.committee,
                    "packing": params.packing,
                    "threshold": params.threshold,
                    "min_clients": params.min_clients,
                    "asked_in_a_round": params.max_participants,
                    "rounds_per_setup": params.rounds_per_setup,
                    "corrupt": params.corrupt,
                    "opened_honest": params.opened_honest,
                    "patients": demo.weights,
                    "test_patients": len(demo.patients.test_y),
                    "values": params.segment_plan.layout.size,
                },
                "rounds": [
                    {
                        "round": done.number,
                        "exchanges": done.exchanges,
                        "asked": list(done.asked),
                        "contributors": list(done.contributors),
                        "lost": {name: lost_in(params)[phase] for name, phase in done.lost.items()},
                        "restarted": done.restarted,
                        "lied": done.lied,
                        "blamed": list(done.blamed),
                        "patients": done.patients,
                        "equal_integer_sums": done.sums_equal,
                        "accuracy": done.accuracy,
                    }
                    for done in demo.rounds
                ],
                **results,
                "leak": {
                    "hospital": leak.hospital,
                    "features": len(leak.record),
                    "error_unit": "root mean square over the features, in standard deviations",
                    "error_unprotected_update": error(leak.from_update, leak.record),
                    "error_masked_frame": error(leak.from_masked, leak.record),
                    "error_released_aggregate": error(leak.from_aggregate, leak.record),
                    "error_guessing_the_mean": error(np.zeros_like(leak.record), leak.record),
                    "uniformity_is_a_sanity_check_not_a_proof": {
                        "encoded_unmasked": _test(leak.bare_bytes),
                        "masked": _test(leak.masked_bytes),
                    },
                },
                "caveat": STILL_LEAKS,
            },
            indent=2,
        )
    )


def _test(result: Uniformity) -> dict[str, float]:
    return {
        "bytes": result.count,
        "chi_square": result.statistic,
        "degrees_of_freedom": 255,
        "p_value": result.p_value,
    }


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    return table


class Screen:
    """The demo on a terminal of 80 columns or more."""

    def __init__(self, demo: Demo) -> None:
        self._demo = demo
        self._console = Console(highlight=False)
        self._short = {name: name.rpartition("-")[2].lstrip("0") for name in demo.names}
        self._grid = len(demo.names) <= WIDEST_GRID
        self._ckks = demo.params.protocol == "ckks"
        self._oneshot = demo.params.protocol == "oneshot"
        self._kind = "encrypted" if self._ckks else "masked"

    def _say(self, text: str) -> None:
        self._console.print(text)

    def opening(self) -> None:
        """Say what will happen and under which bounds."""
        demo, params, info = self._demo, self._demo.params, secagg.build_info()
        counts, values = list(demo.weights.values()), params.segment_plan.layout.size
        split = " + ".join(map(str, counts)) if self._grid else f"{min(counts)} to {max(counts)} each"
        facts = Table.grid(padding=(0, 2))
        facts.add_column(style="bold")
        facts.add_column(ratio=1)
        facts.add_row(
            "data",
            f"Wisconsin breast cancer: 30 measurements of {sum(counts)} biopsies, split unevenly "
            f"({split}); {len(demo.patients.test_y)} more held out for testing",
        )
        facts.add_row("model", f"30-16-1 network, {values} weights; federated averaging weighted by patients")
        quorum = "" if self._ckks or self._oneshot else f"threshold {params.threshold}, "
        facts.add_row(
            "bounds",
            f"{params.clients} hospitals, {params.max_participants} asked a round; {quorum}min_clients "
            f"{params.min_clients}: up to {demo.dropout} lost a round; a lying server with {params.corrupt} corrupt opens no sum "
            f"of fewer than {params.opened_honest} honest hospitals",
        )
        session = f"one setup for all {params.rounds_per_setup} rounds; then two exchanges a round"
        if self._ckks:
            ring = params.cipher_plan.ring
            facts.add_row(
                "key",
                f"{demo.names[0]} holds it, and alone sees the sum; it adds the uploads itself and could decrypt each; ring of "
                f"degree {ring.degree}, {ring.bits} bits",
            )
            session = f"one key for all {params.rounds_per_setup} rounds; then one exchange with the hospitals a round"
        if self._oneshot:
            ring, spare = params.mask_plan.segments[0].ring, params.committee - params.threshold
            facts.add_row(
                "committee",
                f"all of them; {params.threshold} answers open a round, so {spare} may be silent, or {spare // 2} lie; masks "
                f"in a ring of degree {ring.degree}, {ring.primes} primes of {ring.bits} bits",
            )
            session = (
                f"one key of each for all {params.rounds_per_setup} rounds; then one exchange with the hospitals and one with "
                "the committee a round"
            )
        facts.add_row("session", session)
        facts.add_row("engine", f"{info['backend']}, {info['isa']}")
        self._say(f"\n[bold]{len(demo.names)} hospitals train one model and show nobody their updates[/bold]\n")
        self._console.print(facts)
        self._console.print()
        if self._grid and demo.dropout:
            self._say(self._legend())

    def _legend(self) -> str:
        lost = f"{self._mark(self._kind)} lost before its {self._kind} input"
        if self._oneshot:
            return (
                f"{self._mark(None)} in the sum   {lost}\n"
                f"{self._mark('reveal')} in the sum, silent in the committee   {self._mark('liar')} in the sum, lies in the "
                "committee\n"
            )
        unmasking = "" if self._ckks else f"   {self._mark('unmask')} in the sum if asked, lost before unmasking"
        return f"{self._mark(None)} in the sum{unmasking}\n{lost}   {self._mark('absent')} not asked this round\n"

    @staticmethod
    def _mark(phase: str | None) -> str:
        if phase is None:
            return "[green]●[/green]"
        colour = "red" if phase == "liar" else "yellow"
        return f"[{colour}]{MARKS[phase]}[/{colour}]"

    def _place(self, done: Round, name: str) -> str:
        if name == done.lied:
            return self._mark("liar")
        return self._mark(done.lost.get(name, None if name in done.asked else "absent"))

    def rounds(self, rounds: Iterator[Round]) -> None:
        """Show progress and one line a round."""
        columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console, transient=True) as progress:
            task = progress.add_task("training", total=len(self._demo.plans))
            for done in rounds:
                progress.console.print(self._line(done))
                progress.advance(task)

    def _line(self, done: Round) -> str:
        marks = ""
        if self._grid:
            marks = " ".join(self._place(done, name) for name in self._demo.names) + "   "
        where = self._where(done)
        again = (
            "" if done.restarted is None else f"\n            {self._short[done.restarted]} restarted after its input"
        )
        if done.lied is not None or done.blamed:
            named = ", ".join(self._short[name] for name in done.blamed) or "nobody"
            again += f"\n            {self._short[done.lied] if done.lied else 'nobody'} lied; named: {named}"
        differ = "" if done.sums_equal else "  [bold red]integer sums differ[/bold red]"
        return f"round {done.number:>3}   {marks}sum of {len(done.contributors)}   lost: {where or 'nobody'}{again}{differ}"

    def _where(self, done: Round) -> str:
        places: dict[str, list[str]] = {}
        for name, phase in sorted(done.lost.items()):
            places.setdefault(PLACES[phase], []).append(self._short[name])
        return "; ".join(f"{' '.join(names)} {place}" for place, names in places.items())

    def outcome(self, results: Mapping[str, Any]) -> None:
        """Show the models side by side, then what protection cost."""
        count = len(self._demo.rounds)
        table = _table(
            f"After {count} rounds, on the held-out patients",
            "plaintext\nfloat64",
            "plaintext\nsame rounding",
            "secure",
            "plaintext\neverybody",
        )
        models = results["models"].values()
        table.add_row("accuracy", *(f"{m['accuracy']:.4f}" for m in models))
        table.add_row("AUC", *(f"{m['auc']:.4f}" for m in models))
        gaps = [f"{m['largest_weight_difference']:.2g}" for m in models]
        table.add_row("largest weight difference\nfrom secure", gaps[0], gaps[1], "", gaps[3])
        equal = results["equal_integer_sums"]
        verdict = f"yes ({count} of {count})" if equal else f"NO ({results['rounds_with_equal_sums']} of {count})"
        table.add_row("equal integer sums", "", verdict, "", "", style="bold green" if equal else "bold red")
        self._console.print()
        self._console.print(table)
        size, spent = results["bytes_per_hospital_and_round"], results["milliseconds_per_round"]
        cost = _table("Cost per hospital and round", "bytes up", "bytes down", "cryptography, ms")
        for label, key in (
            ("plaintext float32", "plaintext_float32"),
            ("plaintext float64", "plaintext_float64"),
            ("secure", "secure"),
        ):
            ms = f"{spent['hospital']:.1f}" if key == "secure" else "0"
            cost.add_row(label, f"{size[key]['up']:,}", f"{size[key]['down']:,}", ms)
        self._console.print(cost)
        for done in self._demo.rounds:
            if done.restarted is not None:
                self._say(self._again(done))
        if self._oneshot:
            rounds = [done for done in self._demo.rounds if done.lied is not None]
            caught = sum(done.blamed == (done.lied,) for done in rounds)
            self._say(
                f"{rounds[0].lied} lied in the committee in {len(rounds)} rounds, was named in {caught}, and changed no sum."
                if rounds
                else "Nobody lied in the committee: with so many dropouts, no lie could be corrected."
            )
        rest = "signatures" if self._ckks else "keys, shares and signatures"
        self._say(
            f"Bytes down include the model. Of the secure bytes up, the {self._kind} update takes\n"
            f"{size['secure_masked_update']:,}; {rest} do not grow with the model.\n"
            f"The server spent {spent['server']:.1f} ms a round. Values clipped: {results['values_clipped']}."
        )

    def _again(self, done: Round) -> str:
        if self._ckks:
            return (
                f"{done.restarted} and the key holder were restarted in the middle of round {done.number}\n"
                "from snapshots and ledgers, and went on."
            )
        after = "answered in the committee" if self._oneshot else "answered for the update that it had sent before"
        return f"{done.restarted} was restarted in the middle of round {done.number} from its snapshot and\nledger, and {after}."

    def leak(self, leak: Leak) -> None:
        """Show the attack on one patient, three times, and what remains true of a sum."""
        patients = self._demo.patients
        guesses = (leak.from_update, leak.from_masked, leak.from_aggregate)
        self._say(
            f"\n[bold]Why: one more round, in which {leak.hospital} trains on a batch of one patient[/bold]\n"
            "The first layer's weight gradient divided by its bias gradient is that patient's\n"
            "record. The same division on everything that leaves the hospital:"
        )
        table = _table("", "the patient", "unprotected\nupdate", f"{self._kind}\nframe", "released\naggregate")
        rows = zip(patients.features, *(patients.real_units(r) for r in (leak.record, *guesses)), strict=True)
        for name, *values in list(rows)[:SHOWN_FEATURES]:
            table.add_row(name, *(f"{value:.5g}" for value in values))
        table.add_row(f"and {len(leak.record) - SHOWN_FEATURES} more", end_section=True)
        errors = [error(guess, leak.record) for guess in guesses]
        table.add_row("error (standard deviations)", "0", *(f"{value:.2g}" for value in errors), style="bold")
        self._console.print(table)
        floor = error(np.zeros_like(leak.record), leak.record)
        self._say(
            f"Guessing the average patient, knowing nothing, errs by {floor:.2g}. The aggregate mixes\n"
            f"this patient with {leak.hidden_among - 1} others.\n"
        )
        table = _table("Are the bytes uniform? A sanity check, not a proof", "bytes", "chi-square (255 df)", "p")
        for label, result in (
            (f"encoded, not {self._kind}", leak.bare_bytes),
            (self._kind, leak.masked_bytes),
        ):
            table.add_row(
                label,
                f"{result.count:,}",
                f"{result.statistic:,.1f}",
                f"{result.p_value:.2g}" if result.p_value > TINY else f"< {TINY:g}",
            )
        self._console.print(table)
        self._console.print(Padding(STILL_LEAKS, (0, 0, 1, 0)))
