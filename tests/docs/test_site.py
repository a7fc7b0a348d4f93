"""The site is built strictly (links and anchors lead somewhere), from here alone, and leaves nothing out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.app import described
from deploy.site import cli_page, settings_page
from tests.docs.blocks import ROOT

_LOADED = re.compile(
    r'<(?:script|img|iframe|source)[^>]*\ssrc="([^"]+)"|<link[^>]*\shref="([^"]+)"'
)
_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Built from a checkout, with what PyPI's packages bring and nothing else."""
    into = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", into],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    yield into


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        for match in _LOADED.finditer(page.read_text()):
            address = match[1] or match[2]
            assert not re.match(r"(?:https?:)?//", address), f"{page.name} loads {address}"


def test_the_reference_has_every_route_command_and_setting(site: Path) -> None:
    http = (site / "reference" / "http.html").read_text()
    for path, by_method in described().openapi()["paths"].items():
        for method in by_method:
            assert f"{method.upper()} {path}" in http
    cli = (site / "reference" / "cli.html").read_text()
    for words in cli_page.commands():
        assert f"memrelay {' '.join(words)}" in cli
    settings = (site / "reference" / "settings.html").read_text()
    for _, model in settings_page.TABLES.values():
        for name, field in model.model_fields.items():
            assert f"<code>{field.alias or name}</code>" in settings


@pytest.mark.parametrize("title", settings_page.TABLES)
def test_every_setting_says_what_it_means(title: str) -> None:
    _, model = settings_page.TABLES[title]
    silent = [name for name, field in model.model_fields.items() if not field.description]
    assert silent == []


def test_links_of_the_readme_lead_somewhere() -> None:
    links = _LINK.findall((ROOT / "README.md").read_text())
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []
