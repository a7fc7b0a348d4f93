"""The bookmark of an import, and what its display makes of what is known."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from memrelay.cli.progress import Bars, Lines, State
from memrelay.cli.resume import Bookmark, Mark
from memrelay.errors import ConfigError

MARK = Mark("sha256-abc", 5000, 2)


@pytest.fixture
def bookmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bookmark:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return Bookmark.of(tmp_path / "a.ndjson", "http://one", "default")


def test_what_is_written_is_read_again(bookmark: Bookmark) -> None:
    assert bookmark.read() is None
    bookmark.write(MARK)
    assert bookmark.read() == MARK
    bookmark.remove()
    bookmark.remove()
    assert bookmark.read() is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"key": "a"}', '{"line": 1, "nope": 2}'])
def test_a_damaged_bookmark_counts_as_none(bookmark: Bookmark, content: str) -> None:
    bookmark.write(MARK)
    bookmark.path.write_text(content)
    assert bookmark.read() is None


def test_a_write_that_was_cut_off_leaves_the_last_one(bookmark: Bookmark) -> None:
    bookmark.write(MARK)
    bookmark.path.with_suffix(".new").write_text('{"key')
    assert bookmark.read() == MARK


def test_files_services_and_sources_have_bookmarks_of_their_own(bookmark: Bookmark) -> None:
    file = bookmark.path.parent.parent.parent / "a.ndjson"
    same = Bookmark.of(file, "http://one", "default")
    others = {
        Bookmark.of(file, "http://two", "default").path,
        Bookmark.of(file, "http://one", "other").path,
        Bookmark.of(file.with_name("b.ndjson"), "http://one", "default").path,
    }
    assert same.path == bookmark.path
    assert len(others - {bookmark.path}) == 3


def test_a_state_directory_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match="XDG_STATE_HOME"):
        Bookmark.of(tmp_path / "a", "http://one", "default").write(MARK)


def test_the_number_of_lines_is_estimated_from_the_bytes_read() -> None:
    state = State(1000, read_bytes=250, read=10)
    assert state.lines == 40
    state.read_bytes, state.read = 1000, 37
    assert state.lines == 37


def test_bars_tell_counts_rate_and_time_left() -> None:
    progress = Bars.columns()
    bars = Bars(progress)
    for part in range(1, 4):
        bars.show(State(1000, 0, 250 * part, 10 * part, 9 * part, part, 5 * part))
    console = Console(file=io.StringIO(), width=120)
    with console.capture() as captured:
        console.print(progress.get_renderable())
    accepted, stored = captured.get().splitlines()
    assert "27 of 40, 3 refused" in accepted
    assert "15" in stored
    for line in (accepted, stored):
        assert "/s" in line
        assert "--:--" not in line


def test_elsewhere_than_on_a_terminal_one_line_tells_the_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = Lines()
    for stored in range(3):
        lines.show(State(100, 0, 100, 7, 6, 1, stored))
    assert capsys.readouterr().err == ""
    lines.end()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("7 read, 6 accepted, 2 stored, 1 failed, ")
