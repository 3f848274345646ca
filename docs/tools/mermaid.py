"""Draws the Mermaid that these pages use as SVG, when the site is built: no script and no other host at view time.

Pages keep Mermaid as their source, so that a forge draws it too and tests compare it with the transition tables. Three kinds are
understood: `stateDiagram-v2` (a column of states), `sequenceDiagram` (messages alone) and `flowchart TD` that is a tree of
questions and answers (drawn as an outline, which fits a telephone). Anything else is a `ValueError`, and the build fails.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import escape

CHARACTER = 6.9  # widest usual average of a sans-serif at 13 px
LINE = 18
WIDTH = 400  # of what is shown on a narrow screen without shrinking

STATE = re.compile(r"^(\w[\w ]*?) --> (\w[\w ]*?): (.+)$")
PARTICIPANT = re.compile(r"^participant (\w+) as (.+)$")
MESSAGE = re.compile(r"^(\w+)->>(\w+): (.+)$")
NODE = re.compile(r"^(\w+)(\{\"(.+)\"\}|\[\"(.+)\"\])$")
ARROW = re.compile(r"^(\w+) -->(?:\|(.+?)\|)? (.+)$")


def wrap(text: str, width: float) -> list[str]:
    """Return the lines of a text that are no wider than `width` pixels, if its words allow."""
    lines: list[str] = []
    for word in text.split():
        if lines and len(f"{lines[-1]} {word}") * CHARACTER <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def text(x: float, y: float, words: str, *, kind: str = "", anchor: str = "middle", turn: int = 0) -> str:
    """Return one line of text."""
    rotate = f' transform="rotate({turn} {x:g} {y:g})"' if turn else ""
    style = f' class="{kind}"' if kind else ""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{style}{rotate}>{escape(words)}</text>'


def box(x: float, y: float, width: float, height: float, kind: str, round_by: float = 6) -> str:
    """Return a rectangle."""
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{round_by:g}" class="{kind}"/>'


def line(points: list[tuple[float, float]], *, head: bool = False) -> str:
    """Return a line through points, with an arrow's head at its end."""
    path = "M" + " L".join(f"{x:g} {y:g}" for x, y in points)
    tip = ""
    if head:
        (x0, y0), (x, y) = points[-2:]
        dx, dy = (x > x0) - (x < x0), (y > y0) - (y < y0)
        left, right = (x - 7 * dx - 4 * dy, y - 7 * dy - 4 * dx), (x - 7 * dx + 4 * dy, y - 7 * dy + 4 * dx)
        tip = f'<path class="head" d="M{x:g} {y:g} L{left[0]:g} {left[1]:g} L{right[0]:g} {right[1]:g} Z"/>'
    return f'<path class="edge" d="{path}"/>{tip}'


def svg(width: float, height: float, parts: list[str], title: str) -> str:
    """Return the whole picture; its colours come from the site's style sheet."""
    return (
        f'<figure class="drawn"><svg viewBox="0 0 {width:g} {height:g}" style="max-width: {width * 1.25:g}px" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg></figure>'
    )


@dataclass
class Trunk:
    """Transitions with one target and one label that do not lead to the next state: one line beside the column."""

    sources: list[int] = field(default_factory=list)
    target: int = 0
    label: str = ""

    @property
    def top(self) -> int:
        """The uppermost state that it touches."""
        return min(*self.sources, self.target)

    @property
    def bottom(self) -> int:
        """The lowest."""
        return max(*self.sources, self.target)


def loop(edge: float, y: float) -> str:
    """Return a way from a box's right edge back to it."""
    return line([(edge, y - 8), (edge + 14, y - 8), (edge + 14, y + 8), (edge, y + 8)], head=True)


def transitions(lines: list[str]) -> tuple[list[str], list[tuple[int, int, str]]]:
    """Return the states in order, and each way from one place among them to another, with its label."""
    order: list[str] = []
    edges: list[tuple[int, int, str]] = []
    for row in lines:
        match = STATE.match(row)
        if match is None:
            raise ValueError(f"not a transition: {row!r}")
        source, target, label = match.groups()
        for name in (source, target):
            if name not in order:
                order.append(name)
        edges.append((order.index(source), order.index(target), label))
    return order, edges


def state_diagram(lines: list[str]) -> str:
    """Draw states in a column, in the order of the table; ways ahead on the right, ways back on the left, loops beside theirs."""
    order, edges = transitions(lines)
    step, high, left_gap = 68, 34, 26
    trunks: dict[tuple[bool, int, str], Trunk] = {}
    straight: dict[int, list[str]] = {}
    loops: dict[int, str] = {}
    for source, target, label in edges:
        if target == source + 1:
            straight.setdefault(source, []).append(label)
            continue
        if target == source:
            loops[source] = ", ".join(filter(None, (loops.get(source), label)))
            continue
        key = (target < source, target, label)
        trunk = trunks.setdefault(key, Trunk(target=target, label=label))
        trunk.sources.append(source)
    back = sorted((t for (is_back, *_), t in trunks.items() if is_back), key=lambda t: t.bottom - t.top)
    ahead = sorted((t for (is_back, *_), t in trunks.items() if not is_back), key=lambda t: t.bottom - t.top)
    wide = max(len(name) for name in order) * CHARACTER + 34
    x0 = 16.0 + left_gap * len(back) + (8 if back else 0)
    middle = x0 + wide / 2
    reach = max((len(each) for said in straight.values() for each in said), default=0) * CHARACTER
    around = max((len(label) * CHARACTER + 20 for label in loops.values()), default=0)
    right = max(x0 + wide + around, middle + 8 + reach) + 14
    parts: list[str] = []
    labels: list[str] = []  # over all lines

    def top(place: int) -> float:
        return 8.0 + place * step

    for side, group in ((-1, back), (1, ahead)):
        for place, trunk in enumerate(group):
            x = x0 - 18 - left_gap * place if side < 0 else right + left_gap * place
            edge = x0 if side < 0 else x0 + wide
            shift = 6 - 6 * (place % 3)
            goal = top(trunk.target) + high / 2 + shift
            far, *near = sorted(trunk.sources, key=lambda source: -abs(source - trunk.target))
            heights = [top(source) + high / 2 + shift for source in near]
            parts += [line([(edge, y), (x, y)]) for y in heights]
            start = top(far) + high / 2 + shift
            parts.append(line([(edge, start), (x, start), (x, goal), (edge, goal)], head=True))
            centre = (top(trunk.top) + top(trunk.bottom) + high) / 2
            labels.append(text(x - 5 * (1 if side < 0 else -1.0), centre, trunk.label, turn=-90 if side < 0 else 90))
    parts += [loop(x0 + wide, top(source) + high / 2) for source in loops]
    labels += [text(x0 + wide + 20, top(source) + high / 2 + 4, said, anchor="start") for source, said in loops.items()]
    for source, said in straight.items():
        parts.append(line([(middle, top(source) + high), (middle, top(source + 1))], head=True))
        below = top(source) + high + 21
        labels += [text(middle + 9, below + LINE * i, label, anchor="start") for i, label in enumerate(said)]
    parts += labels
    for place, name in enumerate(order):
        parts.append(box(x0, top(place), wide, high, "state", 17))
        parts.append(text(middle, top(place) + 22, name, kind="strong"))
    width = max((right + left_gap * len(ahead) if ahead else right) + 8, x0 + wide + 16)
    return svg(width, top(len(order) - 1) + high + 10, parts, f"States: {', '.join(order)}")


def sequence_diagram(lines: list[str]) -> str:
    """Draw parties as columns and messages as arrows between them, from top to bottom."""
    names: dict[str, str] = {}
    messages: list[tuple[str, str, str]] = []
    for row in lines:
        if match := PARTICIPANT.match(row):
            names[match[1]] = match[2]
        elif (match := MESSAGE.match(row)) and {match[1], match[2]} <= set(names) and match[1] != match[2]:
            messages.append((match[1], match[2], match[3]))
        else:
            raise ValueError(f"neither a participant nor a message between two: {row!r}")
    gap = 140.0 if len(names) > 2 else 210.0
    written = [wrap(label, gap - 20) for *_, label in messages]
    x = {name: 56 + gap * place for place, name in enumerate(names)}
    bottom = 64 + sum(20 + LINE * len(each) for each in written)
    parts = []
    for name, words in names.items():
        parts.append(f'<path class="life" d="M{x[name]:g} 38 L{x[name]:g} {bottom:g}"/>')
        wide = len(words) * CHARACTER + 22
        parts.append(box(x[name] - wide / 2, 6, wide, 32, "state"))
        parts.append(text(x[name], 27, words, kind="strong"))
    y = 38
    for (source, target, _), label in zip(messages, written, strict=True):
        y += 20
        for each in label:
            y += LINE
            parts.append(text((x[source] + x[target]) / 2, y - 6, each))
        parts.append(line([(x[source], y), (x[target], y)], head=True))
    return svg(112 + gap * (len(names) - 1), bottom + 6, parts, "Messages between " + ", ".join(names.values()))


def flowchart(lines: list[str]) -> str:
    """Draw a tree of questions and answers as an outline: each one below the question that leads to it."""
    words: dict[str, tuple[str, bool]] = {}
    children: dict[str, list[tuple[str, str]]] = {}
    parents: dict[str, str] = {}
    for row in lines:
        arrow = ARROW.match(row)
        node = NODE.match(arrow[3] if arrow else row)
        if node is None:
            raise ValueError(f"neither a node nor an arrow to one: {row!r}")
        if node[1] in words:
            raise ValueError(f"not a tree: {node[1]} stands twice")
        words[node[1]] = (node[3] or node[4], node[3] is not None)
        if arrow:
            parents[node[1]] = arrow[1]
            children.setdefault(arrow[1], []).append((arrow[2] or "", node[1]))
    roots = [name for name in words if name not in parents]
    if len(roots) != 1 or not set(children) <= set(words):
        raise ValueError("a flowchart here is one tree whose nodes are all described")
    parts: list[str] = []
    indent, y = 30, 8.0

    def draw(name: str, label: str, depth: int, trunk: tuple[float, float] | None) -> None:
        nonlocal y
        said, question = words[name]
        x = 8.0 + indent * depth
        if label:
            for each in wrap(label, WIDTH - x - 10):
                parts.append(text(x + 2, y + 13, each, anchor="start", kind="label"))
                y += LINE
        written = wrap(said, WIDTH - x - 30)
        high = LINE * len(written) + 14
        if trunk is not None:
            parts.append(line([trunk, (trunk[0], y + 16), (x, y + 16)], head=True))
        parts.append(box(x, y, WIDTH - 8 - x, high, "question" if question else "answer", 14 if question else 4))
        for number, each in enumerate(written):
            parts.append(text(x + 12, y + 20 + LINE * number, each, anchor="start", kind="" if question else "strong"))
        start = (x + 14, y + high)
        y += high + 10
        for below, child in children.get(name, []):
            draw(child, below, depth + 1, start)

    draw(roots[0], "", 0, None)
    return svg(WIDTH, y, parts, f"Decision diagram: {words[roots[0]][0]}")


KINDS = {"stateDiagram-v2": state_diagram, "sequenceDiagram": sequence_diagram, "flowchart TD": flowchart}


def drawn(source: str) -> str:
    """Return the SVG of a Mermaid block, in a figure."""
    first, *rest = [row.strip() for row in source.strip().splitlines()]
    if first not in KINDS:
        raise ValueError(f"no drawing for Mermaid's {first!r}; there are {', '.join(KINDS)}")
    return KINDS[first]([row for row in rest if row])


__all__ = ["drawn"]
