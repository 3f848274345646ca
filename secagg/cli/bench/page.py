"""The report: one page of HTML that asks for nothing else, made of what `--json` prints."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from secagg.cli.bench.growth import QUANTITIES
from secagg.cli.bench.plots import COLOURS, Line, bars, legend, lines
from secagg.explain import human

__all__ = ["page"]

PHASES = {
    "keys": 0, "shares": 1, "sum": 2, "masked": 2, "encrypted": 2, "unmask": 3, "decrypt": 3, "reveal": 3,
}  # fmt: skip
TITLES = {"client": "A client's time", "server": "The server's time", "up": "Bytes that a client sends"}
FLOAT32_BYTES = 4
STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--paper:#fff;--panel:#f6f8fa;--rule:#d0d7de}
@media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9aa7b4;--paper:#0d1117;--panel:#161b22;--rule:#30363d}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,"Segoe UI",Roboto,sans-serif}
main{max-width:1120px;margin:0 auto;padding:16px}
h1{font-size:1.6rem;line-height:1.2;margin:.4em 0}
h2{font-size:1.2rem;margin:2em 0 .4em;border-top:1px solid var(--rule);padding-top:.8em}
h3{font-size:1rem;margin:1.2em 0 .4em}p{margin:.5em 0;overflow-wrap:anywhere}small,.soft{color:var(--soft)}
.note{background:var(--panel);border-left:4px solid var(--rule);padding:.5em .8em}
.two{display:grid;gap:12px 32px;grid-template-columns:repeat(auto-fit,minmax(min(100%,330px),1fr))}
table{border-collapse:collapse;width:100%;font-size:.86rem;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:.35em .5em;border-bottom:1px solid var(--rule);vertical-align:top}
th{color:var(--soft);font-weight:600}tbody th{color:var(--ink);text-align:left}td.text{text-align:left}
td:not(.text){white-space:nowrap}
.bar{margin:.55em 0}.name{display:flex;justify-content:space-between;gap:1em;font-size:.9rem}
.track{display:flex;height:14px;background:var(--panel);border-radius:3px;overflow:hidden}
.track span{min-width:1px}.parts{font-size:.78rem;color:var(--soft)}
.legend{display:flex;flex-wrap:wrap;gap:.2em 1.1em;font-size:.84rem;margin:.3em 0}
.legend span{display:inline-flex;align-items:center;gap:.4em}
.legend i{width:.8em;height:.8em;border-radius:2px;display:inline-block}
figure{margin:0;max-width:480px;background:var(--panel);border-radius:6px;padding:10px}
figcaption{font-weight:600;font-size:.92rem;margin-bottom:.3em}
figure svg{width:100%;height:auto;display:block}svg.key{width:12px;height:12px;flex:none}
svg text{fill:var(--soft);font-size:11px;font-family:inherit}
svg .grid{stroke:var(--rule);stroke-width:.7}polyline{fill:none;stroke-width:1.8}
details{margin:1em 0}pre{overflow:auto;max-height:24em;background:var(--panel);padding:10px;font-size:.75rem}
@media (max-width:760px){
.cards thead{display:none}.cards,.cards tbody,.cards tr,.cards td,.cards th{display:block;width:100%}
.cards tr{background:var(--panel);border-radius:6px;padding:.5em .7em;margin:.6em 0}
.cards td,.cards tbody th{border:0;padding:.12em 0}.cards tbody th{font-size:1rem;margin-bottom:.2em}
.cards td{display:flex;justify-content:space-between;gap:1em}.cards td::before{content:attr(data-of);color:var(--soft);flex:none}
.cards td:empty{display:none}.cards td.text{display:block}.cards td.text::before{display:block}}
""" + "".join(f".s{i}{{background:{c}}}.l{i}{{stroke:{c}}}.m{i}{{fill:{c}}}" for i, c in enumerate(COLOURS))


def page(told: Mapping[str, Any]) -> str:
    """Return the report of one run.

    Parameters
    ----------
    told : mapping
        What `record.as_json` returned. Every text in it is escaped.
    """
    config, rows = told["config"], told["results"]
    title = f"{config['clients']:,} clients, {config['length']:,} values of {config['bits']} bits"
    body = [
        f"<h1>What secure aggregation costs: {escape(title)}</h1>",
        f'<p class="soft">{config["dropouts"]} clients lost before their update. {escape(_machine(told))}</p>',
    ]
    if told["busy"]:
        body.append(f'<p class="note"><b>Busy:</b> {escape(told["busy"])}.</p>')
    if told["interrupted"]:
        body.append('<p class="note"><b>Interrupted.</b> What follows is what was measured until then.</p>')
    if rows:
        body += [_table(rows), _notes(told), _times(rows), _sizes(rows, config)]
        if told["network"] is not None:
            body.append(_network(rows, told["network"]))
    if told["growth"]:
        body.append(_growth(told))
    if told["error_against_bits"]:
        body.append(_errors(told["error_against_bits"]))
    if rows:
        body.append(_protects(rows))
    body.append(_everything(told))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>secagg bench: {escape(title)}</title><style>{STYLE}</style></head><body><main>\n"
        + "\n".join(body)
        + "\n</main></body></html>\n"
    )


def _machine(told: Mapping[str, Any]) -> str:
    facts = told["machine"]
    return (
        f"{facts['cpu']}, {facts['cores']} cores, {facts['isa']}; {told['config']['threads']} thread(s) a party; "
        f"secagg {facts['secagg']}; {facts['date'][:10]}."
    )


def _ms(value: float) -> str:
    if value >= 1000:
        return f"{value / 1000:.3g} s" if value < 1e6 else f"{value / 1000:,.0f} s"
    return f"{value:.3g} ms" if value >= 0.01 else "0 ms" if value == 0 else "< 0.01 ms"


def _name(row: Mapping[str, Any]) -> str:
    return ("~ " if row["extrapolated"] else "") + str(row["title"])


def _cell(of: str, text: str, *, kind: str = "") -> str:
    return f'<td data-of="{escape(of)}"{kind}>{escape(text)}</td>'


def _grid(heads: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]], *, text: bool = False) -> str:
    kind = ' class="text"' if text else ""
    head = "".join(f"<th{' style=text-align:left' if text else ''}>{escape(each)}</th>" for each in heads)
    lines_ = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(_cell(of, cell, kind=kind) for of, cell in zip(heads, cells, strict=True))
        + "</tr>"
        for name, cells in rows
    )
    return f'<table class="cards"><thead><tr><th></th>{head}</tr></thead><tbody>{lines_}</tbody></table>'


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    heads = (
        "client", "server", "holder, member", "setup, client", "setup, server", "sent", "received", "x float32", "exchanges",
        "peak, client", "peak, server", "largest error",
    )  # fmt: skip
    cells = [
        (
            _name(row),
            (
                _ms(row["client_ms_without_setup"]),
                _ms(row["server_ms_without_setup"]),
                _ms(row["holder_ms_without_setup"]) if row["holder_exchanges"] else "",
                *(_setup(row, party) for party in ("client", "server")),
                human(row["bytes_up"]),
                human(row["bytes_down"]),
                f"{row['expansion']:.2f}",
                f"{row['exchanges']}" + (f" + {row['holder_exchanges']}" if row["holder_exchanges"] else ""),
                *(
                    "" if row[f"{party}_peak_bytes"] is None else human(row[f"{party}_peak_bytes"])
                    for party in ("client", "server")
                ),
                f"{row['max_error']:.1e}",
            ),
        )
        for row in rows
    ]
    return "<h2>What a round costs</h2>" + _grid(heads, cells)


def _setup(row: Mapping[str, Any], party: str) -> str:
    setup = any(phase["setup"] for phase in row["phases"].values())
    spent = row[f"{party}_ms"] - row[f"{party}_ms_without_setup"]
    return _ms(spent) if setup and spent else ""


def _notes(told: Mapping[str, Any]) -> str:
    text = [
        (
            "<p class=\"soft\">Time: the median client's, the server's for all clients. Sent and received: by one client, setup "
            "included. Exchanges: of a first round with the clients, + with the key holder or the committee. x float32: bytes "
            "sent in a steady round against 4 bytes a value. Peak memory: of sessions of few clients, outside the clock.</p>"
        )
    ]
    fitted = [row for row in told["results"] if row["extrapolated"]]
    if fitted:
        text.append(
            '<div class="note"><b>~ extrapolated:</b> these sizes did not fit the time budget or the memory; their times are '
            "fits to smaller sessions, no measurements.<ul>"
            + "".join(f"<li>{escape(row['title'])}: {escape(row['extrapolated'])}</li>" for row in fitted)
            + "</ul></div>"
        )
    text += [
        f'<p class="soft">{escape(row["title"])}: {escape(row["note"])}.</p>'
        for row in told["results"]
        if "note" in row
    ]
    if told["missing"]:
        text.append(
            '<div class="note"><b>Missing:</b><ul>'
            + "".join(f"<li>{escape(each['name'])}: {escape(each['reason'])}</li>" for each in told["missing"])
            + "</ul></div>"
        )
    return "".join(text)


def _times(rows: Sequence[Mapping[str, Any]]) -> str:
    used = {name: PHASES[name] for row in rows for name in row["phases"]}
    out = ["<h2>Time by phase</h2>", legend(used), '<div class="two">']
    for party, title in (
        ("client", "One client"),
        ("server", "The server, for all clients"),
        ("holder", "The key holder, or a committee's member"),
    ):
        shown = [
            (_name(row), {name: phase[f"{party}_ms"] for name, phase in row["phases"].items()})
            for row in rows
            if party != "holder" or row["holder_exchanges"]
        ]
        if shown:
            out.append(f"<div><h3>{title}</h3>{bars(shown, _ms, used, f'{title}: time by phase')}</div>")
    return "".join(out) + "</div>"


def _sizes(rows: Sequence[Mapping[str, Any]], config: Mapping[str, Any]) -> str:
    plain = human(FLOAT32_BYTES * config["length"])
    out = [f"<h2>Bytes</h2><p>A float32 update is {plain}.</p>", '<div class="two">']
    for part, title in (("up", "Sent by a client"), ("down", "Received by a client")):
        used = {name: PHASES[name] for row in rows for name in row["phases"]}
        shown = [(_name(row), {name: p[f"bytes_{part}"] for name, p in row["phases"].items()}) for row in rows]
        out.append(f"<div><h3>{title}</h3>{bars(shown, human, used, title)}</div>")
    return "".join(out) + "</div>"


def _network(rows: Sequence[Mapping[str, Any]], network: Mapping[str, Any]) -> str:
    used = {name: PHASES[name] for row in rows for name in row["phases"]}
    shown = [(_name(row), row["modelled_transfer_ms"]) for row in rows]
    said = (
        f"Modelled, not measured: each exchange takes a round trip of {network['round_trip_ms']:g} ms, and its bytes at "
        f"{network['bits_a_second'] / 1e6:g} Mbit/s. All clients have a link of their own, and the server's is no bottleneck."
    )
    drawn = legend(used) + bars(shown, _ms, used, "Modelled transfer time")
    return f"<h2>On the way, {escape(network['text'])} (modelled)</h2><p>{said}</p>{drawn}"


def _growth(told: Mapping[str, Any]) -> str:
    titles = {row["name"]: row["title"].partition(", k=")[0] for row in (*told["swept"], *told["results"])}
    said = (
        "Measured sizes only. An exponent b says that the figure grows like size to the power b: the slope of a line through the "
        "logarithms by least squares, over the range that is named; of fewer than three sizes there is none."
    )
    out = [f"<h2>Growth</h2><p>{said}</p>", '<div class="two">']
    for axis in dict.fromkeys(curve["axis"] for curve in told["growth"]):
        for quantity in QUANTITIES:
            if quantity not in TITLES:
                continue
            curves = [c for c in told["growth"] if (c["axis"], c["quantity"]) == (axis, quantity)]
            drawn = [
                Line(titles[c["name"]], _exponent(c), tuple(zip(c["sizes"], c["values"], strict=True))) for c in curves
            ]
            if drawn:
                unit = curves[0]["unit"]
                out.append(lines(drawn, axis, f"{TITLES[quantity]}{', ms' if unit == 'ms' else ''}, by {axis}"))
    out.append("</div>")
    ends = "".join(f"<li>{escape(name)}: {escape(why)}</li>" for name, why in told["growth_stopped"].items())
    if ends:
        out.append(f"<details><summary>Where sweeps ended early</summary><ul>{ends}</ul></details>")
    return "".join(out)


def _exponent(curve: Mapping[str, Any]) -> str:
    if curve["exponent"] is None:
        return ""
    return f"b = {curve['exponent']:.2f}, {_short(curve['fitted_from'])} to {_short(curve['fitted_to'])}"


def _short(value: int) -> str:
    return f"{value:,}" if value < 10_000 else f"{value:.2g}".replace("e+0", "e")


def _errors(points: Sequence[Mapping[str, Any]]) -> str:
    drawn = [
        Line("largest error of a mean", "", [(point["bits"], point["max_error"]) for point in points]),
        Line("its bound", "", [(point["bits"], point["bound"]) for point in points], dashed=True),
    ]
    table = _grid(
        ("largest error", "bound", "bits sent a value"),
        [
            (f"{point['bits']} bits", (f"{point['max_error']:.2e}", f"{point['bound']:.2e}", f"{point['bits_sent']:g}"))
            for point in points
        ],
    )
    return (
        "<h2>Error against bits</h2><p>Real means of values in [-1, 1], masked, by the bits of an encoded value. More bits are "
        "sent than that: a sum has to fit.</p>"
        f'<div class="two">{lines(drawn, "bits of a value", "Error of the mean", log_x=False)}<div>{table}</div></div>'
    )


def _protects(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = [(row["title"], (row["security"], row["learns"])) for row in rows]
    return "<h2>What it protects</h2>" + _grid(("security level", "who learns what"), cells, text=True)


def _everything(told: Mapping[str, Any]) -> str:
    facts = told["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items() if version)
    return (
        f"<h2>Machine and versions</h2><p>{escape(facts['cpu'])}, {facts['cores']} cores, {escape(facts['system'])}; Python "
        f"{escape(facts['python'])}; secagg {escape(facts['secagg'])} ({escape(facts['backend'])}, {escape(facts['isa'])}); "
        f"{escape(versions)}. {escape(facts['date'])}; the run took {told['seconds']:.0f} s.</p>"
        f"<details><summary>Everything, as JSON</summary><pre>{escape(json.dumps(told, indent=1))}</pre></details>"
    )
