"""A stranger's driver: the guide followed to the letter, in an environment of its own."""

from __future__ import annotations

import re
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from memrelay.testing.conformance import DriverConformance
from tests.docs.blocks import DOCS, ROOT, blocks_of
from tests.docs.sandbox import Sandbox

GUIDE = DOCS / "guides" / "writing-a-driver.md"


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    """The programs of an environment that has what memrelay needs, and takes in packages of its own."""
    home = tmp_path / "environment"
    venv.create(home, symlinks=True)
    site = (
        home / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    )
    (site / "ours.pth").write_text(f"{ROOT}\n{sysconfig.get_path('purelib')}\n")
    program = home / "bin" / "memrelay"
    program.write_text(f'#!/bin/sh\nexec "{home}/bin/python" -m memrelay.cli "$@"\n')
    program.chmod(0o755)
    return home / "bin"


def test_the_guide_yields_a_driver_that_passes_conformance(stranger: Path, tmp_path: Path) -> None:
    said = ""
    with Sandbox(tmp_path / "here", path=stranger) as sandbox:
        sandbox.env["PIP_NO_BUILD_ISOLATION"] = (
            "0"  # pip reads that as: no isolation, so no download
        )
        del sandbox.env["PYTHONPATH"]
        for block in blocks_of(GUIDE):
            if block.mark != "not run":
                said += sandbox.run(block)
    tests = {name for name in dir(DriverConformance) if name.startswith("test_")}
    (passed,) = re.findall(r"^(\d+) passed in ", said, flags=re.MULTILINE)
    assert int(passed) >= len(tests), "tests of the suite were not run"
