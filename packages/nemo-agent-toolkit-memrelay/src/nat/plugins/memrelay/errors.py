"""What the editor raises besides the client's own errors (``memrelay.errors``).

KeyError, ValueError
└── UserIdRequired     nobody's memories are asked for
ValueError
└── NothingSelected    a delete that does not say what
MemrelayError
└── NotStored          memrelay accepted it, and then its store refused it for good
Transient
└── NotGone            memrelay accepted the delete, and has not done it yet
"""

from __future__ import annotations

from memrelay.errors import MemrelayError, Transient


class UserIdRequired(KeyError, ValueError):
    """Callers of other providers catch either."""

    def __init__(self) -> None:
        super().__init__("user_id")

    def __str__(self) -> str:
        return "user_id is required: whose memories are meant?"


class NothingSelected(ValueError):
    """An empty delete deletes nothing, and does not pass for one that did."""


class NotStored(MemrelayError):
    """The message says how many, and why the first of them."""

    code = "not_stored"


class NotGone(Transient):
    """It will be done, and searches leave out what it covers; repeating it is harmless."""

    code = "not_gone"
