"""The command line. Commands import what they need when they run, so that `secagg --help` stays quick.

A mistake of the user's is one line on stderr and exit status 2; anything else is a bug, with its traceback.
"""

from __future__ import annotations

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


@app.callback()
def main() -> None:
    """Cryptographic secure aggregation for federated learning."""


@app.command()
def demo(
    hospitals: Annotated[int, typer.Option(help="Hospitals that share the patients, 3 to 40.")] = 7,
    rounds: Annotated[int, typer.Option(help="Training rounds, 1 to 1000.")] = 30,
    dropout: Annotated[
        int | None,
        typer.Option(help="Hospitals lost in every round, over all phases. [default: 2, or fewer if few]"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Drives the split, the schedule and the rounding; never keys.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
) -> None:
    """Train on real patient data over several hospitals while the server sees only noise and the sum."""
    from secagg.cli.demo import show

    show(hospitals=hospitals, rounds=rounds, dropout=dropout, seed=seed, as_json=as_json)
