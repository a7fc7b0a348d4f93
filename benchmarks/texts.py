"""Deterministic memories for benchmarks: the words of the sample conversation, mixed anew."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

SAMPLE = Path(__file__).parent.parent / "examples" / "conversation.ndjson"


def memories(count: int, *, users: int, seed: int, prefix: str = "m") -> list[dict[str, Any]]:
    """``count`` memories of about 300 characters over ``users`` users, as the API takes them."""
    random = Random(seed)
    lines = SAMPLE.read_text().splitlines()
    words = sorted({word for line in lines for word in json.loads(line)["text"].split()})
    return [
        {
            "id": f"{prefix}-{seed}-{index}",
            "text": " ".join(random.choices(words, k=50)),
            "user_id": f"user-{random.randrange(users)}",
            "tags": ["bench"],
            "metadata": {"n": index, "category": random.choice(["a", "b", "c"])},
        }
        for index in range(count)
    ]
