"""`secagg demo`: hospitals train one model on real patients; the server sees only noise and the sum."""

from __future__ import annotations

from secagg.cli.demo import leak, report
from secagg.cli.demo.run import Demo

__all__ = ["show"]


def show(
    *, hospitals: int | None, rounds: int, dropout: int | None, seed: int, as_json: bool, protocol: str = "pairwise"
) -> None:
    """Run the demo and print it.

    Raises
    ------
    InputError
        An option is out of range.
    ParameterError
        A lying server could open the sum of too few hospitals, or scikit-learn is missing.
    """
    with Demo(hospitals=hospitals, rounds=rounds, dropout=dropout, seed=seed, protocol=protocol) as demo:
        if as_json:
            for _ in demo.train():
                pass
            outcome = report.outcome(demo)
            report.print_json(demo, outcome, leak.examine(demo))
            return
        screen = report.Screen(demo)
        screen.opening()
        screen.rounds(demo.train())
        screen.outcome(report.outcome(demo))
        screen.leak(leak.examine(demo))
