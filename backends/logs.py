"""Logs of a server process: lines of text, or of JSON, on standard error; those of libraries as well.

No line has a memory's text or a secret in it. An exception is logged by its class and stack alone: what it
says may quote what was sent. What a store or a model said of a memory stands in its job and its dead letter.
"""

from __future__ import annotations

import logging
import sys
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import msgspec

from backends import tracing
from memrelay.errors import MemrelayError
from memrelay.settings import LogFormat

QUIET = {"celery": logging.WARNING, "httpx": logging.WARNING, "mcp": logging.WARNING}
"""Loggers that tell too much of what is usual."""
SILENT = ("LiteLLM",)
"""Has handlers of its own, and may quote a request that failed; who called it logs the failure."""
ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]

_about: ContextVar[dict[str, str]] = ContextVar("about", default={})  # noqa: B039 - never changed


class about:
    """What is logged in the ``with`` is about these: a request, envelopes."""

    __slots__ = ("_fields", "_token")

    def __init__(self, **fields: str) -> None:
        self._fields = fields

    def __enter__(self) -> None:
        self._token = _about.set(_about.get() | self._fields)

    def __exit__(self, *raised: object) -> None:
        _about.reset(self._token)


def configure(process: str, form: LogFormat) -> None:
    """From now on this process logs so; the last call counts."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Json(process) if form == "json" else Text())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    for name, level in QUIET.items():
        logging.getLogger(name).setLevel(level)
    for name in SILENT:
        logging.getLogger(name).disabled = True


class Text(logging.Formatter):
    """``<time> <level> <logger> <message>``, and what it is about."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname).1s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {name}={value}" for name, value in _fields().items())
        return super().formatMessage(record) + fields

    def formatException(self, ei: ExcInfo) -> str:
        return stack_of(ei[1])


class Json(logging.Formatter):
    """An object a line: ``at`` (UTC), ``level``, ``logger``, ``process``, ``pid``, ``message``; where they
    are known ``request_id``, ``envelopes``, ``queue``, ``trace_id``, ``span_id``, ``stack`` of an exception.
    """

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": self._process,
            "pid": record.process,
            "message": record.getMessage(),
            **_fields(),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["stack"] = stack_of(record.exc_info[1])
        return msgspec.json.encode(line).decode()


def stack_of(error: BaseException | None) -> str:
    """Where an exception and those behind it were raised, without what they say."""
    parts = []
    while error is not None:
        frames = "".join(traceback.format_tb(error.__traceback__))
        name = f"{type(error).__module__}.{type(error).__qualname__}"
        parts.append(f"Traceback (most recent call last):\n{frames}{name}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\nraised from\n".join(parts)


def loggable(error: MemrelayError) -> str:
    """What a log may say of an error: its message, or just its code where that may quote a memory."""
    return error.code if error.quotes else str(error)


def _fields() -> dict[str, str]:
    """What this task is about, and its place in a trace."""
    known = _about.get()
    if parent := tracing.traceparent():
        _, trace_id, span_id, _ = parent.split("-")
        return {**known, "trace_id": trace_id, "span_id": span_id}
    return known
