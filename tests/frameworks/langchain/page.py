"""The examples of the documentation, as they are there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "integrations" / "langchain.md"


def test_they_say_what_they_should() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.S)
    ours = [block for block in blocks if re.search(r"memrelay\.compat\.lang(chain|graph) ", block)]
    assert len(ours) == 2
    said = [subprocess.check_output([sys.executable, "-c", block], text=True) for block in ours]
    retrieved, values, found = "".join(said).splitlines()
    assert "page_content='Ana prefers window seats.'" in retrieved
    assert "peanuts" not in retrieved
    assert values == r"[b'\x89PNG', None]"
    assert "value={'text': 'Ana prefers window seats.'}" in found
