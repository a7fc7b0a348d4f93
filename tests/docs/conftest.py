"""One running ``memrelay up`` for the pages that start none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.docs.blocks import Block
from tests.docs.sandbox import Sandbox

SETTINGS = """
[sources.default]
drivers = ["redis", "sqlite"]
filterable = { category = "string" }
[sources.cache]
drivers = ["redis", "sqlite"]
"""
UP = "$ memrelay up\nready: http://127.0.0.1:8700\n"


@pytest.fixture(scope="session")
def up_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("docs") / "shared") as url:
        yield url


@contextmanager
def serving(directory: Path) -> Iterator[str]:
    """The address of a ``memrelay up`` in ``directory``."""
    with Sandbox(directory) as sandbox:
        (sandbox.directory / "memrelay.toml").write_text(SETTINGS)
        sandbox.run(
            Block(page="shared", line=0, language="console", title=None, text=UP, mark="runs on")
        )
        yield sandbox.env["MEMRELAY_URL"]
