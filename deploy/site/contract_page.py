"""The driver contract: its module, as it is."""

from __future__ import annotations

from pathlib import Path

import memrelay.driver

HEAD = """# Driver contract

`memrelay/driver.py`, as it is in this release. [Writing a driver](../guides/writing-a-driver.md) builds
one against it.
"""


def page() -> str:
    source = Path(memrelay.driver.__file__).read_text()
    return f"{HEAD}\n```python\n{source}```\n"
