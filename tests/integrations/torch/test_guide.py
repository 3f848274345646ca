"""The guide's blocks run, in order, where torch is."""

from __future__ import annotations

import re
from pathlib import Path

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "guides" / "torch.md"


def test_the_guide_runs(capsys):
    namespace: dict[str, object] = {}
    blocks = re.findall(r"^```py\n(.*?)^```$", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 2
    for number, source in enumerate(blocks):
        exec(compile(source, f"torch.md:{number}", "exec"), namespace)
    assert capsys.readouterr().out == "torch.bfloat16 0 values clipped\n"
