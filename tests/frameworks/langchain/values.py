"""LangChain's own tests of key-value stores, unmodified: text, bytes and JSON."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Empty
from langchain_core.stores import BaseStore
from langchain_tests.integration_tests import BaseStoreAsyncTests, BaseStoreSyncTests

from memrelay import Memrelay
from memrelay.compat.langchain import MemrelayValueStore


class _Texts:
    @pytest.fixture
    def three_values(self) -> tuple[Any, Any, Any]:
        return ("foo", "", " two\nlines ")


class _Bytes:
    @pytest.fixture
    def three_values(self) -> tuple[Any, Any, Any]:
        return (b"foo", b"", bytes(range(256)))


class _Json:
    @pytest.fixture
    def three_values(self) -> tuple[Any, Any, Any]:
        return ({"b": [1, 2.5, None]}, {"$bytes": "Zm9v"}, [{"$json": 1}, True])


class _Synchronous(BaseStoreSyncTests[Any]):
    @pytest.fixture
    def kv_store(self, relay: Memrelay, empty: Empty) -> BaseStore[str, Any]:
        empty("default")
        return MemrelayValueStore(relay=relay)


class _Asynchronous(BaseStoreAsyncTests[Any]):
    @pytest.fixture
    async def kv_store(self, relay: Memrelay, empty: Empty) -> BaseStore[str, Any]:
        empty("default")
        return MemrelayValueStore(relay=relay)


class TestTexts(_Texts, _Synchronous):
    pass


class TestBytes(_Bytes, _Synchronous):
    pass


class TestJson(_Json, _Synchronous):
    pass


class TestTextsAsynchronously(_Texts, _Asynchronous):
    pass


class TestBytesAsynchronously(_Bytes, _Asynchronous):
    pass


class TestJsonAsynchronously(_Json, _Asynchronous):
    pass
