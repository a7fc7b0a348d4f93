"""Agents of NAT, from a YAML file to an answer, that remember in memrelay."""

from __future__ import annotations

from pathlib import Path

import pytest
from agents import Script, answers, calls, run

from memrelay import AsyncMemrelay

REACT = """
llms:
  my_llm: {_type: scripted}
memory:
  store: {_type: memrelay}
functions:
  add_memory: {_type: add_memory, memory: store, user_id_resolver: agents.current_user}
  get_memory: {_type: get_memory, memory: store, user_id_resolver: agents.current_user}
  delete_memory: {_type: delete_memory, memory: store, user_id_resolver: agents.current_user}
workflow:
  _type: react_agent
  llm_name: my_llm
  tool_names: [add_memory, get_memory, delete_memory]
"""
AUTO = """
llms:
  my_llm: {_type: scripted}
memory:
  store: {_type: memrelay}
functions:
  add_memory: {_type: add_memory, memory: store, user_id: somebody-else}
  my_agent:
    _type: react_agent
    llm_name: my_llm
    tool_names: [add_memory]
workflow:
  _type: auto_memory_agent
  inner_agent_name: my_agent
  memory_name: store
  llm_name: my_llm
  description: an agent that remembers
"""


async def test_an_agent_adds_finds_and_deletes_with_its_tools(user: str, tmp_path: Path) -> None:
    path, other = tmp_path / "config.yml", f"{user}-other"
    add = calls("add_memory", memory="Prefers window seats", tags=["travel"], metadata={"n": 1})
    get = calls("get_memory", query="seats on trains", top_k=5)
    assert await run(REACT, user, "I like window seats", [add, answers("Noted")], path) == "Noted"
    assert "Memory added successfully" in Script.heard[-1]
    await run(REACT, user, "Where do I like to sit?", [get, answers("At the window")], path)
    assert '"memory": "Prefers window seats"' in Script.heard[-1]
    assert '"tags": ["travel"], "metadata": {"n": 1}' in Script.heard[-1]
    await run(REACT, other, "Where do I like to sit?", [get, answers("I do not know")], path)
    assert "Memories as a JSON: \n[]" in Script.heard[-1]
    await run(REACT, other, "Forget me", [calls("delete_memory"), answers("Done")], path)
    await run(REACT, user, "Where do I like to sit?", [get, answers("At the window")], path)
    assert "Prefers window seats" in Script.heard[-1]
    forget = [calls("delete_memory"), get, answers("Done")]
    await run(REACT, user, "Forget me", forget, path)
    assert "Memories deleted!" in Script.heard[1]
    assert "Memories as a JSON: \n[]" in Script.heard[2]


async def test_the_model_cannot_choose_whose_memories_it_works_on(
    user: str, tmp_path: Path
) -> None:
    other = f"{user}-other"
    forged = calls("add_memory", memory="Forged", user_id=other)
    await run(REACT, user, "Remember", [forged, answers("No")], tmp_path / "config.yml")
    async with AsyncMemrelay() as relay:
        assert (await relay.count(user_ids=[user, other])).count == 0


async def test_what_was_said_in_one_run_is_known_in_the_next_of_that_user_alone(
    user: str, tmp_path: Path
) -> None:
    path, other = tmp_path / "config.yml", f"{user}-other"
    told = "My locker's code is 4711, keep it in mind."
    assert await run(AUTO, user, told, [answers("I will keep it in mind.")], path) == (
        "I will keep it in mind."
    )
    assert "Relevant context" not in Script.heard[0]
    await run(AUTO, user, "What is the code of my locker?", [answers("It is 4711.")], path)
    assert f"Relevant context from memory:\n{told}" in Script.heard[0]
    await run(AUTO, other, "What is the code of my locker?", [answers("I do not know.")], path)
    assert "4711" not in Script.heard[0]
    async with AsyncMemrelay() as relay:
        hits = (await relay.search("locker", user_id=user)).hits
        assert {hit.text for hit in hits} == {
            told,
            "I will keep it in mind.",
            "What is the code of my locker?",
            "It is 4711.",
        }
        assert (await relay.count(user_id=other)).count == 2


@pytest.mark.parametrize("search_params", ["{top_k: 1}", "{mode: keyword, top_k: 1}"])
async def test_an_agent_that_remembers_takes_parameters_of_the_provider(
    user: str, tmp_path: Path, search_params: str
) -> None:
    path = tmp_path / "config.yml"
    more = f"  search_params: {search_params}\n  add_params: {{session_id: talk}}\n"
    for told in ("The stove is broken.", "Ana likes window seats."):
        await run(AUTO + more, user, told, [answers("Noted")], path)
    await run(AUTO + more, user, "Window seats?", [answers("Ana's")], path)
    assert "from memory:\nAna likes window seats.\n" in Script.heard[0] + "\n"
    assert "stove" not in Script.heard[0]
    async with AsyncMemrelay() as relay:
        assert (await relay.count(user_id=user, session_id="talk")).count == 6


async def test_an_agent_that_remembers_does_nothing_for_nobody(tmp_path: Path) -> None:
    async with AsyncMemrelay() as relay:
        before = (await relay.count()).count
        failed = await run(AUTO, "", "Remember that", [], tmp_path / "config.yml")
        assert failed == "Auto-memory agent failed"
        assert (await relay.count()).count == before
