"""Real agents with ADK's memory tools: what was said in one session is known in another."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from google.adk.agents import Agent
from google.adk.agents.callback_context import CallbackContext
from google.adk.models.base_llm import BaseLlm
from google.adk.models.llm_request import LlmRequest
from google.adk.models.llm_response import LlmResponse
from google.adk.runners import Runner
from google.adk.sessions.in_memory_session_service import InMemorySessionService
from google.adk.tools.load_memory_tool import load_memory_tool
from google.adk.tools.preload_memory_tool import preload_memory_tool
from google.genai.types import Content, FunctionCall, Part
from pydantic import Field

from memrelay.compat.google_adk import MemrelayMemoryService


class ScriptedModel(BaseLlm):
    """Says the next part of its script, and remembers what it was asked."""

    model: str = "scripted"
    says: list[Part]
    heard: list[str] = Field(default_factory=list)

    async def generate_content_async(
        self, llm_request: LlmRequest, stream: bool = False
    ) -> AsyncGenerator[LlmResponse, None]:
        self.heard.append("\n".join(content.model_dump_json() for content in llm_request.contents))
        yield LlmResponse(content=Content(role="model", parts=[self.says.pop(0)]))


async def remember(callback_context: CallbackContext) -> None:
    await callback_context.add_session_to_memory()


async def talk(memory: MemrelayMemoryService, user: str, text: str, agent: Agent) -> str:
    """One session of its own; the last thing that the agent says."""
    sessions = InMemorySessionService()
    runner = Runner(app_name="travel", agent=agent, session_service=sessions, memory_service=memory)
    session = await sessions.create_session(app_name="travel", user_id=user)
    asked = Content(role="user", parts=[Part(text=text)])
    answer = ""
    async for event in runner.run_async(user_id=user, session_id=session.id, new_message=asked):
        if event.is_final_response() and event.content:
            answer = event.content.parts[0].text
    return answer


def agent_of(model: ScriptedModel, **more: Any) -> Agent:
    return Agent(name="assistant", model=model, **more)


async def test_what_was_said_in_one_session_is_loaded_in_another_of_that_user_alone(
    memory: MemrelayMemoryService, user: str
) -> None:
    told = agent_of(ScriptedModel(says=[Part(text="Noted.")]), after_agent_callback=remember)
    assert await talk(memory, user, "My locker's code is 4711.", told) == "Noted."
    for who, known in ((user, True), (f"{user}-other", False)):
        loads = Part(function_call=FunctionCall(name="load_memory", args={"query": "locker"}))
        model = ScriptedModel(says=[loads, Part(text="That is all I know.")])
        agent = agent_of(model, tools=[load_memory_tool])
        assert await talk(memory, who, "What is the code?", agent) == "That is all I know."
        assert "4711" not in model.heard[0]
        assert ("4711" in model.heard[1]) == known


async def test_what_was_said_is_there_before_the_model_is_asked(
    memory: MemrelayMemoryService, user: str
) -> None:
    told = agent_of(ScriptedModel(says=[Part(text="Noted.")]), after_agent_callback=remember)
    await talk(memory, user, "My locker's code is 4711.", told)
    model = ScriptedModel(says=[Part(text="4711.")])
    await talk(
        memory, user, "What is my locker's code?", agent_of(model, tools=[preload_memory_tool])
    )
    assert "<PAST_CONVERSATIONS>" in model.heard[0]
    assert "user: My locker's code is 4711." in model.heard[0]
