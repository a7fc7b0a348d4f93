"""MkDocs hook: the reference pages are made from the code at every build, so they cannot fall behind it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # mkdocs runs hooks by their path

from mkdocs.structure.files import File, Files  # noqa: E402

from deploy.site import cli_page, contract_page, http_page, settings_page  # noqa: E402

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig

PAGES = {
    "reference/http.md": http_page.page,
    "reference/cli.md": cli_page.page,
    "reference/settings.md": settings_page.page,
    "reference/driver-contract.md": contract_page.page,
}


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """The pages of ``docs/`` and those that are made here."""
    for path, page in PAGES.items():
        files.append(File.generated(config, path, content=page()))
    return files
