"""The command line. Commands import what they need when they run, so that `secagg --help` stays quick.

A mistake of the user's is one line on stderr and exit status 2; anything else is a bug, with its traceback.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from secagg.errors import SecAggError

__all__ = ["app"]


class _Group(TyperGroup):
    """Turns the package's own errors into one line; it cannot hide a bug, for those raise something else."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except SecAggError as error:
            typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
            raise typer.Exit(2) from None


app = typer.Typer(cls=_Group, no_args_is_help=True, add_completion=False, rich_markup_mode=None)
roster_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Make and show the roster: who takes part.")
app.add_typer(roster_app, name="roster")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


@app.callback()
def main() -> None:
    """Cryptographic secure aggregation for federated learning."""


@app.command()
def demo(
    hospitals: Annotated[
        int | None, typer.Option(help="Hospitals that share the patients, 3 to 40. [default: 7, in oneshot 10]")
    ] = None,
    rounds: Annotated[int, typer.Option(help="Training rounds, 1 to 1000.")] = 30,
    dropout: Annotated[
        int | None,
        typer.Option(
            help="Hospitals lost in every round, over all phases. [default: 2, in oneshot 30%, or fewer if few]"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Drives the split, the schedule and the rounding; never keys.")] = 0,
    protocol: Annotated[
        str,
        typer.Option(
            help="pairwise (masks), ckks (encrypted to one hospital, the server sees no sum), or oneshot (one message each, "
            "opened by a committee, in which one is silent and another lies)."
        ),
    ] = "pairwise",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
) -> None:
    """Train on real patient data over several hospitals while the server sees only noise and the sum."""
    from secagg.cli.demo import show

    show(hospitals=hospitals, rounds=rounds, dropout=dropout, seed=seed, as_json=as_json, protocol=protocol)


@app.command(
    epilog="""\b
Examples:
  secagg bench --clients 12 --length 1e6
  secagg bench --clients 1000 --length 1e5 --dropout 0.1 --network 20Mbit/40ms
  secagg bench --length 1e5 --peers flower,tenseal --html report.html
  secagg bench --sweep length=1e4:1e7 --sweep clients=10:1000 --budget 300 --csv growth.csv

\b
Exit status: 0 measured, a protection that does not fit or is not installed being named as missing;
2 a mistake, say a dropout that leaves nobody; 130 Ctrl-C, what was measured until then being printed and written.
"""
)
def bench(
    clients: Annotated[int, typer.Option(help="Clients in the cohort, 3 or more.")] = 10,
    length: Annotated[str, typer.Option(help="Values in an update, such as 100000 or 1e6.")] = "1e5",
    bits: Annotated[int, typer.Option(help="Bits of an encoded value, 1 to 32.")] = 16,
    dropout: Annotated[
        float, typer.Option(help="Clients lost before their update: a fraction below 1, or a number.")
    ] = 0.1,
    peers: Annotated[str, typer.Option(help="Others to measure in the same run, if installed: flower,tenseal.")] = "",
    only: Annotated[
        str,
        typer.Option(
            help="Measure these alone, beside plaintext: 'pairwise full', 'pairwise k-regular', 'ckks malicious', "
            "'ckks semi-honest', 'oneshot', 'tenseal interop', separated by commas."
        ),
    ] = "",
    sweep: Annotated[
        list[str] | None, typer.Option(help="Measure growth: length=FROM:TO or clients=FROM:TO; may be given twice.")
    ] = None,
    network: Annotated[
        str | None, typer.Option(help="Add modelled transfer times: RATE/ROUND-TRIP, such as 20Mbit/40ms.")
    ] = None,
    budget: Annotated[
        float, typer.Option(help="Seconds to take, about; what does not fit is extrapolated and says so.")
    ] = 60,
    threads: Annotated[int, typer.Option(help="Threads of each party.")] = 1,
    params: Annotated[
        Path | None, typer.Option(help="Measure these Params (TOML) too, in place of clients, length, bits, dropout.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write a row for each result and phase.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with plots that needs no other file.")] = None,
    as_json: Json = False,
) -> None:
    """Measure what each protection costs beside none: time, bytes, memory, error, and who learns what."""
    from secagg.cli.bench import bench as measure

    status = measure(
        clients=clients, length=length, bits=bits, dropout=dropout, peers=peers, only=only, sweep=sweep or (), network=network,
        budget=budget, threads=threads, params=params, csv=csv, html=html, as_json=as_json,
    )  # fmt: skip
    if status:
        raise typer.Exit(status)


@app.command(
    epilog="""\b
Example:
  secagg keygen north-clinic --out keys
makes keys/north-clinic.key (secret, readable by you only) and keys/north-clinic.pub.

\b
Exit status: 0 made; 2 a mistake, say a name that exists already. No file is ever overwritten.
"""
)
def keygen(
    name: Annotated[str, typer.Argument(help="The participant's id; any name for the server.")],
    out: Annotated[Path, typer.Option(help="Directory for both files.")] = Path(),
    as_json: Json = False,
) -> None:
    """Make a signing key for one participant, and print its public part."""
    from secagg.cli import keys

    keys.keygen(name, out=out, as_json=as_json)


@roster_app.command(
    "make",
    epilog="""\b
Example:
  secagg roster make study.roster --server server.pub north.pub south.pub west.pub
Clients get the ids in their files. Every participant needs this one file.

\b
Exit status: 0 made; 2 a mistake, say one key in two files. No file is ever overwritten.
""",
)
def roster_make(
    roster: Annotated[Path, typer.Argument(help="File to make.")],
    clients: Annotated[list[Path], typer.Argument(help="The clients' public keys, as keygen writes them.")],
    server: Annotated[Path, typer.Option(help="The server's public key.")],
    holder: Annotated[
        Path | None, typer.Option(help="The public key of ckks's key holder, maybe one of the clients.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Put public keys together into a roster."""
    from secagg.cli import keys

    keys.roster_make(roster, server=server, clients=clients, as_json=as_json, holder=holder)


@roster_app.command(
    "show",
    epilog="""\b
Example:
  secagg roster show study.roster
  secagg roster show study.roster --session 0123456789abcdef0123456789abcdef --committee 50
Compare the fingerprint with every other participant by telephone.

\b
Exit status: 0 shown; 2 no roster.
""",
)
def roster_show(
    roster: Annotated[Path, typer.Argument(help="A roster file.")],
    session: Annotated[
        str | None, typer.Option(help="A session id in hex, as agreed beforehand: shows oneshot's committee too.")
    ] = None,
    committee: Annotated[int | None, typer.Option(help="The committee's size, as in Params.")] = None,
    as_json: Json = False,
) -> None:
    """Show who is on a roster, its fingerprint, and who sits in the committee of a oneshot session."""
    from secagg.cli import keys

    keys.roster_show(roster, as_json=as_json, session=session, size=committee)


@app.command(
    epilog="""\b
Example:
  secagg verify round-7.json --roster study.roster --params study.params --ledger north.db
The ledger is only read; its client may be running.

\b
Exit status: 0 everything that was checked holds; 1 a check failed, and the text says which;
2 a mistake, say a missing file or one that is no receipt: nothing was checked.
"""
)
def verify(
    receipt: Annotated[Path, typer.Argument(help="A receipt, as Receipt.save writes it.")],
    roster: Annotated[Path, typer.Option(help="The roster that you hold, not one that came with the receipt.")],
    params: Annotated[
        Path | None, typer.Option(help="The agreed Params, TOML or canonical bytes: checks bounds too.")
    ] = None,
    threshold: Annotated[int, typer.Option(help="Fewest clients that must have signed, if Params say no more.")] = 1,
    ledger: Annotated[
        Path | None, typer.Option(help="A client's ledger: checks that what is counted for it is what it sent.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a round's receipt offline, and say what it proves."""
    from secagg.cli.verify import verify as check

    holds = check(receipt, roster=roster, params=params, threshold=threshold, ledger=ledger, as_json=as_json)
    if not holds:
        raise typer.Exit(1)


@app.command(
    "plan",
    epilog="""\b
Examples:
  secagg plan --clients 12 --length 25000000 --dropout 2 --link 100Mbit/20ms --out study.toml
  secagg plan --clients 1000 --length 100000 --dropout 10% --threat semi-honest --link 20Mbit/40ms
  secagg plan --clients 12 --length 1000000 --no-server-sees-sum --json
It measures this machine for a few seconds first. A share is a count (2) or a fraction (0.1 or 10%).

\b
Exit status: 0 something serves; 1 nothing does, and the text says why of each; 2 a mistake, say a file that exists.
""",
)
def plan_command(
    clients: Annotated[int, typer.Option(help="Most clients of a cohort.")],
    length: Annotated[int, typer.Option(help="Values of an update.")],
    dropout: Annotated[str | None, typer.Option(help="Clients a round must survive losing. [default: a tenth]")] = None,
    corrupt: Annotated[str | None, typer.Option(help="Clients in league with the server. [default: a tenth]")] = None,
    sample: Annotated[str | None, typer.Option(help="Participants of a round. [default: everybody]")] = None,
    threat: Annotated[str, typer.Option(help="What the server may do: malicious (lie) or semi-honest.")] = "malicious",
    link: Annotated[str, typer.Option(help="Rate and delay of each client, holder and member.")] = "100Mbit/20ms",
    server_sees_sum: Annotated[bool, typer.Option(help="Whether the server may learn the sum.")] = True,
    max_weight: Annotated[int, typer.Option(help="Largest weight of an update.")] = 1,
    error: Annotated[float | None, typer.Option(help="Largest error of a value of the mean. [16 bits]")] = None,
    clip: Annotated[float, typer.Option(help="Largest magnitude of a value.")] = 1.0,
    choose: Annotated[int, typer.Option(help="Rank of the option whose Params are printed and written.")] = 1,
    out: Annotated[Path | None, typer.Option(help="New file for its Params, TOML.")] = None,
    as_json: Json = False,
) -> None:
    """Choose protocol and parameters for a federation, and predict what a round costs."""
    from secagg.cli.plan import Link, Question, plan, share

    given = {"dropout": dropout, "corrupt": corrupt, "sample": sample}
    shares = {name: share(name, text) for name, text in given.items()}
    question = Question(
        clients, length, threat=threat, server_sees_sum=server_sees_sum, max_weight=max_weight, error=error, clip=clip,
        link=Link.parse(link), **shares,
    )  # fmt: skip
    if not plan(question, choose=choose, out=out, as_json=as_json):
        raise typer.Exit(1)


@app.command(
    epilog="""\b
Examples:
  secagg vectors
  secagg vectors --list
  secagg vectors --export vectors

\b
Exit status: 0 every case holds (or the list is printed, or the files are written); 1 a case does not;
2 a mistake, say an instruction set that this machine has not. No file is ever overwritten.
"""
)
def vectors(
    listed: Annotated[
        bool, typer.Option("--list", help="Say which files there are, and where they come from.")
    ] = False,
    export: Annotated[Path | None, typer.Option(help="Write the files into this directory instead.")] = None,
    isa: Annotated[str | None, typer.Option(help="Run on this implementation only.")] = None,
    as_json: Json = False,
) -> None:
    """Run the conformance vectors that ship with the package, on every instruction set of this machine."""
    from secagg.cli.vectors import export_files, list_files, run_all

    if listed:
        list_files(as_json=as_json)
    elif export is not None:
        export_files(export, as_json=as_json)
    elif not run_all(isa=isa, as_json=as_json):
        raise typer.Exit(1)


@app.command(
    epilog="""\b
Examples:
  secagg doctor
  secagg doctor --ledger /var/lib/study --json

\b
Exit status: 0 nothing is wrong, though something may be slow; 1 something is wrong, and the text says how to mend it;
2 a mistake.
"""
)
def doctor(
    ledger: Annotated[Path, typer.Option(help="Directory in which a client's ledger would be kept.")] = Path(),
    as_json: Json = False,
) -> None:
    """Check this installation on this machine: kernels, vectors, entropy, versions, speed."""
    from secagg.cli.doctor import examine

    if not examine(directory=ledger, as_json=as_json):
        raise typer.Exit(1)
