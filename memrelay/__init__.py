"""memrelay: memories for AI agents, taken in at volume, with a 202 that can be checked."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memrelay.client import AsyncMemrelay as AsyncMemrelay
    from memrelay.client import Memrelay as Memrelay

__version__ = "0.1.0"
__all__ = ["AsyncMemrelay", "Memrelay", "__version__"]


def __getattr__(name: str) -> Any:
    """The client on first use: the servers import this package too, and need no HTTP client (0.3 s)."""
    if name in ("AsyncMemrelay", "Memrelay"):
        return getattr(import_module("memrelay.client"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
