"""LangChain's own tests of vector stores, unmodified: vectors of the caller's, and of the service."""

from __future__ import annotations

import pytest
from conftest import Empty
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import VectorStoreIntegrationTests

from memrelay import Memrelay
from memrelay.compat.langchain import MemrelayVectorStore


class TestVectorsFromTheCaller(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, relay: Memrelay, empty: Empty) -> VectorStore:
        empty("brought")
        return MemrelayVectorStore(self.get_embeddings(), relay=relay, source="brought")


class TestVectorsFromTheService(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, relay: Memrelay, empty: Empty) -> VectorStore:
        empty("default")
        return MemrelayVectorStore(relay=relay)


class TestOneUsers(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, relay: Memrelay, empty: Empty) -> VectorStore:
        empty("default")
        relay.add({"text": "foo", "user_id": "somebody else"}, wait=60)
        return MemrelayVectorStore(relay=relay, user_id="ana")
