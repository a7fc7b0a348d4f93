"""API keys: their form, and what of them may be seen."""

from __future__ import annotations

import pytest

from memrelay.apikeys import Token, digest, new_token, parse_token, same


def test_a_token_is_read_as_it_was_made() -> None:
    token = new_token()
    assert parse_token(str(token)) == token
    assert str(token).startswith(f"mr_{token.id}_")


def test_no_two_tokens_are_alike() -> None:
    made = [new_token() for _ in range(1000)]
    assert len({token.id for token in made}) == len({token.secret for token in made}) == 1000


def test_the_secret_is_256_bits_and_shows_nowhere() -> None:
    token = new_token()
    assert len(token.secret) == 43
    assert token.secret not in repr(token)
    assert token.secret not in token.digest
    assert token.digest == digest(token.secret)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mr_",
        "mr_0123456789abcdef",
        "mr_0123456789abcdef_",
        "mr_0123456789ABCDEF_" + 43 * "a",
        "mr_0123456789abcdef_" + 42 * "a",
        "mr_0123456789abcdef_" + 44 * "a",
        "mr_0123456789abcdef_" + 42 * "a" + "é",
        "mr_0123456789abcdef_" + 43 * "a" + "\n",
        "MR_0123456789abcdef_" + 43 * "a",
        "sk-0123456789",
    ],
)
def test_what_is_no_token_is_none(text: str) -> None:
    assert parse_token(text) is None


def test_digests_are_compared_whole() -> None:
    one = Token("0123456789abcdef", 43 * "a").digest
    assert same(one, str(one))
    assert not same(one, one[:-1] + ("0" if one[-1] != "0" else "1"))
