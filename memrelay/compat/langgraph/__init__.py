"""LangGraph's long-term memory (``store=``) on memrelay. Needs ``memrelay[langgraph]``.

store = MemrelayStore(relay=Memrelay("http://127.0.0.1:8700"), index={"fields": ["text"]})
store.put(("memories", "ana"), "seat", {"text": "Ana prefers window seats."})
store.search(("memories",), query="where does Ana like to sit?")
"""

from memrelay.compat.langgraph.store import MemrelayStore

__all__ = ["MemrelayStore"]
