"""Tables of commands, for people and for pipes."""

from __future__ import annotations

import sys

import pytest

from memrelay.cli.output import show_columns, show_rows

HEADERS = ("driver", "accepted", "needs_sync")
ROWS = [["redis", 31, 0], ["sqlite", 31, 7]]


def test_many_fields_of_few_things_stand_below_each_other_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    show_columns(HEADERS, ROWS)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["driver", "redis", "sqlite"],
        ["accepted", "31", "31"],
        ["needs_sync", "0", "7"],
    ]


def test_in_a_pipe_every_thing_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    show_columns(HEADERS, ROWS)
    assert capsys.readouterr().out == "redis\t31\t0\nsqlite\t31\t7\n"


def test_of_nothing_a_person_is_told_none_and_a_pipe_gets_no_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    show_rows(HEADERS, [])
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    show_rows(HEADERS, [])
    assert capsys.readouterr().out == "none\n"
