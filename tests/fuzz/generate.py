"""Write the corpora to begin with, from sessions of the day: ``python -P tests/fuzz/generate.py [TARGET ...]``.

Existing inputs stay; `session --keep` weeds them out.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz import corpora  # the path comes first
from fuzz.session import REMARK
from fuzz.targets import TARGETS, load


def main() -> None:
    """Write each target's."""
    for name in sys.argv[1:] or TARGETS:
        path = corpora.CORPUS / f"{name}.txt"
        print(name, corpora.write(path, [*corpora.read(path), *load(name).seeds()], REMARK))


if __name__ == "__main__":
    main()
