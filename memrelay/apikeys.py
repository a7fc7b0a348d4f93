"""API keys: how a token is made, read and compared. ``mr_<id>_<secret>``; the secret is 256 random bits."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Literal, get_args

KeyScope = Literal["read", "write", "admin"]
SCOPES: tuple[KeyScope, ...] = get_args(KeyScope)
"""``admin`` includes the others; ``write`` does not include ``read``."""
MAX_NAME = 100
NAMESPACE = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z")
_TOKEN = re.compile(r"mr_([0-9a-f]{16})_([A-Za-z0-9_-]{43})\Z")


@dataclass(frozen=True, slots=True, repr=False)
class Token:
    """What a caller shows. ``id`` may be told to anybody, ``secret`` to nobody: no repr has it."""

    id: str
    secret: str

    def __str__(self) -> str:
        return f"mr_{self.id}_{self.secret}"

    @property
    def digest(self) -> str:
        """What is kept of the secret."""
        return digest(self.secret)


def new_token() -> Token:
    return Token(secrets.token_hex(8), secrets.token_urlsafe(32))


def parse_token(text: str) -> Token | None:
    """None for what is no token of ours."""
    found = _TOKEN.match(text)
    return Token(found[1], found[2]) if found else None


def digest(secret: str) -> str:
    """One round of SHA-256 in hexadecimal: nobody guesses 256 random bits, so no slow hash is needed."""
    return hashlib.sha256(secret.encode()).hexdigest()


def same(digest: str, other: str) -> bool:
    """Compared in constant time."""
    return hmac.compare_digest(digest, other)
