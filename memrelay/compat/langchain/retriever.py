"""``BaseRetriever`` on a vector store of ours."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict

from memrelay.compat.langchain.vectors import MemrelayVectorStore, Mode


class MemrelayRetriever(BaseRetriever):
    """The ``k`` best documents of a store; ``invoke`` takes ``k``, ``filter`` and ``mode`` too.

    Found by keywords too in ``mode`` ``hybrid``. ``filter`` is memrelay's.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    vectorstore: MemrelayVectorStore
    k: int = 4
    filter: dict[str, Any] | None = None
    mode: Mode = "semantic"

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **options: Any
    ) -> list[Document]:
        return self.vectorstore.similarity_search(query, **self._asked(options))

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **options: Any
    ) -> list[Document]:
        return await self.vectorstore.asimilarity_search(query, **self._asked(options))

    def _asked(self, options: dict[str, Any]) -> dict[str, Any]:
        return {"k": self.k, "filter": self.filter, "mode": self.mode} | options
