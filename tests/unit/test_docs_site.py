"""The site is complete, current and made of what is here: diagrams, plots, tables, reference, navigation."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

import secagg
from secagg.protocols.ckks import messages as ckks_messages
from secagg.protocols.ckks import transitions as ckks_transitions
from secagg.protocols.oneshot import messages as oneshot_messages
from secagg.protocols.oneshot import transitions as oneshot_transitions
from secagg.protocols.pairwise import messages, transitions

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
MERMAID = re.compile(r"^```mermaid\n(.*?)^```$", re.DOTALL | re.MULTILINE)
DIAGRAMS = [
    pytest.param(source, id=f"{page.stem}-{number}")
    for page in sorted(DOCS.rglob("*.md"))
    for number, source in enumerate(MERMAID.findall(page.read_text(encoding="utf-8")))
]


def tool(name: str) -> ModuleType:
    """Load a script of the site's, which is in no package."""
    spec = importlib.util.spec_from_file_location(f"docs_tools_{name}", DOCS / "tools" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def words(svg: str) -> str:
    """Return all that is written in a picture."""
    return " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", svg))


@pytest.mark.parametrize("source", DIAGRAMS)
def test_every_diagram_is_drawn_with_all_its_words(source):
    svg = tool("mermaid").drawn(source)
    for label in re.findall(r'(?:: |["|])([^"|:\n]+)$', source, re.MULTILINE):
        assert all(word.replace("&", "&amp;") in words(svg) for word in label.rstrip('"]}').split())
    assert svg.count("<text") >= len(source.strip().splitlines()) - 1
    assert not re.search(r"https?://|<script|<foreignObject", svg)


@pytest.mark.parametrize(
    "source",
    [
        "gantt\n    title x",
        "stateDiagram-v2\n    idle --> ",
        "sequenceDiagram\n    participant A as A\n    A->>B: lost",
        'flowchart TD\n    a{"?"}\n    a --> b["x"]\n    a --> b["x"]',
        'flowchart TD\n    a{"?"}\n    b --> c["x"]',
        'flowchart TD\n    a{"?"} & b',
    ],
)
def test_what_cannot_be_drawn_fails_the_build(source):
    with pytest.raises(ValueError, match=r"no drawing|not a|neither|one tree"):
        tool("mermaid").drawn(source)


def test_state_diagrams_have_a_box_for_each_state_and_an_arrow_for_each_way():
    rows = ["a --> b: go", "b --> c: go", "b --> a: stop", "c --> a: stop", "a --> c: leap"]
    svg = tool("mermaid").drawn("\n".join(["stateDiagram-v2", *rows]))
    assert svg.count("<rect") == 3
    assert svg.count('class="head"') == 4  # both stops end in one
    assert sorted(words(svg).split()) == sorted(["go", "go", "stop", "leap", "a", "b", "c"])
    looped = tool("mermaid").drawn(
        "\n".join(["stateDiagram-v2", *rows, "b --> b: around and around", "b --> b: twice"])
    )
    assert looped.count('class="head"') == 5  # both ways around are one
    assert "around and around, twice" in words(looped)
    width = [float(re.search(r'viewBox="0 0 ([\d.]+)', each)[1]) for each in (svg, looped)]
    assert width[1] > width[0] + 60  # what stands beside a state is inside the picture


@pytest.mark.parametrize(
    "page, server, kinds, parties, peers, bulk",
    [
        ("pairwise", transitions.SERVER, messages.Kind, ("S", "C"), {}, {"masked header": "chunks, {}"}),
        (
            "ckks",
            ckks_transitions.SERVER,
            ckks_messages.Kind,
            ("C", "S", "H"),
            {"keys": "H", "decrypt": "H"},
            {"encrypted header": "chunks, {}", "decrypt request": "{}, chunks", "decrypted": "{}, chunks"},
        ),
        (
            "oneshot",
            oneshot_transitions.SERVER,
            oneshot_messages.Kind,
            ("C", "S", "M"),
            {"keys": "M", "reveal": "M"},
            {"masked header": "chunks, {}"},
        ),
    ],
)
def test_sequence_diagrams_follow_the_tables(page, server, kinds, parties, peers, bulk):
    """The phases on the longest way through the server's table, each with its request and its reply, in order of their kinds."""
    state = next(a for a, _ in server if a.value == "idle")
    path = []
    while not path or state.value != "idle":
        state = next(
            target for (a, _), target in server.items() if a is state
        )  # the first row opens a setup, or closes a phase
        path.append(state.value)
    numbered = [kind for kind in kinds if kind]
    assert len(numbered) == 2 * len(path[:-1])
    rows = []
    for place, phase in enumerate(path[:-1]):
        for kind, arrow in zip(numbered[2 * place : 2 * place + 2], ("S->>{}", "{}->>S"), strict=True):
            name = kind.name.lower().replace("_", " ")
            said = bulk.get(name, "{}").format(f"{kind.value} {name}")
            rows.append(f"    {arrow.format(peers.get(phase, 'C'))}: {said}")
    names = {"S": "Server", "C": "Clients", "H": "Key holder", "M": "Members"}
    head = [f"    participant {each} as {names[each]}" for each in parties]
    text = (DOCS / "spec" / f"{page}.md").read_text(encoding="utf-8")
    assert "\n".join(["```mermaid", "sequenceDiagram", *head, *rows, "```"]) in text


def test_plots_and_their_data_are_those_of_the_page():
    for path, body in tool("plots").files().items():
        assert path.read_text(encoding="utf-8") == body, "run python docs/tools/plots.py"


def test_plots_show_what_the_table_says():
    plots = tool("plots")
    data = json.loads((DOCS / "data" / "benchmarks.json").read_text(encoding="utf-8"))
    rows = [each["name"] for each in data["ratios"]]
    table = (DOCS / "benchmarks.md").read_text(encoding="utf-8").split("## Measured")[1].split("\n## ")[0]
    assert rows == re.findall(r"^\| `([\w.]+)` \|", table, re.MULTILINE)
    made = plots.plots(data)
    for row in data["ratios"]:
        if row["what"].startswith("peer/ours") and row["unit"] == "times" and row["name"] != "mask_vs_bound":
            assert row["name"] in made["faster.svg"] and f">{row['value']:g}</text>" in made["faster.svg"]
    shown = {path.name for path in (DOCS / "plots").glob("*.svg")}
    pages = [(DOCS / name).read_text(encoding="utf-8") for name in ("benchmarks.md", "what-a-sum-tells.md")]
    assert shown == set(made) and all(any(f"(plots/{name})" in page for page in pages) for name in shown)


def test_what_a_sum_tells_is_what_was_measured():
    tool_, page = tool("inversion"), (DOCS / "what-a-sum-tells.md").read_text(encoding="utf-8")
    kept, again = json.loads(tool_.DATA.read_text(encoding="utf-8")), tool_.measured()
    assert [list(point) for point in kept["points"]] == [["at", "ordinary", "crafted"]] * len(again["points"])
    for one, two in zip(kept["points"], again["points"], strict=True):
        assert one == pytest.approx(two, rel=0.05), "run python docs/tools/inversion.py"
    assert kept["rounds"] == {name: list(each) if each else None for name, each in again["rounds"].items()}
    ways = {
        "halves": "always the same two halves",
        "drawn": "half of them, drawn anew",
        "lossy": "all, one in twenty lost",
    }
    for name, words in ways.items():
        told = kept["rounds"][name]
        cells = "never | never" if told is None else f"{told[0]:g} | {told[1]:g}"
        assert f"| {words} | {cells} |" in page
    shown = {point["at"]: point for point in kept["points"]}
    for model in ("ordinary", "crafted"):
        values = [shown[size][model] for size in (1, 2, 16, 128, 256)]
        assert f"| {model} model | {' | '.join(f'{v:.1g}' if v < 0.01 else f'{v:.2g}' for v in values)} |" in page


def test_the_table_of_faults_is_current():
    faults = tool("faults")
    assert faults.page() == faults.PAGE.read_text(encoding="utf-8"), "run python docs/tools/faults.py"
    counted = faults.counted()
    assert counted["27"]["pairwise"] >= 4 and counted["73"]["TenSEAL"] >= 1 and counted["48b"]["ckks"] >= 1
    rows = [row.split("|")[1:-1] for row in faults.table().splitlines() if re.match(r"\| \d", row)]
    assert len(rows) == len(faults.CASES) and all(cell.strip() for row in rows for cell in row)


def test_a_case_without_a_test_needs_a_reason():
    faults = tool("faults")
    reason = faults.NOT_APPLICABLE["ckks"].pop("there is no graph")
    with pytest.raises(ValueError, match="'8', 'ckks'"):
        faults.table()
    faults.NOT_APPLICABLE["ckks"]["there is no graph"] = f"{reason} 9"
    with pytest.raises(ValueError, match="'9', 'ckks'"):
        faults.table()


def test_every_public_name_is_in_the_reference_once():
    text = "\n".join(page.read_text(encoding="utf-8") for page in sorted((DOCS / "api").glob("*.md")))
    objects = re.findall(r"^::: (\S+)$", text, re.MULTILINE)
    assert len(objects) == len(set(objects))
    named = {each.removeprefix("secagg.").removeprefix("simulate.") for each in objects}
    assert set(secagg.__all__) - {"HOLDER", "__version__"} <= named
    assert "## HOLDER" in text
    hazmat = {path.stem for path in (ROOT / "secagg" / "hazmat").glob("*.py")} - {"__init__", "guard"}
    assert {f"hazmat.{each}" for each in hazmat} <= named


def test_every_page_is_in_the_navigation_once():
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:\n")[1]
    listed = re.findall(r"([\w/.-]+\.md)$", config, re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert set(listed) == {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}


def test_the_site_asks_no_other_host():
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert "font: false" in config
    assert "extra_javascript" not in config and not re.search(r"https?://", config)
    assert not re.search(r"url\(|@import|https?://", (DOCS / "assets" / "site.css").read_text(encoding="utf-8"))
