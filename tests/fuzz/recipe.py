"""A fuzzer's bytes read as decisions, and values changed as they say.

A session's keys are new in every process, so an input cannot be a frame: it says which frame to take and what to change in it.
The same bytes make the same changes in every run.
"""

from __future__ import annotations

__all__ = ["CHANGES", "ODD", "Recipe", "change"]

CHANGES = 12  # of one value: what they make of it stays small, or the limits of memory would find the fuzzer

ODD = (
    None, True, 0, 1, -1, 31, 255, 256, 1 << 16, 1 << 31, 1 << 32, (1 << 61) - 1, 1 << 61, (1 << 63) - 1, 1 << 63, (1 << 64) - 1,
    -(1 << 63), 1.5, float("nan"), float("inf"), "", "c0", "c1", "x" * 65, "\N{BLACK HEART SUIT}", b"", b"x" * 16, b"x" * 31,
    bytes(32), b"\xff" * 32, b"x" * 33, bytes(64), [], [0], [0, 0], [1, 0], [-1], [1 << 63], [[]], {}, {"a": 1},
)  # fmt: skip


class Recipe:
    """Decisions read from bytes; past their end every answer is the smallest."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def below(self, count: int) -> int:
        """Return a number from 0 to count - 1."""
        if count < 2:
            return 0
        value = self.byte()
        if count > 256:
            value = value << 8 | self.byte()
        if count > 1 << 16:
            value = value << 16 | self.byte() << 8 | self.byte()
        return value % count

    def take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        self._at += len(taken)
        return taken

    def rest(self) -> bytes:
        return self.take(max(self.left, 0))


def change(recipe: Recipe, value: object, nested=None):
    """Return something else in the place of a value; `nested` may know what a byte string holds."""
    if recipe.byte() % 8 == 0:
        return ODD[recipe.below(len(ODD))]
    if isinstance(value, bytes | bytearray | memoryview):
        inner = nested(recipe, bytes(value)) if nested is not None else None
        return _bytes(recipe, bytes(value)) if inner is None else inner
    if isinstance(value, bool) or value is None or isinstance(value, float):
        return ODD[recipe.below(len(ODD))]
    if isinstance(value, int):
        how = recipe.byte() % 4
        if how == 0:
            return min(value + 1, (1 << 64) - 1)
        if how == 1:
            return value - 1
        if how == 2:
            return value ^ 1 << recipe.below(63)
        return int.from_bytes(recipe.take(8), "big")
    if isinstance(value, str):
        return recipe.take(recipe.byte()).decode("utf-8", "replace") if recipe.byte() % 2 else value + "x"
    if isinstance(value, list):
        return _list(recipe, value, nested)
    if isinstance(value, dict):
        return _dict(recipe, value, nested)
    return ODD[recipe.below(len(ODD))]


def _bytes(recipe: Recipe, value: bytes) -> bytes:
    how, at = recipe.byte() % 8, recipe.below(len(value) + 1)
    if how == 0:
        return value[:at]
    if how == 1:
        return value + recipe.take(recipe.byte())
    if how == 2:
        return value[:at] + recipe.take(1 + recipe.byte() % 32) + value[at:]
    if how == 3 and len(value) >= 64:  # two blocks trade places, as keys and hashes might
        one, two = 32 * recipe.below(len(value) // 32), 32 * recipe.below(len(value) // 32)
        blocks = bytearray(value)
        blocks[one : one + 32], blocks[two : two + 32] = value[two : two + 32], value[one : one + 32]
        return bytes(blocks)
    if how == 4:
        return value[:at] + bytes(len(value) - at)
    if how == 5:
        return value[:at] + b"\xff" * (len(value) - at)
    if how == 6:
        with_ = recipe.take(1 + recipe.byte() % 32)
        return value[:at] + with_ + value[at + len(with_) :]
    if at == len(value):
        return value + b"\x00"
    return value[:at] + bytes([value[at] ^ (1 << recipe.byte() % 8)]) + value[at + 1 :]


def _list(recipe: Recipe, value: list, nested) -> list:
    how, size = recipe.byte() % 12, len(value)
    if not size:
        return [ODD[recipe.below(len(ODD))]]
    at = recipe.below(size)
    if how == 0:
        return value[:at] + value[at + 1 :]
    if how == 1:
        return [*value[:at], value[at], *value[at:]]
    if how == 2:
        return value[::-1]
    if how == 3:
        return [*value, ODD[recipe.below(len(ODD))]]
    if how == 4:
        other = recipe.below(size)
        swapped = list(value)
        swapped[at], swapped[other] = value[other], value[at]
        return swapped
    if how == 5:
        return value * (1 + recipe.byte() % 8) if size < 100 else value[at:]
    return [*value[:at], change(recipe, value[at], nested), *value[at + 1 :]]


def _dict(recipe: Recipe, value: dict, nested) -> dict:
    how, names = recipe.byte() % 8, list(value)
    name = names[recipe.below(len(names))] if names else "a"
    if how == 0:
        return {key: each for key, each in value.items() if key != name}
    if how == 1:
        return {**value, str(change(recipe, name)): value.get(name)}
    return {**value, name: change(recipe, value.get(name), nested)}
