"""Real agents that remember in a session: what was said in one run is known in the next."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest
from agents import Agent, RunConfig, Runner, SessionSettings, function_tool
from agents.models.multi_provider import MultiProvider
from agents.testing import ScriptedModel, assistant_message, function_call

from memrelay.client import AsyncMemrelay
from memrelay.compat import openai_agents
from memrelay.compat.openai_agents import MemrelaySession


@pytest.fixture(autouse=True)
def _no_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_AGENTS_DISABLE_TRACING", "1")


@function_tool
def seats(train: str) -> str:
    return f"{train}: window 4A"


def outline(items: Any) -> list[str]:
    return [item.get("role") or item["type"] for item in items]


async def test_the_second_turn_knows_the_first(session: MemrelaySession) -> None:
    model = ScriptedModel(
        [
            [function_call("seats", {"train": "ICE 7"}, call_id="call-1")],
            [assistant_message("4A is free.")],
            [assistant_message("You asked about ICE 7.")],
        ]
    )
    agent = Agent(name="assistant", model=model, tools=[seats])
    first = await Runner.run(agent, "A window seat in ICE 7?", session=session)
    assert first.final_output == "4A is free."
    second = await Runner.run(agent, "Which train was it?", session=session)
    assert second.final_output == "You asked about ICE 7."
    heard = model.last_call.input
    turn = ["user", "function_call", "function_call_output", "assistant"]
    assert outline(heard) == [*turn, "user"]
    assert "ICE 7: window 4A" in str(heard[2])
    held = await session.get_items()
    assert held[:5] == heard
    assert outline(held) == [*turn, "user", "assistant"]
    model.assert_complete()


async def test_a_run_may_bound_what_it_hears(session: MemrelaySession) -> None:
    model = ScriptedModel([[assistant_message(str(n))] for n in range(3)])
    agent = Agent(name="assistant", model=model)
    for n in range(2):
        await Runner.run(agent, f"question {n}", session=session)
    last = RunConfig(session_settings=SessionSettings(limit=1))
    await Runner.run(agent, "question 2", session=session, run_config=last)
    assert outline(model.last_call.input) == ["assistant", "user"]
    assert len(await session.get_items()) == 6


async def test_a_streamed_turn_is_remembered(session: MemrelaySession) -> None:
    model = ScriptedModel([[assistant_message("Hello Ana.")], [assistant_message("Ana.")]])
    agent = Agent(name="assistant", model=model)
    streamed = Runner.run_streamed(agent, "I am Ana.", session=session)
    async for _ in streamed.stream_events():
        pass
    assert streamed.final_output == "Hello Ana."
    await Runner.run(agent, "Who am I?", session=session)
    assert outline(model.last_call.input) == ["user", "assistant", "user"]


async def test_a_turn_is_corrected_by_popping_it(session: MemrelaySession) -> None:
    model = ScriptedModel([[assistant_message("42")], [assistant_message("4")]])
    agent = Agent(name="assistant", model=model)
    await Runner.run(agent, "What is 2 + 2?", session=session)
    await session.pop_item()
    await session.pop_item()
    await Runner.run(agent, "What is two and two?", session=session)
    assert outline(model.last_call.input) == ["user"]


async def test_the_document_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ScriptedModel([[assistant_message("Noted.")], [assistant_message("At the window.")]])
    monkeypatch.setattr(MultiProvider, "get_model", lambda *_: model)
    document = inspect.getdoc(openai_agents) or ""
    lines = [line[4:] for line in document.splitlines() if line.startswith("    ") or not line]
    await asyncio.to_thread(exec, "\n".join(lines), {})
    assert capsys.readouterr().out == "At the window.\n"
    assert outline(model.last_call.input) == ["user", "assistant", "user"]
    async with AsyncMemrelay() as relay:
        await MemrelaySession("ana", relay).clear_session()
