"""``memories`` and ``global_knowledge``, as the document's users have them; existing ones stay as they are.

Vectors have the dimensions of the model that MEMORY_EMBEDDING names. Indexes of vectors come later
(``index``): an ivfflat index learns its lists from the rows that are there.
"""

from __future__ import annotations

from backends.memory_driver.migration import Step

TABLES = """
CREATE TABLE IF NOT EXISTS memories (
    id text PRIMARY KEY,
    user_id text NOT NULL,
    conversation_id text,
    content text NOT NULL,
    tags text[] NOT NULL DEFAULT '{{}}',
    metadata jsonb NOT NULL DEFAULT '{{}}',
    embedding vector({dimensions}),
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS idx_memories_user_id ON memories (user_id, created_at);
CREATE INDEX IF NOT EXISTS idx_memories_conversation_id ON memories (conversation_id);
CREATE INDEX IF NOT EXISTS idx_memories_tags ON memories USING gin (tags);
CREATE TABLE IF NOT EXISTS global_knowledge (
    id text PRIMARY KEY,
    content text NOT NULL,
    category text NOT NULL,
    title text,
    doc_id text,
    tags text[] NOT NULL DEFAULT '{{}}',
    metadata jsonb NOT NULL DEFAULT '{{}}',
    embedding vector({dimensions}),
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS idx_knowledge_category ON global_knowledge (category);
CREATE UNIQUE INDEX IF NOT EXISTS idx_knowledge_doc_id ON global_knowledge (doc_id);
CREATE INDEX IF NOT EXISTS idx_knowledge_tags ON global_knowledge USING gin (tags);
"""


def upgrade(step: Step) -> None:
    step.extension("vector")
    step.execute(TABLES.format(dimensions=step.dimensions))


def downgrade(step: Step) -> None:
    """The extension stays: other tables may have vectors too."""
    step.execute("DROP TABLE IF EXISTS global_knowledge, memories")
