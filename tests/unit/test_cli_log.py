"""The combined log of ``memrelay up``."""

from __future__ import annotations

import json

import pytest

from memrelay.cli.log import Entry, entry, shower


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "2026-11-27 07:19:24,630 I memrelay.api accepting on http://127.0.0.1:8700",
            Entry("07:19:24", "api", "info", "accepting on http://127.0.0.1:8700"),
        ),
        (
            "2026-11-27 07:19:24,630 W memrelay.sweep work waits",
            Entry("07:19:24", "api", "warning", "work waits"),
        ),
        (
            "2026-11-27 07:19:24,630 E memrelay.worker a task failed",
            Entry("07:19:24", "api", "error", "a task failed"),
        ),
        (
            "19676:C 27 Nov 2026 07:19:13.746 # WARNING Memory overcommit must be enabled!",
            Entry("07:19:13", "api", "warning", "Memory overcommit must be enabled!"),
        ),
    ],
)
def test_a_line_has_one_time_and_its_level(line: str, expected: Entry) -> None:
    assert entry("api", line) == expected


def test_a_line_of_another_kind_is_said_as_it_is_with_the_time_that_it_came() -> None:
    told = entry("worker", "worker: Warm shutdown (MainProcess)\x1b[31m")
    assert told is not None
    assert (told.level, told.text) == ("info", "worker: Warm shutdown (MainProcess) [31m")
    assert len(told.at) == len("07:19:13")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "  ",
        "1:M 27 Nov 2026 07:19:13.790 # WARNING: Redis does not require authentication. Redis will",
    ],
)
def test_what_is_nothing_to_anybody_is_left_out(line: str) -> None:
    assert entry("redis", line) is None


def test_as_json_each_line_is_an_object(capsys: pytest.CaptureFixture[str]) -> None:
    shower(as_json=True)("api", "2026-11-27 07:19:24,630 W memrelay.api careful")
    told = json.loads(capsys.readouterr().out)
    assert told == {"at": "07:19:24", "process": "api", "level": "warning", "text": "careful"}


def test_elsewhere_than_on_a_terminal_lines_are_plain(capsys: pytest.CaptureFixture[str]) -> None:
    shower(as_json=False)("api", "2026-11-27 07:19:24,630 W memrelay.api careful")
    assert capsys.readouterr().out == "07:19:24    api │ WARNING careful\n"
