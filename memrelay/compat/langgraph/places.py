"""Where an item lies: its namespace and key as one key of memrelay, and tags for its namespace's prefixes.

``i:memories.ana.:seat`` is ``seat`` in ``("memories", "ana")``. Keys of one namespace lie together, those
of its children after it, so that all below a prefix are one stretch. Long ones are shortened, and lie in
the order of their digests.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

Namespace = tuple[str, ...]
ITEM = "i:"
PART = "p:"
LONGEST = 256
KEPT = 200
_SPECIAL = re.compile(r"[%.:*?\[\x00-\x1f\x7f-\x9f]")
_QUOTED = re.compile(r"%([0-9A-F]{2})")


@dataclass(frozen=True, slots=True)
class Place:
    """One item's."""

    namespace: Namespace
    key: str

    @property
    def name(self) -> str:
        """Its key of memrelay: readable, or of exactly 256 characters and with a digest at its end."""
        plain = f"{start_of(self.namespace)}:{_quoted(self.key)}"
        return plain if len(plain) < LONGEST else f"{plain[:KEPT]}~{_digest(plain):.>55}"

    def part(self, number: int) -> str:
        """The key of one of the texts that it is found by."""
        return f"{PART}{_digest(self.name)}:{number}"

    def parts(self, first: int, end: int) -> list[str]:
        return [self.part(number) for number in range(first, end)]

    @property
    def tags(self) -> list[str]:
        """One for each prefix of its namespace, the empty one left out."""
        return [tag_of(self.namespace[:depth]) for depth in range(1, len(self.namespace) + 1)]


def start_of(namespace: Sequence[str]) -> str:
    """What the names of all items below a namespace begin with, or themselves are the beginning of."""
    return ITEM + "".join(f"{_quoted(label)}." for label in namespace)


def pattern_of(prefix: Sequence[str]) -> str:
    """A glob that all names below a prefix match; others too if the prefix is a very long one."""
    return f"{start_of(prefix)[:KEPT]}*"


def tag_of(prefix: Namespace) -> str:
    return f"in:{_digest(json.dumps(prefix))}"


def namespace_in(name: str) -> Namespace | None:
    """The namespace in a readable name; None in a shortened one."""
    if len(name) == LONGEST:
        return None
    labels, _, _ = name.removeprefix(ITEM).partition(":")
    return tuple(map(_unquoted, labels.split(".")[:-1]))


def _quoted(label: str) -> str:
    return _SPECIAL.sub(lambda special: f"%{ord(special[0]):02X}", label)


def _unquoted(text: str) -> str:
    return _QUOTED.sub(lambda quoted: chr(int(quoted[1], 16)), text)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
