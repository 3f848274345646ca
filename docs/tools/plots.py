"""Draws the plots of docs/benchmarks.md from its own table, and that of docs/what-a-sum-tells.md, as SVG for telephones too.

Run ``python docs/tools/plots.py`` after the table or the growth curves were replaced: it writes docs/data/benchmarks.json, what
the page says as data, and docs/plots/*.svg from that. What a sum tells is measured by docs/tools/inversion.py, which has to run
first. A test compares all of them. It needs nothing but Python.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1]
PAGE, DATA, PLOTS = DOCS / "benchmarks.md", DOCS / "data" / "benchmarks.json", DOCS / "plots"
INVERSION = DOCS / "data" / "inversion.json"
WIDTH = 400
TIMES = "\N{MULTIPLICATION SIGN}"

ROW = re.compile(
    r"^\| `([\w.]+)` \| ([\d.]+)( \w+)? \| ([^|]*)\| ([^|]*)\| ([^|]*)\| ([^|]*)\| (\d+) \| (\d+) \|$", re.MULTILINE
)
CURVE = re.compile(r"^growth with (\w+), (.+):\n((?: +[\d,]+ .*\n)+)", re.MULTILINE)
POINT = re.compile(
    r"^ +([\d,]+) +client +([\d.]+) ms +server +([\d.]+) ms +up +([\d,]+) bytes +down +([\d,]+)$", re.MULTILINE
)


def number(text: str) -> float:
    """Return a number that may have commas."""
    return float(text.replace(",", ""))


def read() -> dict[str, Any]:
    """Return what the page measured: its ratios, and its growth curves.

    Raises
    ------
    ValueError
        There is no table, or no curve, where there were some.
    """
    text = PAGE.read_text(encoding="utf-8")
    ratios = [
        {
            "name": name,
            "value": float(value),
            "unit": unit.strip() or "times",
            "quartiles": [float(each) for each in quartiles.split(" to ")] if quartiles.strip() else None,
            "mark": mark.strip() or None,
            "what": what.strip(),
            "n": int(n),
            "length": int(length),
        }
        for name, value, unit, quartiles, mark, _, what, n, length in (
            [each or "" for each in row] for row in ROW.findall(text)
        )
    ]
    curves = [
        {
            "over": over,
            "fixed": fixed,
            "points": [
                dict(zip(("at", "client_ms", "server_ms", "up", "down"), map(number, point), strict=True))
                for point in POINT.findall(body)
            ],
        }
        for over, fixed, body in CURVE.findall(text)
    ]
    if not ratios or not curves or not all(curve["points"] for curve in curves):
        raise ValueError(f"{PAGE.name} has no table or no curves in the form that this reads")
    return {"ratios": ratios, "growth": curves}


def say(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    """Return one line of text."""
    style = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{style}>{escape(words)}</text>'


def picture(height: float, parts: Sequence[str], title: str) -> str:
    """Return a whole SVG; standing alone it is dark on white, in a page it takes the page's colours."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" style="max-width: 560px" role="img" '
        f'font-family="sans-serif" font-size="13" stroke-width="1" aria-label="{escape(title)}">{"".join(parts)}</svg>\n'
    )


def short(value: float) -> str:
    """Return a tick's number."""
    for limit, suffix in ((1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:g}{suffix}"
    return f"{value:g}"


def bars(rows: Sequence[dict[str, Any]], title: str, unit: str) -> str:
    """Return bars on a logarithmic axis that begins at one, each under its own name, with quartiles and marks."""
    left, right, top, step = 8.0, WIDTH - 60.0, 34.0, 44.0
    ends = [end for row in rows for end in (row["value"], *(row["quartiles"] or ()))]
    low = min(0, math.floor(math.log10(min(ends)) * 2) / 2)
    high = max(1, math.ceil(math.log10(max(ends))))

    def at(value: float) -> float:
        return left + (right - left) * (math.log10(value) - low) / (high - low)

    bottom = top + step * len(rows)
    parts = [say(left, 18, title, "strong")]
    for power in range(math.ceil(low), high + 1):
        x = at(10.0**power)
        parts.append(f'<path class="grid" stroke="#ccc" d="M{x:.1f} {top:.1f} L{x:.1f} {bottom:.1f}"/>')
        parts.append(say(x, bottom + 16, short(10.0**power) + unit, "faint", "middle" if power else "start"))
    for place, row in enumerate(rows):
        y = top + step * place
        one, end = sorted((at(1.0), at(row["value"])))
        parts.append(say(left, y + 14, f"{row['name']}, n={row['n']}, length {short(row['length'])}"))
        parts.append(
            f'<rect class="first" fill="#2f7fd0" x="{one:.1f}" y="{y + 20:.1f}" width="{end - one:.1f}" height="13"/>'
        )
        tip = end
        if row["quartiles"]:
            a, b = (at(each) for each in row["quartiles"])
            tip = max(end, b)
            parts.append(f'<path class="range" stroke="#222" d="M{a:.1f} {y + 26.5:.1f} L{b:.1f} {y + 26.5:.1f}"/>')
        if row["mark"]:
            x = at(float(row["mark"].split()[1]))
            parts.append(f'<path class="mark" stroke="#222" d="M{x:.1f} {y + 17:.1f} L{x:.1f} {y + 36:.1f}"/>')
            tip = max(tip, x)
        parts.append(say(tip + 6, y + 31, f"{row['value']:g}"))
    return picture(bottom + 24, parts, title)


def lines(curve: dict[str, Any], title: str, names: dict[str, str], unit: str) -> str:
    """Return curves with both axes logarithmic."""
    left, right, top, bottom = 52.0, WIDTH - 66.0, 36.0, 250.0
    xs = [math.log10(point["at"]) for point in curve["points"]]
    every = [math.log10(point[name]) for point in curve["points"] for name in names]
    low, high = math.floor(min(every) * 2) / 2, math.ceil(max(every) * 2) / 2

    def at(x: float, y: float) -> tuple[float, float]:
        return left + (right - left) * (x - xs[0]) / (xs[-1] - xs[0]), bottom - (bottom - top) * (y - low) / (
            high - low
        )

    parts = [say(8, 18, title, "strong")]
    for power in range(math.ceil(low), math.floor(high) + 1):
        y = at(xs[0], power)[1]
        parts.append(f'<path class="grid" stroke="#ccc" d="M{left:.1f} {y:.1f} L{right:.1f} {y:.1f}"/>')
        parts.append(say(left - 6, y + 4, short(10.0**power) if power >= 0 else f"{10.0**power:g}", "faint", "end"))
    parts.append(say(8, top - 2, unit, "faint"))
    for point, x in zip(curve["points"], xs, strict=True):
        parts.append(say(at(x, low)[0], bottom + 18, short(point["at"]), "faint", "middle"))
    parts.append(say((left + right) / 2, bottom + 36, curve["over"], "faint", "middle"))
    for place, (name, words) in enumerate(names.items()):
        kind, colour = (("first", "#2f7fd0"), ("second", "#d9822b"))[place]
        dots = [at(x, math.log10(point[name])) for x, point in zip(xs, curve["points"], strict=True)]
        path = "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in dots)
        parts.append(f'<path class="{kind}" fill="none" stroke="{colour}" d="{path}"/>')
        parts.extend(f'<circle class="{kind}" fill="{colour}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in dots)
        parts.append(say(dots[-1][0] + 8, dots[-1][1] + 4, words))
    return picture(bottom + 46, parts, title)


def plots(data: dict[str, Any]) -> dict[str, str]:
    """Return every plot by its file's name."""
    times = [row for row in data["ratios"] if row["unit"] == "times"]
    faster = [row for row in times if row["what"].startswith("peer/ours") and row["name"] != "mask_vs_bound"]
    slower = [row for row in times if row["what"].startswith("ours/peer") and "float32" not in row["what"]]
    made = {
        "faster.svg": bars(faster, "How many times faster than the peer", TIMES),
        "plaintext.svg": bars(slower, "How many times the cost of doing it in the clear", TIMES),
    }
    for curve in data["growth"]:
        sparse = "neighbours" in curve["fixed"]
        name = curve["over"] + ("-sparse" if sparse else "")
        graph = ", sparse graph" if sparse else ""
        made[f"growth-{name}.svg"] = lines(
            curve,
            f"A round with its setup, over {curve['over']}{graph}",
            {"client_ms": "client", "server_ms": "server"},
            "ms",
        )
    leaks = json.loads(INVERSION.read_text(encoding="utf-8"))["points"]
    made["inversion.svg"] = lines(
        {"over": "clients in the sum, one record each", "points": leaks},
        "How far a record that is read out of a sum is off",
        {"ordinary": "ordinary", "crafted": "crafted"},
        "standard deviations; guessing the mean is off by 1",
    )
    return made


def files() -> dict[Path, str]:
    """Return every file that this script makes, with what belongs in it."""
    data = read()
    made = {DATA: json.dumps(data, indent=1) + "\n"}
    return made | {PLOTS / name: body for name, body in plots(data).items()}


if __name__ == "__main__":
    for path, body in files().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(body, encoding="utf-8")
