"""The custom driver: the driver conformance suite on two stores, and stores and factories that do not do.

One store is written as the seed document has it; the other is agent-memory-server's own, on Redis.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from agent_memory_server.models import MemoryRecord, MemoryRecordResults

from backends.custom import create
from memrelay.driver import Driver
from memrelay.errors import ConfigError, Permanent, Unavailable
from memrelay.testing.conformance import DriverConformance
from memrelay.testing.conformance.harness import apply_all, fresh_scope, semantic
from memrelay.testing.samples import upsert, upserts, vector
from memrelay.types import Delete

type MakeDriver = Callable[[str], Driver]

STORE = """
from my_backends import MyCustomMemoryVectorDatabase
import my_backends

class Store(MyCustomMemoryVectorDatabase):
{body}

def create(embeddings):
    return Store(embeddings)
"""


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    for module in ("my_backends", "redis_backends", "strange_backends"):
        monkeypatch.delitem(sys.modules, module, raising=False)


class TestCustom(DriverConformance):
    @pytest.fixture
    async def driver(self) -> AsyncIterator[Driver]:
        driver = create("custom", {"factory": "my_backends.create_my_backend"})
        await driver.open()
        yield driver
        await driver.close()


class TestRedisStore(DriverConformance):
    gaps: ClassVar[Mapping[str, str]] = {
        "test_a_space_of_another_dimension_is_another_world": "its index has one dimension",
        "test_the_largest_dimension_works": "its index has one dimension",
    }

    @pytest.fixture
    async def driver(self) -> AsyncIterator[Driver]:
        driver = create("custom", {"factory": "redis_backends.create"})
        await driver.open()
        yield driver
        await driver.close()


@pytest.fixture
def written(tmp_path: Path) -> MakeDriver:
    """The driver, not opened, of ``strange_backends.create`` in a module of this source."""

    def write(source: str) -> Driver:
        (tmp_path / "strange_backends.py").write_text(source)
        return create("custom", {"factory": "strange_backends.create"})

    return write


@pytest.fixture
def strange(written: MakeDriver) -> MakeDriver:
    """The driver, not opened, of the seed document's store with this in its class."""
    return lambda body: written(STORE.format(body=body))


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("nodots", "Invalid factory path: nodots. Must be in format 'module.function'"),
        (
            "no_such_module.create",
            "Failed to import factory function no_such_module.create: No module named",
        ),
        ("my_backends.nothing", "Function nothing not found in module my_backends: "),
        ("memrelay.compat.agent_memory_server.create", "cannot be its own store"),
        ("MyStore.my_backends.create", "Failed to import factory function"),
    ],
)
def test_a_factory_that_is_not_there_stops_the_start(factory: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        create("mine", {"factory": factory})
    assert str(error.value).startswith("drivers.mine.factory: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_module_that_fails_when_imported_stops_the_start(written: MakeDriver) -> None:
    with pytest.raises(ConfigError, match=r"Failed to import .*: no licence"):
        written("raise RuntimeError('no licence')")


@pytest.mark.parametrize(
    ("source", "got"),
    [
        ("def create(embeddings): return 'text'", "<class 'str'>"),
        ("async def create(embeddings): return 'text'", "<class 'coroutine'>"),
        ("def create(embeddings): pass", "<class 'NoneType'>"),
    ],
)
async def test_a_factory_must_return_a_store(written: MakeDriver, source: str, got: str) -> None:
    driver = written(source)
    with pytest.raises(ConfigError) as error:
        await driver.open()
    assert str(error.value) == (
        "drivers.custom.factory: Factory function strange_backends.create must return "
        f"MemoryVectorDatabase, got {got}"
    )


async def test_a_factory_that_fails_may_work_later(written: MakeDriver, tmp_path: Path) -> None:
    flag = tmp_path / "up"
    driver = written(
        "from pathlib import Path\n"
        "from my_backends import create_my_backend\n"
        "def create(embeddings):\n"
        f"    Path({str(flag)!r}).read_text()\n"
        "    return create_my_backend(embeddings)\n"
    )
    with pytest.raises(Unavailable, match=r"Error calling factory function strange_backends\.crea"):
        await driver.open()
    flag.touch()
    await driver.open()
    await driver.ping()


async def test_a_store_itself_will_do_if_it_can_be_given_our_vectors(written: MakeDriver) -> None:
    driver = written(
        "from my_backends import MyCustomMemoryVectorDatabase\n"
        "create = MyCustomMemoryVectorDatabase(None)"
    )
    await driver.open()
    scope = fresh_scope()
    await driver.ensure(scope)
    model = await apply_all(driver, scope, upserts(5))
    assert len(await semantic(driver, scope)) == len(model.live())


async def test_a_store_itself_that_keeps_its_embeddings_elsewhere_will_not(
    written: MakeDriver,
) -> None:
    driver = written(
        "from my_backends import MyCustomMemoryVectorDatabase\n"
        "create = MyCustomMemoryVectorDatabase(None)\n"
        "del create.embeddings"
    )
    with pytest.raises(ConfigError, match="without the attribute embeddings"):
        await driver.open()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "    async def add_memories(self, memories):\n"
            "        return await super().add_memories(\n"
            "            [m.model_copy(update={'extracted_from': None}) for m in memories])",
            "list_memories by id does not give back, whole, what add_memories was given",
        ),
        (
            "    async def add_memories(self, memories):\n        return [m.id for m in memories]",
            "list_memories by id does not give back, whole, what add_memories was given",
        ),
        (
            "    async def list_memories(self, namespace=None, **options):\n"
            "        if namespace is not None:\n            options['limit'] = 0\n"
            "        return await super().list_memories(**options)",
            "list_memories by namespace does not give what is in it",
        ),
        (
            "    async def search_memories(self, query, **options):\n"
            "        return await super().search_memories(query, limit=0)",
            "search_memories does not find a record by its own vector, user and namespace",
        ),
        (
            "    async def update_memories(self, memories):\n        return len(memories)",
            "update_memories does not replace a record",
        ),
        (
            "    async def delete_memories(self, memory_ids):\n        return len(memory_ids)",
            "delete_memories does not delete",
        ),
    ],
)
async def test_a_store_that_does_not_keep_its_interface_is_not_used(
    strange: MakeDriver, body: str, message: str
) -> None:
    driver = strange(body)
    await driver.open()
    with pytest.raises(ConfigError) as error:
        await driver.ensure(fresh_scope())
    assert str(error.value) == f"drivers.custom.factory: the store cannot be used: {message}"


async def test_a_probe_leaves_nothing_behind(written: MakeDriver) -> None:
    driver = written(
        "from my_backends import MyCustomMemoryVectorDatabase\n"
        "create = MyCustomMemoryVectorDatabase(None)"
    )
    await driver.open()
    await driver.ensure(fresh_scope())
    assert sys.modules["strange_backends"].create.kept == {}


async def test_what_the_store_refuses_fails_alone(strange: MakeDriver) -> None:
    driver = strange(
        "    async def add_memories(self, memories):\n"
        "        if any('poison' in m.text for m in memories):\n"
        "            raise ValueError('no poison')\n"
        "        return await super().add_memories(memories)"
    )
    await driver.open()
    scope = fresh_scope()
    bad = upsert("bad", text="poison", version=99)
    outcomes = await driver.apply(scope, [*upserts(5), bad, Delete("gone", 100)])
    failures = {id: outcome for id, outcome in outcomes.items() if outcome.status != "applied"}
    assert failures.keys() == {"bad"}
    assert isinstance(failures["bad"].error, Permanent)
    assert await driver.count(scope, None, now=0) == 5


@pytest.mark.parametrize("error", ["ConnectionError('away')", "RuntimeError('busy')"])
async def test_what_may_pass_is_tried_again(strange: MakeDriver, error: str) -> None:
    driver = strange(f"    async def add_memories(self, memories):\n        raise {error}")
    await driver.open()
    with pytest.raises(Unavailable, match=r"custom: .*Error: "):
        await driver.apply(fresh_scope(), upserts(2))


async def test_equal_texts_keep_their_own_vectors(strange: MakeDriver) -> None:
    driver = strange("    pass")
    await driver.open()
    scope = fresh_scope()
    ops = [upsert(f"m{n}", version=n + 1, text="the same", vector=vector(n)) for n in range(6)]
    model = await apply_all(driver, scope, ops)
    for op in ops:
        (best, *_) = await semantic(driver, scope, axis=op.vector, top_k=1)
        assert (best.memory.id, best.score) == (op.id, pytest.approx(1.0))
    assert len(model.live()) == 6


async def test_the_store_holds_readable_records(written: MakeDriver) -> None:
    driver = written(
        "from my_backends import MyCustomMemoryVectorDatabase\n"
        "create = MyCustomMemoryVectorDatabase(None)"
    )
    await driver.open()
    await apply_all(
        driver, fresh_scope(), [upsert("a", text="Ana", user_id="ana", tags=("x", "y,z"))]
    )
    store: Any = sys.modules["strange_backends"].create
    found: MemoryRecordResults = await store.list_memories()
    record: MemoryRecord = found.memories[0]
    assert (record.text, record.user_id, record.topics) == ("Ana", "ana", ["x"])
