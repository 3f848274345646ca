"""Every command line in the documentation is one that the program takes, and every verb has its section."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from secagg.cli import app

DOCS = Path(__file__).resolve().parents[2] / "docs"
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINES = [
    (page.relative_to(DOCS).as_posix(), line)
    for page in sorted(DOCS.rglob("*.md"))
    for block in BLOCK.findall(page.read_text("utf-8"))
    for line in block.splitlines()
    if line.startswith("secagg ")
]


@pytest.mark.parametrize(("page", "line"), LINES)
def test_the_program_takes_it(page, line):
    command = typer.main.get_command(app)
    arguments = shlex.split(line)[1:]
    while hasattr(command, "commands"):
        command = command.commands[arguments.pop(0)]
    assert command.make_context(line, arguments).params


def test_every_verb_has_its_section():
    text = (DOCS / "cli.md").read_text("utf-8")
    for name in typer.main.get_command(app).commands:
        if name != "bench":  # its page is its own
            assert f"\n## secagg {name}\n" in text
            assert any(line.startswith(f"secagg {name}") for _, line in LINES)
