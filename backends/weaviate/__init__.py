"""The Weaviate driver: see objects.py for what lies where, writes.py for what its versions promise."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

# authlib, which the client imports, announces its own plans on stderr at every start.
with warnings.catch_warnings(record=True):
    import weaviate  # noqa: F401

from backends.weaviate.driver import WeaviateDriver
from backends.weaviate.settings import Settings
from memrelay.options import parse_options


def create(name: str, settings: Mapping[str, Any]) -> WeaviateDriver:
    """The driver under ``drivers.<name>``, not opened; ``ConfigError`` names a wrong setting."""
    return WeaviateDriver(name, parse_options(Settings, f"drivers.{name}", settings))
