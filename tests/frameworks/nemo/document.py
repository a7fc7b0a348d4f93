"""The examples of NAT's document on memory providers, with today's names (``aiq`` is ``nat`` now).

First a provider of one's own exactly as the document has it, then what it does with a provider, on memrelay.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from agents import Script, answers, calls, run
from langchain_core.tools import ToolException
from nat.builder.workflow_builder import WorkflowBuilder
from nat.data_models.memory import MemoryBaseConfig
from nat.memory.interfaces import MemoryEditor
from nat.memory.models import DeleteMemoryInput, MemoryItem, SearchMemoryInput
from nat.plugin_api import Builder, Context, register_memory
from nat.plugins.memrelay.editor import MemrelayEditor
from nat.runtime.loader import load_config


class MyCustomMemoryConfig(MemoryBaseConfig, name="my_custom_memory"):
    # You can define any fields you want. For example:
    connection_url: str
    api_key: str


class MyCustomMemoryEditor(MemoryEditor):
    def __init__(self, config: MyCustomMemoryConfig):
        self._api_key = config.api_key
        self._conn_url = config.connection_url
        # Possibly set up connections here

    async def add_items(self, items: list[MemoryItem]) -> None:
        # Insert into your custom DB or vector store
        ...

    async def search(self, query: str, top_k: int = 5, **kwargs) -> list[MemoryItem]:
        # Perform your query in the DB or vector store
        ...

    async def remove_items(self, **kwargs) -> None:
        # Implement your deletion logic
        ...


@register_memory(config_type=MyCustomMemoryConfig)
async def my_custom_memory(config: MyCustomMemoryConfig, builder: Builder) -> AsyncIterator[Any]:
    yield MyCustomMemoryEditor(config)


class MySkeletonConfig(MemoryBaseConfig, name="my_skeleton_memory"):
    url: str
    token: str


class MySkeletonEditor(MemoryEditor):
    def __init__(self, cfg: MySkeletonConfig):
        self._url = cfg.url
        self._token = cfg.token

    async def add_items(self, items: list[MemoryItem]) -> None:
        # ...
        pass

    async def search(self, query: str, top_k: int = 5, **kwargs) -> list[MemoryItem]:
        # ...
        pass

    async def remove_items(self, **kwargs) -> None:
        # ...
        pass


@register_memory(config_type=MySkeletonConfig)
async def my_skeleton_memory(cfg: MySkeletonConfig, builder: Builder) -> AsyncIterator[Any]:
    yield MySkeletonEditor(cfg)


MY_STORE = """
memory:
  my_store:
    _type: my_custom_memory
    connection_url: "http://localhost:1234"
    api_key: "some-secret"
"""
SKELETON = """
memory:
  my_store:
    _type: my_skeleton_memory
    url: "http://localhost:1234"
    token: "some-secret"
"""
USER_STORE = """
memory:
  user_store:
    _type: memrelay
    # any other fields your config requires
"""
SAAS_MEMORY = """
memory:
  saas_memory:
    _type: memrelay
"""
FUNCTIONS = """
functions:
  add_memory:
    _type: add_memory
    memory: saas_memory
    user_id: USER
    description: |
      Add any facts about user preferences to long term memory. Always use this if users mention a preference.
      The input to this tool should be a string that describes the user's preference, not the question or answer.
  get_memory:
    _type: get_memory
    memory: saas_memory
    user_id: USER
    description: |
      Always call this tool before calling any other tools, even if the user does not mention to use it.
      The question should be about user preferences which will help you format your response.
      For example: "How does the user like responses formatted?"
"""
WORKFLOW = """
workflow:
  _type: react_agent
  tool_names:
    - add_memory
    - get_memory
  llm_name: nim_llm
"""
MODEL = """
llms:
  nim_llm: {_type: scripted}
"""


@asynccontextmanager
async def built(text: str, path: Path) -> AsyncIterator[WorkflowBuilder]:
    """What NAT makes of the memories of a configuration file."""
    path.write_text(text)  # noqa: ASYNC240 - nobody else is on this loop
    config = load_config(path)
    async with WorkflowBuilder() as builder:
        for name, memory in config.memory.items():
            await builder.add_memory_client(name, memory)
        yield builder


@pytest.mark.parametrize(
    ("text", "kind"), [(MY_STORE, MyCustomMemoryEditor), (SKELETON, MySkeletonEditor)]
)
async def test_a_provider_as_in_the_document_is_built(
    text: str, kind: type, tmp_path: Path
) -> None:
    async with built(text, tmp_path / "config.yml") as builder:
        memory_client = await builder.get_memory_client("my_store")
        assert isinstance(memory_client, kind)
        assert set(vars(memory_client).values()) == {"http://localhost:1234", "some-secret"}
        await memory_client.add_items([MemoryItem(user_id="ana", memory="x")])
        assert await memory_client.search("x", user_id="ana") is None
        await memory_client.remove_items(user_id="ana")


async def test_the_item_of_the_document_comes_back(user: str, tmp_path: Path) -> None:
    item = MemoryItem(
        conversation=[{"role": "user", "content": "I like trains"}],
        tags=[],
        metadata={"any": 1},
        user_id=user,
        memory=None,
    )
    async with built(USER_STORE, tmp_path / "config.yml") as builder:
        client = await builder.get_memory_client("user_store")
        assert isinstance(client, MemrelayEditor)
        await client.add_items([item])
        (back,) = await client.search(
            **SearchMemoryInput(query="trains", top_k=1, user_id=user).model_dump()
        )
        assert (back.conversation, back.metadata) == (item.conversation, item.metadata)
        await client.remove_items(**DeleteMemoryInput(user_id=user).model_dump())
        assert await client.search("trains", user_id=user) == []


async def test_what_code_does_at_runtime(user: str, tmp_path: Path) -> None:
    async with built(USER_STORE, tmp_path / "config.yml") as builder:
        memory_client = await builder.get_memory_client("user_store")
        with Context.scope(user_id=user):  # where code runs at runtime; the example names nobody
            await memory_client.add_items(
                [MemoryItem(user_id=user, memory="The user preferred tea")]
            )
            memories = await memory_client.search(query="What did user prefer last time?", top_k=3)
        assert [memory.memory for memory in memories] == ["The user preferred tea"]
        with pytest.raises(KeyError):
            await memory_client.search(query="What did user prefer last time?", top_k=3)


async def test_a_tool_of_ones_own(user: str, tmp_path: Path) -> None:
    async with built(USER_STORE, tmp_path / "config.yml") as builder:

        async def add_memory_tool_action(item: MemoryItem, memory_name: str):
            memory_client = await builder.get_memory_client(memory_name)
            try:
                await memory_client.add_items([item])
                return "Memory added successfully"
            except Exception as e:
                raise ToolException(f"Error adding memory: {e}")  # noqa: B904

        item = MemoryItem(user_id=user, memory="The user likes tea")
        assert await add_memory_tool_action(item, "user_store") == "Memory added successfully"
        with pytest.raises(ToolException, match=r"Error adding memory: .*/memories/0/user_id"):
            await add_memory_tool_action(MemoryItem(user_id="", memory="x"), "user_store")


async def test_the_example_configuration(user: str, tmp_path: Path) -> None:
    text = MODEL + SAAS_MEMORY + FUNCTIONS.replace("USER", user) + WORKFLOW
    path = tmp_path / "config.yml"
    get = calls("get_memory", query="How does the user like responses formatted?", top_k=1)
    add = calls("add_memory", memory="Likes bullet points", metadata={"sure": True})
    said = [get, add, get, answers("Noted")]
    assert await run(text, user, "I like bullet points", said, path) == "Noted"
    assert "Always call this tool before calling any other tools" in Script.heard[0]
    assert "Memories as a JSON: \n[]" in Script.heard[1]
    assert "Memory added successfully" in Script.heard[2]
    (item,) = json.loads(Script.heard[3].rpartition("Memories as a JSON: \n")[2])
    assert (item["memory"], item["metadata"]) == ("Likes bullet points", {"sure": True})
    assert item["conversation"] == [{"role": "user", "content": "Likes bullet points"}]
