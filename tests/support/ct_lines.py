"""The `CT:` lines of native/: which parameters of each function of ffi.cdef.h are secret."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

NATIVE = Path(__file__).resolve().parents[2] / "native"
# A parameter of one of these names is secret wherever it occurs.
ALWAYS = {"key", "keys", "rounding_key", "pad", "secret", "secrets", "coeffs", "x"}


@dataclass(frozen=True)
class Function:
    """One function of ffi.cdef.h that is handed data."""

    name: str
    parameters: tuple[str, ...]
    line: str | None  # what its CT: line says, or None when there is none

    @property
    def secrets(self) -> frozenset[str]:
        """The parameters that the line calls secret."""
        said = re.match(r"secret=(.*?);\s*public=", self.line or "")
        if said is None:
            raise ValueError(f"{self.name}: no `CT: secret=...; public=...`")
        names = frozenset(name.strip().lstrip("*") for name in said[1].split(","))
        return frozenset() if said[1].split()[0] == "none" else names


def _sources() -> list[str]:
    files = sorted(p for p in NATIVE.rglob("*.c") if not p.name.endswith(".inc.c"))
    return [re.sub(r"\s*\\\n", "\n", path.read_text()) for path in files]


def _find(name: str, texts: list[str]) -> tuple[str, int] | None:
    """Where a function is defined, by its name or by the pattern of the macro that defines it for every lane."""
    # sa_fixed_encode_f32_u16 is written sa_fixed_encode_f##fbits##_u##bits_.
    patterns = [re.escape(name)]
    patterns += [re.sub(r"_u(16|32|64)$", r"_u##\\w+", name)]
    patterns += [re.sub(r"_f(32|64)_u(16|32|64)$", r"_f##\\w+##_u##\\w+", name)]
    for pattern in patterns:
        for text in texts:
            if found := re.search(
                rf"^[ ]*(?:int|void|size_t|uint64_t) {pattern}\((?=[^;]*?\)\s*\{{)", text, re.MULTILINE
            ):
                return text, found.start()
    return None


def _line_before(text: str, at: int) -> str | None:
    """The CT: line of the comment that ends just before."""
    comment = re.search(r"/\*(?:(?!\*/).)*\*/\s*$", text[:at], re.DOTALL)
    if comment is None or "CT:" not in comment[0]:
        return None
    return " ".join(re.sub(r"\n\s*\*", " ", comment[0]).split("CT:")[1].split())


def _line_of(name: str, texts: list[str]) -> str | None:
    """A function's own line, or that of the function which it does nothing but call."""
    found = _find(name, texts)
    if found is None:
        return None
    text, at = found
    line = _line_before(text, at)
    called = re.compile(r"[^{;]*\{\s*return (\w+)\(").match(text, at)
    if line is None and called is not None:
        inner = re.search(rf"^static \w+ {called[1]}\(", text, re.MULTILINE)
        line = None if inner is None else _line_before(text, inner.start())
    return line


def functions() -> list[Function]:
    """Every function of ffi.cdef.h that gets a pointer to data."""
    declared = re.sub(r"/\*.*?\*/", "", (NATIVE / "ffi.cdef.h").read_text(), flags=re.DOTALL)
    texts = _sources()
    out = []
    for name, arguments in re.findall(r"\b(sa_\w+)\(([^)]*)\);", declared):
        parameters = [" ".join(argument.split()) for argument in arguments.split(",")]
        if any("*" in p and not p.startswith("const char *") for p in parameters):
            names = tuple(re.findall(r"\w+$", p)[0] for p in parameters)
            out.append(Function(name, names, _line_of(name, texts)))
    return out
