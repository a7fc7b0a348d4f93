"""Tracing: spans from the request through the queue to each driver, where OpenTelemetry is asked for.

Off, and nothing of OpenTelemetry imported, unless one of its own variables names an endpoint. No span has
texts, keys or ids of users in it; an error is told by its code alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Literal, Protocol

from backends.registry import load

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
Kind = Literal["server", "client", "consumer", "internal"]
Value = str | int | bool


class Span(Protocol):
    """Something that is under way."""

    def rename(self, name: str) -> None: ...

    def tell(self, name: str, value: Value) -> None:
        """Set an attribute."""
        ...

    def failed(self, code: str) -> None:
        """It did not go well."""
        ...


class Tracing(Protocol):
    """Where spans go. ``parent`` and ``links`` are W3C traceparents; what is none is left out."""

    def span(
        self,
        name: str,
        *,
        kind: Kind,
        parent: str,
        links: Sequence[str],
        attributes: Mapping[str, Value],
    ) -> AbstractContextManager[Span]: ...

    def traceparent(self) -> str:
        """Of the span that is under way here; empty outside of one, or if it is not recorded."""
        ...

    def close(self) -> None:
        """Send what is left, within seconds."""
        ...


class _Nowhere:
    """Off. The span of everything."""

    def rename(self, name: str) -> None: ...

    def tell(self, name: str, value: Value) -> None: ...

    def failed(self, code: str) -> None: ...


_NOWHERE = _Nowhere()
_active: Tracing | None = None


def start(service: str) -> None:
    """From now on this process traces, if its environment names an endpoint. Not before a fork.

    Raises ``ConfigError`` where it does and OpenTelemetry is not installed.
    """
    global _active  # noqa: PLW0603 - ambient, as logging is
    if any(os.environ.get(name) for name in ENDPOINTS):
        _active = load("backends.otel:create", "OTEL_EXPORTER_OTLP_ENDPOINT")(service)


def stop() -> None:
    """Send what is left."""
    global _active  # noqa: PLW0603
    if _active is not None:
        _active.close()
    _active = None


def active() -> bool:
    return _active is not None


@contextmanager
def span(
    name: str,
    *,
    kind: Kind = "internal",
    parent: str = "",
    links: Sequence[str] = (),
    **attributes: Value,
) -> Iterator[Span]:
    """Everything in the ``with`` is a span, inside that which is under way already."""
    if _active is None:
        yield _NOWHERE
        return
    named = {f"memrelay.{key}": value for key, value in attributes.items()}
    with _active.span(name, kind=kind, parent=parent, links=links, attributes=named) as begun:
        yield begun


def traceparent() -> str:
    """Of the span that is under way here, to be carried elsewhere; empty if there is none."""
    return "" if _active is None else _active.traceparent()
