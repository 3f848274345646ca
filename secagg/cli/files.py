"""What the commands on files share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.cells import cell_len

from secagg.errors import InputError

__all__ = ["columns", "using"]


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
