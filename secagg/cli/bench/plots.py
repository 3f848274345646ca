"""Plots as HTML and inline SVG: bars that are boxes, and lines on logarithmic axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["COLOURS", "Line", "bars", "legend", "lines"]

# Okabe and Ito's palette, which colour-blind readers can tell apart; the classes are s0 to s7.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8f7fd1", "#888888")
WIDTH, HEIGHT = 360, 250
LEFT, RIGHT, TOP, BOTTOM = 50, 12, 10, 34
SHAPES = ("circle", "square", "diamond", "triangle")


@dataclass(frozen=True)
class Line:
    """One curve: a name, a note beside it, and its points."""

    name: str
    note: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False


def bars(
    rows: Sequence[tuple[str, Mapping[str, float]]], say: Callable[[float], str], colours: Mapping[str, int], of: str
) -> str:
    """Return stacked bars, one below the other, each with its total.

    Parameters
    ----------
    rows : sequence of (str, mapping)
        A label, and its parts by name.
    say : callable
        Puts a value into words.
    colours : mapping of str to int
        By part.
    of : str
        What the bars show, for those who hear the page.
    """
    most = max((sum(parts.values()) for _, parts in rows), default=0.0) or 1.0
    out = [f'<div class="bars" role="list" aria-label="{escape(of)}">']
    for label, parts in rows:
        total = sum(parts.values())
        boxes = "".join(
            f'<span class="s{colours[name]}" style="width:{100 * value / most:.3f}%" '
            f'title="{escape(name)}: {escape(say(value))}"></span>'
            for name, value in parts.items()
            if value > 0
        )
        spoken = ", ".join(f"{name} {say(value)}" for name, value in parts.items() if value > 0)
        out.append(
            f'<div class="bar" role="listitem"><div class="name"><span>{escape(label)}</span><b>{escape(say(total))}</b></div>'
            f'<div class="track" aria-hidden="true">{boxes}</div>'
            + (f'<div class="parts">{escape(spoken)}</div>' if len(parts) > 1 else "")
            + "</div>"
        )
    return "".join(out) + "</div>"


def legend(colours: Mapping[str, int]) -> str:
    """Return the colours' names, those of one colour together."""
    together: dict[int, list[str]] = {}
    for name, number in colours.items():
        together.setdefault(number, []).append(name)
    return (
        '<p class="legend">'
        + "".join(
            f'<span><i class="s{i}"></i>{escape(" / ".join(names))}</span>' for i, names in sorted(together.items())
        )
        + "</p>"
    )


def lines(curves: Sequence[Line], x_name: str, y_name: str, *, log_x: bool = True) -> str:
    """Return curves over logarithmic axes as SVG, with a legend below it.

    Parameters
    ----------
    curves : sequence of Line
        All values positive.
    x_name, y_name : str
    log_x : bool
        Whether the x axis is logarithmic; the y axis always is.
    """
    xs = [x for curve in curves for x, _ in curve.points]
    ys = [y for curve in curves for _, y in curve.points]
    across = _log_axis(min(xs), max(xs), whole=False) if log_x else _axis(min(xs), max(xs))
    up = _log_axis(min(ys), max(ys), whole=True)

    def place_x(value: float) -> float:
        return LEFT + across.part(value) * (WIDTH - LEFT - RIGHT)

    def place_y(value: float) -> float:
        return HEIGHT - BOTTOM - up.part(value) * (HEIGHT - TOP - BOTTOM)

    out = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(y_name)} against {escape(x_name)}">',
        *(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{place_y(tick):.1f}" y2="{place_y(tick):.1f}"/>'
            f'<text x="{LEFT - 5}" y="{place_y(tick) + 4:.1f}" text-anchor="end">{escape(_tick(tick))}</text>'
            for tick in up.ticks
        ),
        *(
            f'<text x="{place_x(tick):.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{escape(_tick(tick))}</text>'
            for tick in across.ticks
        ),
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 4}" text-anchor="middle">{escape(x_name)}</text>',
    ]
    key = []
    for number, curve in enumerate(curves):
        colour = number % len(COLOURS)
        path = " ".join(f"{place_x(x):.1f},{place_y(y):.1f}" for x, y in curve.points)
        dashes = ' stroke-dasharray="5 4"' if curve.dashed else ""
        out.append(f'<polyline class="l{colour}" points="{path}"{dashes}/>')
        out += [_mark(SHAPES[number % len(SHAPES)], colour, place_x(x), place_y(y)) for x, y in curve.points]
        note = f" <small>{escape(curve.note)}</small>" if curve.note else ""
        mark = _mark(SHAPES[number % len(SHAPES)], colour, 6, 6)
        key.append(
            f'<span><svg class="key" viewBox="0 0 12 12" aria-hidden="true">{mark}</svg>{escape(curve.name)}{note}</span>'
        )
    return f'<figure><figcaption>{escape(y_name)}</figcaption>{"".join(out)}</svg><p class="legend">{"".join(key)}</p></figure>'


def _mark(shape: str, colour: int, x: float, y: float) -> str:
    match shape:
        case "circle":
            return f'<circle class="m{colour}" cx="{x:.1f}" cy="{y:.1f}" r="3.2"/>'
        case "square":
            return f'<rect class="m{colour}" x="{x - 2.9:.1f}" y="{y - 2.9:.1f}" width="5.8" height="5.8"/>'
        case "diamond":
            corners = ((0, -4), (4, 0), (0, 4), (-4, 0))
        case _:
            corners = ((0, -4), (3.8, 3), (-3.8, 3))  # type: ignore[assignment]  # a triangle has one corner less
    points = " ".join(f"{x + a:.1f},{y + b:.1f}" for a, b in corners)
    return f'<polygon class="m{colour}" points="{points}"/>'


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    ticks: tuple[float, ...]
    log: bool

    def part(self, value: float) -> float:
        """Return how far along the axis a value lies, 0 to 1."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def _log_axis(low: float, high: float, *, whole: bool) -> _Axis:
    """Return an axis with ticks at powers of ten, every second or third one where they would crowd."""
    if low == high:
        low, high = low / 2, high * 2
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    if whole:
        low, high = 10.0**first, 10.0**last
    ticks = [10.0**power for power in range(first, last + 1) if low * 0.999 <= 10.0**power <= high * 1.001]
    if len(ticks) < 2:
        ticks = [low, high]
    return _Axis(low, high, tuple(ticks[:: max(1, math.ceil(len(ticks) / 6))]), log=True)


def _axis(low: float, high: float) -> _Axis:
    if low == high:
        low, high = low - 1, high + 1
    step = max(1, round((high - low) / 5))
    return _Axis(low, high, tuple(float(tick) for tick in range(math.ceil(low), math.floor(high) + 1, step)), log=False)


def _tick(value: float) -> str:
    if 0.01 <= value < 10_000:
        return f"{value:g}" if value < 1000 else f"{value:.0f}"
    text = f"{value:.0e}" if math.log10(value) % 1 < 1e-9 else f"{value:.1e}"
    return text.replace("e+0", "e").replace("e-0", "e-").replace("e+", "e")
