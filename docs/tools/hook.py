"""What the site's build does to pages: Mermaid becomes SVG, and plots stand in the page, so that both follow its colours."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mermaid import drawn

DOCS = Path(__file__).resolve().parents[1]
MERMAID = re.compile(r"^```mermaid\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NOTHING_SAID = re.compile(r"\s*\u2013\s*<div class=\"doc-md-description\">\s*</div>")
PLOT = re.compile(r"^!\[([^\]]*)\]\((plots/[\w-]+\.svg)\)$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return the page with its diagrams and plots as inline SVG."""
    markdown = MERMAID.sub(lambda match: drawn(match[1]), markdown)
    return PLOT.sub(
        lambda match: f'<figure class="drawn">{(DOCS / match[2]).read_text(encoding="utf-8")}</figure>', markdown
    )


def on_page_content(html: str, **_: Any) -> str:
    """Return the page without the dashes of parameters whose type says it all."""
    return NOTHING_SAID.sub("", html)
