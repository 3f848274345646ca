"""What is installed is what was meant: names, types, the console script, lazy imports, who may load the C module."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import secagg

PACKAGE = Path(secagg.__file__).resolve().parent
ROOT = Path(__file__).resolve().parents[2]
PUBLIC = {
    "Aggregate", "Client", "FixedPoint", "Identity", "Integer", "Layout", "Params", "Receipt", "Roster", "Server",
    "build_info", "errors", "simulate",
}  # fmt: skip
HEAVY = {"matplotlib", "numba", "sklearn", "tenseal", "torch", "flwr", "nvflare", "typer", "rich"}


def installed() -> bool:
    try:
        metadata.version("secagg")
    except metadata.PackageNotFoundError:
        return False
    return True


needs_install = pytest.mark.skipif(not installed(), reason="secagg runs from the source tree, uninstalled")


def test_public_names():
    assert set(secagg.__all__) >= PUBLIC
    assert all(hasattr(secagg, name) for name in secagg.__all__)


@needs_install
def test_version_is_the_distributions():
    assert metadata.version("secagg") == secagg.__version__ == secagg.build_info()["version"]


@needs_install
def test_console_script():
    (script,) = metadata.entry_points(group="console_scripts", name="secagg")
    assert callable(script.load())


def test_ships_its_types():
    assert (PACKAGE / "py.typed").is_file()


def test_heavy_modules_wait_until_they_are_needed():
    code = "import sys, secagg; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    # -I keeps the environment out; the path is handed over, so that an uninstalled tree can be tested too.
    code = f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r}); {code}"
    done = subprocess.run([sys.executable, "-I", "-c", code], check=True, capture_output=True, text=True)
    assert not HEAVY & set(done.stdout.split())


def imported(path: Path) -> set[str]:
    """Every module that a source file names in an import, at any depth."""
    package = ["secagg", *path.relative_to(PACKAGE).parent.parts]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return found


def test_only_the_kernels_load_the_c_module():
    users = {path.relative_to(PACKAGE).parts[0] for path in PACKAGE.rglob("*.py") if "secagg._native" in imported(path)}
    assert users == {"_kernels"}


def test_readme_example_runs(capsys: pytest.CaptureFixture[str]):
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(example, "README.md", "exec"), {})
    assert "largest error" in capsys.readouterr().out


def test_quickstart_examples_run():
    page = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
    names: dict[str, object] = {}
    for example in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(example, "docs/quickstart.md", "exec"), names)
