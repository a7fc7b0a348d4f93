"""The AutoMem driver: see rows.py for what lies where, writes.py for what its versions promise."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from backends.automem.driver import AutomemDriver
from backends.automem.settings import VARIABLES, Settings
from memrelay.options import parse_options

__all__ = ["AutomemDriver", "create"]


def create(name: str, settings: Mapping[str, Any]) -> AutomemDriver:
    """The driver under ``drivers.<name>``, not opened; ``ConfigError`` names a wrong setting.

    ``url`` and ``token`` are those of AutoMem's own variables where they are not given.
    """
    around = {key: os.environ[name] for key, name in VARIABLES if os.environ.get(name)}
    return AutomemDriver(name, parse_options(Settings, f"drivers.{name}", {**around, **settings}))
