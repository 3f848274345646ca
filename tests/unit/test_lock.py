"""The lock names everything that the development environment is made of, within what pyproject.toml asks for, by hash."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
EXTRAS = ("dev", "demo", "docs")
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)")


def lock():
    """Return version and hashes by name."""
    found, name = {}, ""
    for line in (ROOT / "requirements/dev.lock").read_text(encoding="utf-8").splitlines():
        if (pin := PIN.match(line)) is not None:
            name = canonicalize_name(pin[1])
            assert name not in found
            found[name] = (pin[2], [])
        elif line.strip().startswith("--hash="):
            found[name][1].append(re.fullmatch(r"--hash=(sha256:[0-9a-f]{64})( \\)?", line.strip())[1])
        else:
            assert not line.strip() or line.strip().startswith("#"), line
    return found


def asked():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    rest = project["project"]["optional-dependencies"]
    lines = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    return [Requirement(line) for line in (*lines, *(each for extra in EXTRAS for each in rest[extra]))]


def test_every_requirement_is_pinned_within_its_range():
    found = lock()
    for requirement in asked():
        version, _ = found[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), (str(requirement), version)


def test_every_pin_has_hashes_and_no_address():
    found = lock()
    assert len(found) > 40
    assert all(hashes and len(set(hashes)) == len(hashes) for _, hashes in found.values())
    text = (ROOT / "requirements/dev.lock").read_text(encoding="utf-8")
    assert not re.search(r"https?:|file:|--index|--find-links|@ ", text)


def test_the_makefile_installs_from_it_and_from_nothing_else():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    rule = text[text.index("$(STAMP): $(LIST)") :]
    locked = rule[: rule.index("else")]
    assert "--require-hashes -r $(LOCK)" in locked
    assert locked.count("pip install") == 2
    assert "--no-deps --force-reinstall dist/secagg-*.whl" in locked
    assert "--no-build-isolation" in locked
