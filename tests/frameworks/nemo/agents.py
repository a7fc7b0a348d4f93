"""Workflows of NAT that run from a YAML file, with a model that follows a script."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from nat.data_models.llm import LLMBaseConfig
from nat.plugin_api import (
    Builder,
    LLMFrameworkEnum,
    LLMProviderInfo,
    register_llm_client,
    register_llm_provider,
)
from nat.runtime.loader import load_workflow


class Script:
    """What the model says next, what it was asked, and who is logged in."""

    says: ClassVar[list[str]] = []
    heard: ClassVar[list[str]] = []
    user: ClassVar[str] = ""


def current_user() -> str:
    return Script.user


class ScriptedModel(BaseChatModel):
    """Says the next line of the script. Running out of lines is an error."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        Script.heard.append("\n".join(str(message.content) for message in messages))
        return ChatResult(generations=[ChatGeneration(message=AIMessage(Script.says.pop(0)))])


class ScriptedConfig(LLMBaseConfig, name="scripted"):
    """A model that follows a script."""


@register_llm_provider(config_type=ScriptedConfig)
async def scripted(config: ScriptedConfig, _builder: Builder) -> AsyncIterator[LLMProviderInfo]:
    yield LLMProviderInfo(config=config, description="follows a script")


@register_llm_client(config_type=ScriptedConfig, wrapper_type=LLMFrameworkEnum.LANGCHAIN)
async def scripted_langchain(_config: ScriptedConfig, _builder: Builder) -> AsyncIterator[Any]:
    yield ScriptedModel()


def calls(tool: str, **given: Any) -> str:
    return f"Thought: I use a tool\nAction: {tool}\nAction Input: {json.dumps(given)}\n"


def answers(text: str) -> str:
    return f"Thought: I now know the final answer\nFinal Answer: {text}"


async def run(workflow: str, user: str, question: str, says: Sequence[str], path: Path) -> str:
    """One run of the workflow in a NAT of its own; the model says these lines, all of them."""
    path.write_text(workflow)  # noqa: ASYNC240 - nobody else is on this loop
    Script.says[:], Script.heard[:], Script.user = says, [], user
    async with (
        load_workflow(path) as manager,
        manager.session(user_id=user) as session,
        session.run(question) as runner,
    ):
        answer: str = await runner.result(to_type=str)
    assert Script.says == []
    return answer
