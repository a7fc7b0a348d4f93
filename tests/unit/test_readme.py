"""The README's settings, as somebody copies them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from memrelay.settings import load_settings

README = Path(__file__).parents[2] / "README.md"


def test_settings_of_the_readme_are_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = re.findall(r"```toml\n(.*?)```", README.read_text(), flags=re.S)
    [whole] = blocks
    file = tmp_path / "memrelay.toml"
    file.write_text(whole)
    monkeypatch.setenv("MEMRELAY_CONFIG", str(file))
    settings = load_settings()
    assert list(settings.sources) == ["default"]
