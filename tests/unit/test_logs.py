"""What a line of the log looks like."""

from __future__ import annotations

import json
import logging

import pytest

from backends.logs import Json, Text, about


def record(message: str, *args: object, error: BaseException | None = None) -> logging.LogRecord:
    exc_info = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord("memrelay.x", logging.WARNING, "x.py", 1, message, args, exc_info)


def raised() -> BaseException:
    """An exception with one behind it; both quote something."""
    try:
        try:
            raise KeyError("a secret")
        except KeyError as error:
            raise ValueError("another secret") from error
    except ValueError as error:
        return error


def test_a_line_of_json_is_one_line_and_says_what_it_is_about() -> None:
    with about(request_id="r1"), about(queue="q"):
        line = Json("api").format(record("two\nlines, %d", 3))
    assert "\n" not in line
    told = json.loads(line)
    assert told["at"].endswith("Z")
    assert told["message"] == "two\nlines, 3"
    assert (told["level"], told["process"], told["logger"]) == ("warning", "api", "memrelay.x")
    assert (told["request_id"], told["queue"]) == ("r1", "q")
    assert "request_id" not in json.loads(Json("api").format(record("later")))


@pytest.mark.parametrize("formatter", [Json("api"), Text()])
def test_an_exception_is_told_by_class_and_stack_alone(formatter: logging.Formatter) -> None:
    line = formatter.format(record("it failed", error=raised()))
    assert "builtins.ValueError" in line
    assert "builtins.KeyError" in line
    assert "test_logs.py" in line
    assert "raise KeyError(" in line
    assert "KeyError: " not in line
    assert "ValueError: " not in line


def test_a_line_of_text_ends_with_what_it_is_about() -> None:
    with about(request_id="r1"):
        line = Text().format(record("hello"))
    assert line.endswith("W memrelay.x hello request_id=r1")
