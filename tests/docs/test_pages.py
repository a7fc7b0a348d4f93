"""Every command, program and setting that README and documentation show does what they say."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, RUN, Block, blocks_of, name_of, pages
from tests.docs.sandbox import Differs, Sandbox

GUIDE = "docs/guides/writing-a-driver.md"  # in an environment of its own: test_driver_guide.py
ELSEWHERE = ("not run", "run by")
NOT_RUN = 9
"""Blocks that no test can run are few, and each says why."""


def runnable(page: Path) -> list[Block]:
    found = (block for block in blocks_of(page) if block.language in RUN)
    return [block for block in found if block.mark not in ELSEWHERE]


def starts_one(blocks: list[Block]) -> bool:
    return any(block.mark == "runs on" and "memrelay up" in block.text for block in blocks)


@pytest.mark.parametrize(
    "page", [page for page in pages() if name_of(page) != GUIDE and runnable(page)], ids=name_of
)
def test_a_page_does_what_it_shows(
    page: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    blocks = runnable(page)
    url = None if starts_one(blocks) else request.getfixturevalue("up_url")
    with Sandbox(tmp_path / "here", url) as sandbox:
        for block in blocks:
            sandbox.run(block)


def test_blocks_that_are_not_run_are_few_and_say_why() -> None:
    marked = [block for page in pages() for block in blocks_of(page) if block.mark in ELSEWHERE]
    for block in marked:
        if block.mark == "not run":
            assert len(block.said.split()) >= 3, f"{block.where}: a reason, in words"
        else:
            assert (ROOT / block.said).is_file(), f"{block.where}: {block.said} is not there"
    assert Counter(block.mark for block in marked)["not run"] <= NOT_RUN


def test_programs_that_another_test_runs_are_what_that_test_runs() -> None:
    """It runs the example of the module's docstring, or (LangChain's) reads the page itself."""
    for page in pages():
        for block in blocks_of(page):
            adapter = re.search(r"from memrelay\.compat\.(\w+) import", block.text)
            if block.mark == "run by" and adapter and not adapter[1].startswith("lang"):
                module = ROOT / "memrelay" / "compat" / f"{adapter[1]}.py"
                assert _lines(block.text) in _lines(module.read_text()), block.where


def _lines(text: str) -> str:
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("console", '$ memrelay count --json\n{"total": 1}\n'),
        ("console", "$ memrelay no-such-command\n"),
        ("python", "raise SystemExit(3)\n"),
        ("toml", "worker_concurrency = 0\n"),
        ("toml", '[drivers.sqlite]\nfile = "a.db"\n'),
        ("sql", "SELECT 1;\n"),
    ],
)
def test_a_block_that_is_wrong_is_found(
    up_url: str, tmp_path: Path, language: str, text: str
) -> None:
    with Sandbox(tmp_path / "here", up_url) as sandbox, pytest.raises(Differs, match="page:7"):
        sandbox.run(Block(page="page", line=7, language=language, title=None, text=text))
