"""LangChain on memrelay: a vector store, a retriever and a key-value store. Needs ``memrelay[langchain]``.

    store = MemrelayVectorStore(relay=Memrelay("http://127.0.0.1:8700"))
    store.add_texts(["Ana prefers window seats."])
    MemrelayRetriever(vectorstore=store, k=1).invoke("where does Ana like to sit?")

Methods and their async forms share one ``Memrelay``, which serves threads and event loops alike. They
raise memrelay's errors.
"""

from memrelay.compat.langchain.retriever import MemrelayRetriever
from memrelay.compat.langchain.values import MemrelayValueStore
from memrelay.compat.langchain.vectors import MemrelayVectorStore

__all__ = ["MemrelayRetriever", "MemrelayValueStore", "MemrelayVectorStore"]
