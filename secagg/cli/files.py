"""What the commands on files share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.cells import cell_len

from secagg.errors import InputError

__all__ = ["columns", "table", "using"]


@contextmanager
def using(path: Path) -> Iterator[None]:
    """Make what the system says about a file that the user named a mistake of the user's.

    Raises
    ------
    InputError
        Inside, an OSError was raised.
    """
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None


def columns(rows: Sequence[tuple[str, str]]) -> str:
    """Return two columns of text. Plain, so that ids and fingerprints are neither cut, wrapped nor taken for markup."""
    width = max(cell_len(left) for left, _ in rows)
    return "\n".join(f"{left}{' ' * (width - cell_len(left))}  {right}".rstrip() for left, right in rows)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of plain text whose columns are as wide as what is in them; nothing is cut or wrapped."""
    widths = [max(cell_len(row[at]) for row in [heads, *rows]) for at in range(len(heads))]
    lines = [heads, ["-" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(cell + " " * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
