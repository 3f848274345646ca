"""Plants what can be recognised again, gathers everything that a session lets out, and looks for the one in the other."""

from __future__ import annotations

import base64
import contextlib
import copy
import io
import os
import pickle
import struct
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from rich.traceback import Traceback

import secagg
from support.federation import fields

__all__ = ["Canary", "attempt", "bad_updates", "odd_values", "walk"]

HOME = str(Path(secagg.__file__).parent)
SHORTEST = 16  # bytes of a secret; nonces and session ids are drawn too, and public
LENGTHS = (16, 24, 32, 40)


class Canary:
    """Secrets, and every text and every blob that was let out."""

    def __init__(self) -> None:
        self.secrets: set[bytes] = set()
        self.values: set[str] = set()
        self.texts: set[str] = set()
        self.blobs: list[bytes] = []

    # -- planting -----------------------------------------------------------------------------------------------------

    def plant(self, *secrets: bytes) -> None:
        self.secrets.update(secret for secret in secrets if len(secret) in LENGTHS and any(secret))

    def plant_values(self, values: Iterable[float]) -> None:
        """Numbers of six digits and more, as they would be printed."""
        for value in values:
            digits = f"{abs(float(value)):.17f}".rstrip("0").rstrip(".")
            self.values.update({digits[:9], repr(float(value))[:10].lstrip("-")})
            self.secrets.add(struct.pack("<d", value))

    def watch(self, monkeypatch: pytest.MonkeyPatch, states: Iterable[Any]) -> None:
        """Plant whatever is drawn from here on, and whatever is derived from it."""

        def draw(length: int) -> bytes:
            drawn = os.urandom(length)
            if length >= 32:
                self.plant(drawn)
            return drawn

        for state in states:
            monkeypatch.setattr(state, "entropy" if hasattr(state, "entropy") else "_entropy", draw)
        for module in [
            module for name, module in sys.modules.items() if name.startswith("secagg.") and hasattr(module, "hkdf")
        ]:
            monkeypatch.setattr(module, "hkdf", self._watched(module.hkdf))

    def _watched(self, derive: Callable[..., bytes]) -> Callable[..., bytes]:
        def hkdf(*args: Any, **kwargs: Any) -> bytes:
            made = derive(*args, **kwargs)
            if not {"rlwe/a", "ckks-result-salt"}.intersection(
                a for a in args if isinstance(a, str)
            ):  # half of a public key; what goes with a result
                self.plant(made)
            return made

        return hkdf

    # -- gathering ----------------------------------------------------------------------------------------------------

    def error(self, error: BaseException) -> None:
        """An exception in every form: text, repr, arguments, and tracebacks with the variables of the package's own frames."""
        chain = []
        while error is not None and error not in chain:
            chain.append(error)
            self.texts.update(
                (str(error), repr(error), repr(error.args), repr(vars(error)), repr(getattr(error, "__notes__", "")))
            )
            self.texts.update(variables(error))
            error = error.__cause__ or error.__context__

    def things(self, *roots: Any) -> None:
        """Every object of the package that can be reached: its texts, and its pickle where it has one."""
        for thing in walk(roots):
            self.texts.update((repr(thing), str(thing), format(thing)))
            with contextlib.suppress(Exception):
                self.blobs.append(pickle.dumps(thing))
            with contextlib.suppress(Exception):
                self.blobs.append(pickle.dumps(vars(copy.copy(thing))))
            with contextlib.suppress(Exception):
                self.blobs.append(pickle.dumps(vars(copy.deepcopy(thing))))

    # -- looking ------------------------------------------------------------------------------------------------------

    def found(self) -> list[str]:
        """Where a secret shows, and how."""
        text = "\n".join(sorted(self.texts))
        blob = b"\n".join(self.blobs)
        hits = [f"value {value}" for value in self.values if value in text]
        for secret in self.secrets:
            hits += [f"secret as {how}" for how, form in forms(secret) if form in text]
            if len(secret) >= SHORTEST and secret[:12] in blob:
                hits.append("secret in bytes")
            if len(secret) == 8 and secret in blob:
                hits.append("value in bytes")
        return sorted(set(hits))


def forms(secret: bytes) -> Iterator[tuple[str, str]]:
    """How bytes look in a text; a part of them is enough."""
    head = secret[:8]
    yield "hex", head.hex()
    yield "hex", head.hex().upper()
    yield "hex", head.hex(" ")
    yield "bytes", repr(head)[2:-1]
    yield "a list", ", ".join(map(str, head))
    yield "an array", " ".join(f"{byte:3d}" for byte in head)
    if len(secret) >= SHORTEST:
        yield "base64", base64.b64encode(secret[:12]).decode()
        for order in ("little", "big"):
            yield "an integer", str(int.from_bytes(secret, order))
        words = np.frombuffer(secret[:16], "<u8")
        yield "words", str(int(words[0]))


def variables(error: BaseException) -> Iterator[str]:
    """Tracebacks as the standard library and rich print them, with variables, of the frames of the package."""
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    for frame in told.stack:
        if frame.filename.startswith(HOME):
            yield from (frame.locals or {}).values()
    whole = {"show_locals": True, "locals_max_length": None, "locals_max_string": None}
    rich = Traceback.extract(type(error), error, error.__traceback__, **whole)
    for stack in rich.stacks:
        stack.frames = [frame for frame in stack.frames if frame.filename.startswith(HOME)]
    out = io.StringIO()
    Console(file=out, width=1000).print(Traceback(rich, **whole))
    yield out.getvalue()


def walk(roots: Iterable[Any]) -> Iterator[Any]:
    """Every object of the package's own classes that the roots hold, however deep."""
    seen: set[int] = set()
    queue, kept = list(roots), []
    while queue:
        thing = queue.pop()
        if id(thing) in seen or isinstance(
            thing, type | str | bytes | int | float | bytearray | memoryview | np.ndarray
        ):
            continue
        seen.add(id(thing))
        kept.append(thing)  # so that no id comes back
        if isinstance(thing, dict):
            queue += [*thing.keys(), *thing.values()]
        elif isinstance(thing, list | tuple | set | frozenset):
            queue += thing
        elif type(thing).__module__.startswith("secagg"):
            yield thing
            queue += vars(thing).values() if hasattr(thing, "__dict__") else []
            names = [
                *getattr(thing, "__struct_fields__", ()),
                *(n for c in type(thing).__mro__ for n in getattr(c, "__slots__", ())),
            ]
            for name in names:
                with contextlib.suppress(AttributeError):
                    queue.append(getattr(thing, name))


def attempt(canary: Canary, call: Callable[..., Any], *args: Any, **kwargs: Any) -> BaseException | None:
    """Call something that may refuse, and gather the refusal."""
    try:
        call(*args, **kwargs)
    except secagg.errors.SecAggError as error:
        canary.error(error)
        return error
    return None


def bad_updates(good: Any) -> Iterator[Any]:
    """An update that does not fit, in every way, with its values in it."""
    beyond = good.copy()
    beyond[3] = 5.0
    gone = good.copy()
    gone[5] = np.nan
    yield from (beyond, gone, good[:-1], good[:, None], good.tolist(), {"w": good}, good.astype("U30"), good + 1j)


def odd_values(value: Any) -> list[Any]:
    """What may stand in a field's place."""
    if isinstance(value, bytes):
        return [value[:-1], bytes(len(value)), value[::-1]]
    if isinstance(value, int):
        return [value + 1, 0]
    if isinstance(value, list):
        return [value[:-1], value[::-1], [*value, *value[:1]]]
    if value is None:
        return []
    return [
        fields(value, **{name: odd}) for name in value.__struct_fields__ for odd in odd_values(getattr(value, name))
    ]
