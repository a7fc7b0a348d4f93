"""LangChain's own tests of retrievers, unmodified: ours, and the one that a vector store makes."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.retrievers import BaseRetriever
from langchain_tests.integration_tests import RetrieversIntegrationTests

from memrelay import Memrelay
from memrelay.compat.langchain import MemrelayRetriever, MemrelayVectorStore

TEXTS = [
    "Ana prefers window seats.",
    "Ana is allergic to peanuts.",
    "Ana rides a bicycle to work.",
    "Ben plays the cello.",
]


@pytest.fixture(scope="session", autouse=True)
def store(relay: Memrelay) -> MemrelayVectorStore:
    return MemrelayVectorStore.from_texts(TEXTS, relay=relay, user_id="retrievers")


class TestOurs(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _keep(self, store: MemrelayVectorStore) -> None:
        self.store = store

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return MemrelayRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"vectorstore": self.store}

    @property
    def retriever_query_example(self) -> str:
        return "where does Ana like to sit?"


class TestOursByWordsToo(TestOurs):
    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"vectorstore": self.store, "mode": "hybrid"}
