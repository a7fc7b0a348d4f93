"""Keys and values kept as memories: which id a key has, what its text is, how a value comes back.

A key of a key namespace is a memory with an id of ours, of a user of ours, so that it meets no memory
that somebody else wrote: ``memrelay.key:<namespace>:<key>`` of user ``memrelay.key:<namespace>``. The
default namespace is empty. Ids of one namespace lie together, in the order of their keys.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import translate

from memrelay.types import Json, Memory

OWN = "memrelay."
"""Metadata fields that begin so are ours."""
KEY_FIELD = "memrelay.key"
JSON_FIELD = "memrelay.json"
PREFIX = "memrelay.key:"
ID_CHARACTERS = 256
_DIGEST = 33
_WILD = re.compile(r"[*?]")
_LAST = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class KeySpace:
    """The keys of one key namespace in one source."""

    namespace: str = ""

    @property
    def user_id(self) -> str:
        return f"{PREFIX}{self.namespace}"

    @property
    def head(self) -> str:
        """What its ids begin with, and no other's."""
        return f"{PREFIX}{self.namespace.replace('%', '%25').replace(':', '%3A')}:"

    def id_of(self, key: str) -> str:
        """Less than 256 characters and readable, or exactly 256 that end with a digest of the key."""
        plain = self.head + key
        if len(plain) < ID_CHARACTERS:
            return plain
        digest = hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
        return f"{plain[: ID_CHARACTERS - _DIGEST]}~{digest}"

    def start_of(self, prefix: str) -> str:
        """What the ids of all keys with that prefix begin with."""
        return (self.head + prefix)[: ID_CHARACTERS - _DIGEST]

    def holds(self, memory: Memory) -> bool:
        """Whether it is one of ours, and not somebody's who chose such an id."""
        key = memory.metadata.get(KEY_FIELD)
        return (
            memory.user_id == self.user_id and isinstance(key, str) and self.id_of(key) == memory.id
        )


def text_of(value: Json) -> str:
    """What of a value is searched: a string itself, anything else as JSON, its order kept."""
    if isinstance(value, str) and value.strip():
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def fields_of(key: str, value: Json) -> dict[str, Json]:
    """Our metadata of a memory: its key, and whether its text is JSON."""
    is_text = isinstance(value, str) and bool(value.strip())
    return {KEY_FIELD: key} | ({} if is_text else {JSON_FIELD: True})


def key_of(memory: Memory) -> str:
    return str(memory.metadata[KEY_FIELD])


def value_of(memory: Memory) -> Json:
    """Exactly the value that was stored."""
    return json.loads(memory.text) if JSON_FIELD in memory.metadata else memory.text


def metadata_of(memory: Memory) -> Mapping[str, Json]:
    """The caller's, without our fields."""
    return {name: value for name, value in memory.metadata.items() if not name.startswith(OWN)}


@dataclass(frozen=True, slots=True)
class Pattern:
    """Which keys: all that match begin with ``prefix``. ``wild``: it has a wildcard."""

    prefix: str
    wild: bool
    matches: Callable[[str], object]


def pattern_of(text: str) -> Pattern:
    """A glob over the whole key (``*`` any characters, ``?`` any one); without either, a part of it."""
    if text == "*":
        return EVERY_KEY
    first = _WILD.search(text)
    if first is None:
        return Pattern("", False, lambda key: text in key)
    # fnmatch never backtracks from one * to the one before: no pattern takes long.
    glob = re.compile(translate(text.replace("[", "[[]")))
    return Pattern(text[: first.start()], True, glob.match)


EVERY_KEY = Pattern("", True, lambda _: True)


def just_before(text: str) -> str:
    """An upper bound of the strings below ``text``, which has no control characters, by code points."""
    last = ord(text[-1]) - 1
    return text[:-1] + chr(0xD7FF if 0xD800 <= last <= 0xDFFF else last) + _LAST
