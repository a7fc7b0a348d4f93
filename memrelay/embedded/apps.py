"""The server's own programs: ``api``, ``workers`` and what else lies beside them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import memrelay
from memrelay.errors import ConfigError

SERVER_PACKAGES = ("celery", "fastapi", "redis")


def apps_root() -> Path:
    """The directory with the packages ``api``, ``backends`` and ``workers``."""
    package = Path(memrelay.__file__).parent
    inside = package / "_apps"  # in a wheel: they are too generically named for site-packages
    root = inside if inside.is_dir() else package.parent
    if not (root / "api" / "__main__.py").is_file():
        raise ConfigError(f"{package} came without the server: pip install 'memrelay[server]'")
    return root


def app_command(module: str, arguments: Sequence[str] = ()) -> list[str]:
    """``python -m module``, without the working directory on its path: it may hold another ``api``.

    ``ConfigError`` where the packages that it stands on are not installed.
    """
    if any(find_spec(package) is None for package in SERVER_PACKAGES):
        raise ConfigError("this needs the server's packages: pip install 'memrelay[server]'")
    return [sys.executable, "-P", "-m", module, *arguments]


def app_environment() -> dict[str, str]:
    """Ours, with the apps root first on ``PYTHONPATH``, and output as it comes."""
    given = os.environ.get("PYTHONPATH", "")
    path = os.pathsep.join(part for part in (str(apps_root()), given) if part)
    return os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
