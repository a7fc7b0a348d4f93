"""Where a name becomes a class: nothing of the server is imported before a driver that needs it is chosen."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from memrelay.embedded.apps import apps_root
from memrelay.errors import ConfigError


def load(path: str, what: str) -> Any:
    """What ``module:attribute`` names; ``ConfigError`` in one line if a package is missing for ``what``."""
    if path.startswith("backends"):
        return _server("backends.registry").load(path, what)
    module, _, attribute = path.partition(":")
    return getattr(import_module(module), attribute)


def _server(name: str) -> ModuleType:
    """A module of the server, from where memrelay has it: others may have a ``backends`` too."""
    root = apps_root()
    if str(root) not in sys.path:
        sys.path.append(str(root))
    package = import_module("backends")
    if Path(str(package.__file__)).parent.parent.resolve() != root.resolve():
        raise ConfigError(
            f"{package.__file__} hides memrelay's own package of that name: use the driver relay, "
            "which needs none"
        )
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the package {error.name} is missing: pip install 'memrelay[server]'"
        ) from None
