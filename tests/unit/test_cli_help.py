"""What every command has: help with an example and its exit statuses, and JSON."""

from __future__ import annotations

import typer.main
from typer.testing import CliRunner

from secagg.cli import app

OLDER = {"demo"}  # its help names no exit status yet


def commands(group, path=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def test_help_has_examples_and_exit_statuses():
    found = dict(commands(typer.main.get_command(app)))
    assert {("plan",), ("doctor",), ("vectors",), ("verify",), ("roster", "make")} <= set(found)
    for path, command in found.items():
        text = CliRunner().invoke(app, [*path, "--help"]).stdout
        assert "--json" in text, path
        if path[0] not in OLDER and path[0] != "bench":
            assert "Example" in text and "Exit status" in text, path
            assert f"secagg {' '.join(path)}" in (command.epilog or ""), path
