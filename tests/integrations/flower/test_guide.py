"""The guide's code runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flower_cohort import Federation
from flwr.app import Context, RecordDict

from secagg.integrations.flower import Policy
from secagg.integrations.flower.strategies import REFUSED, SUPPORTED

GUIDE = (Path(__file__).resolve().parents[3] / "docs" / "guides" / "flower.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)


def test_the_apps_of_the_guide():
    space: dict[str, object] = {}
    for source in blocks("py"):
        exec(source, space)
    ours = Federation(5, app=lambda i, mods: space["client_app"])
    context = Context(1, 1, {}, RecordDict(), {"secagg-trust": "simulation"})
    space["server_app"](grid=ours.grid, context=context)
    updates = [m for _, m, _ in ours.world.seen if "arrays" in m.content.array_records]
    assert len(updates) == 5 * 3 * 2
    again = Federation(5, app=lambda i, mods: space["client_app"])
    space["encrypted_app"](grid=again.grid, context=context)
    asked = [m.content["secagg"]["to"] for _, m, _ in again.world.seen if m.content["secagg"].get("to")]
    assert asked.count("(key holder)") == 1 + 3
    assert len(asked) == 1 + 3 + 5 * 3
    once = Federation(5, app=lambda i, mods: space["client_app"])
    space["once_app"](grid=once.grid, context=context)
    said = [m for _, m, _ in once.world.seen if m.content["secagg"].get("to")]
    # Each node: a key, and in each of three rounds an update and an answer.
    assert len(said) == 5 * (1 + 3 * 2)
    assert sum("arrays" in m.content.array_records for m in said) == 5 * 3


def test_the_policy_of_the_guide_is_the_default(tmp_path):
    (source,) = blocks("toml")
    (tmp_path / "policy.toml").write_text(source)
    assert Policy.load(tmp_path / "policy.toml") == Policy()


@pytest.mark.parametrize("name", [*SUPPORTED, *(each for each in REFUSED if not each.startswith("Diff"))])
def test_the_guide_names_every_strategy(name):
    assert name in GUIDE
