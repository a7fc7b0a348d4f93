"""CrewAI's own ``Memory`` on memrelay."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from conftest import embed
from crewai.memory.unified_memory import Memory

from memrelay.compat import crewai
from memrelay.compat.crewai import MemrelayStorage


@pytest.fixture
def memory(storage: MemrelayStorage) -> Memory:
    """Needs no model: what is told is told whole, and nothing is merged."""
    return Memory(storage=storage, embedder=embed, llm="none", consolidation_threshold=1.0)


def tell(memory: Memory, text: str, scope: str, **more: Any) -> str:
    told = memory.remember(text, scope=scope, categories=["told"], importance=0.5, **more)
    assert told is not None
    return told.id


def recalled(memory: Memory, query: str, **which: Any) -> list[str]:
    return [match.record.content for match in memory.recall(query, depth="shallow", **which)]


def test_what_was_told_is_recalled_in_its_scope(memory: Memory) -> None:
    tell(memory, "Ana likes window seats.", "/ana")
    tell(memory, "Bo likes aisle seats.", "/bo")
    assert recalled(memory, "Which seats?", scope="/ana") == ["Ana likes window seats."]
    assert recalled(memory, "Ana likes window seats.")[0] == "Ana likes window seats."
    assert memory.list_scopes() == ["/ana", "/bo"]
    assert memory.list_categories() == {"told": 2}
    assert memory.info("/").record_count == 2


def test_private_memories_are_recalled_by_their_source_alone(memory: Memory) -> None:
    tell(memory, "Ana likes window seats.", "/ana", source="ana", private=True)
    assert recalled(memory, "Which seats?") == []
    assert recalled(memory, "Which seats?", source="bo") == []
    assert recalled(memory, "Which seats?", source="ana") == ["Ana likes window seats."]


def test_memories_are_updated_and_forgotten(memory: Memory) -> None:
    id = tell(memory, "Ana likes window seats.", "/ana")
    memory.update(id, importance=0.9)
    assert recalled(memory, "Ana likes window seats.") == ["Ana likes window seats."]
    memory.update(id, content="Ana likes aisle seats.")
    assert recalled(memory, "seats") == ["Ana likes aisle seats."]
    assert memory.forget(scope="/ana") == 1
    assert recalled(memory, "seats") == []


def test_several_are_remembered_in_the_background(memory: Memory) -> None:
    texts = [f"Seat {n} is free." for n in range(5)]
    memory.remember_many(texts, scope="/train", categories=["told"], importance=0.5)
    memory.drain_writes()
    assert sorted(recalled(memory, "Which seat is free?", scope="/train")) == texts


def test_the_document_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], storage: MemrelayStorage
) -> None:
    monkeypatch.setattr(Memory, "_embedder", property(lambda _: embed))
    document = (inspect.getdoc(crewai) or "").split("Then\n")[1]
    lines = [line[4:] for line in document.splitlines() if line.startswith("    ") or not line]
    exec("\n".join(lines), {})
    assert "Ana likes window seats.\n" in capsys.readouterr().out
    assert storage.count("/ana") == 1
