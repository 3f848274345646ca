"""`secagg bench`: what each protection costs beside none, for a size of the user's."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from secagg.cli.bench.options import Options, parse_names, parse_network, parse_peers, parse_size, parse_sweep
from secagg.cli.files import using
from secagg.encoding import FixedPoint, Layout
from secagg.errors import InputError

__all__ = ["bench"]

INTERRUPTED = 130  # as a shell says it of a program that Ctrl-C ended
NAMES = ("pairwise full", "pairwise k-regular", "ckks malicious", "ckks semi-honest", "oneshot", "tenseal interop")
MOST_THREADS = 1024


def bench(
    *,
    clients: int,
    length: str,
    bits: int,
    dropout: float,
    peers: str,
    only: str,
    sweep: Sequence[str],
    network: str | None,
    budget: float,
    threads: int,
    params: Path | None,
    csv: Path | None,
    html: Path | None,
    as_json: bool,
) -> int:
    """Measure, print, and write the files that were asked for; return the exit status.

    Raises
    ------
    InputError, ParameterError
        An option is wrong, or a file cannot be written; files are tried before anything is measured.
    """
    own = None
    if params is not None:
        from secagg.cli.toml import read_params

        own = read_params(params)
        encoding = own.encoding
        if (
            not isinstance(encoding, FixedPoint)
            or own.layout != Layout.flat(own.length or 0)
            or own.segments
            or own.metrics
        ):
            raise InputError(
                f"{params}: only Params of a flat update in fixed point, without segments or metrics, are measured"
            )
        if own.max_participants != own.clients:
            raise InputError(
                f"{params}: only rounds that ask everybody are measured; max_participants is less than clients"
            )
        clients, length, bits = own.clients, str(own.length), encoding.bits
        dropout = own.clients - own.min_clients
    size = parse_size(clients, length, bits, dropout)
    if not 1 <= budget <= 86400:
        raise InputError(f"--budget must be from 1 to 86400 seconds, not {budget:g}")
    if not 1 <= threads <= MOST_THREADS:
        raise InputError(f"--threads must be from 1 to {MOST_THREADS}, not {threads}")
    options = Options(
        size, parse_peers(peers), parse_names("--only", only, NAMES), tuple(map(parse_sweep, sweep)),
        None if network is None else parse_network(network), budget, threads,
    )  # fmt: skip
    for path in (csv, html):
        if path is not None:
            _try(path)
    from secagg.cli.bench import record, screen
    from secagg.cli.bench.run import Bench

    run = Bench(options, own)
    with screen.Display(run.steps(), budget) as display:
        run.tell = display.tell
        run.go()
    told = record.as_json(run)
    if csv is not None:
        _write(csv, record.as_csv(run))
    if html is not None:
        from secagg.cli.bench.page import page

        _write(html, page(told))
    if as_json:
        print(json.dumps(told, indent=2))
    else:
        screen.show(run)
    return INTERRUPTED if run.interrupted else 0


def _try(path: Path) -> None:
    """Refuse, before minutes are spent, a place where nothing can be written."""
    with using(path):
        if path.is_dir():
            raise InputError(f"{path}: is a directory")
        with tempfile.TemporaryFile(dir=path.parent):
            pass


def _write(path: Path, text: str) -> None:
    """Write a whole file or none."""
    with using(path):
        number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(number, "w", encoding="utf-8") as out:
                out.write(text)
            umask = os.umask(0)
            os.umask(umask)
            Path(name).chmod(0o666 & ~umask)
            Path(name).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise
