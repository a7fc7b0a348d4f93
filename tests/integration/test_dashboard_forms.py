"""Forms of the dashboard that were filled in wrong, or by hand: refused as a page, never an error of ours."""

from __future__ import annotations

import httpx
import pytest

DEEP = '{"$not": ' * 20 + '{"id": 1}' + "}" * 20
SEARCHES = {
    "filter that is no JSON": ({"filter": "{"}, "The filter is not JSON"),
    "filter that is deep": ({"filter": DEEP}, "nested deeper than 8"),
    "filter with a key twice": ({"filter": '{"a": 1, "a": 2}'}, "the same key twice"),
    "filter that is no filter": ({"filter": '{"$or": []}'}, "takes a list of filters"),
    "filter that is NaN": ({"filter": '{"id": NaN}'}, "NaN is not a number"),
    "no number": ({"top_k": "many"}, "a number, 1 to 50"),
    "too many": ({"top_k": "51"}, "a number, 1 to 50"),
    "none": ({"top_k": "0"}, "a number, 1 to 50"),
    "far too many": ({"top_k": "9" * 400}, "a number, 1 to 50"),
    "digits of others": ({"top_k": "٣"}, "a number, 1 to 50"),
    "no mode": ({"mode": "psychic"}, "Input should be"),
    "no source": ({"source": "nowhere"}, "one of: "),
    "no name of a source": ({"source": "../etc"}, "String should match"),
    "user with a line break": ({"user_id": "a\nb"}, "control character"),
    "long user": ({"user_id": "u" * 257}, "at most 256"),
    "NUL in the query": ({"query": "a\0b"}, "NUL"),
}
ORIGIN = {"Sec-Fetch-Site": "same-origin"}


@pytest.mark.parametrize("case", SEARCHES)
def test_search_that_cannot_be_is_refused_beside_the_field(http: httpx.Client, case: str) -> None:
    fields, told = SEARCHES[case]
    answer = http.get("/ui/search", params={"query": "seat"} | fields)
    assert answer.status_code == 422, answer.text[:2000]
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert told in answer.text
    assert 'aria-invalid="true"' in answer.text


def test_drivers_that_a_source_does_not_have_are_left_out(http: httpx.Client) -> None:
    answer = http.get("/ui/search", params={"query": "seat", "driver": ["nobody", "sqlite"]})
    assert answer.status_code == 200
    assert "Driver sqlite" in answer.text
    assert "Driver redis" not in answer.text


CHOICES = {
    "nothing": {},
    "no letter": {"of": "ticked"},
    "no version": {"of": "ticked", "version": "x"},
    "a version far too long": {"of": "ticked", "version": "1" * 40},
    "another kind": {"of": "everything", "version": "1"},
    "no cause": {"of": "cause"},
    "an empty cause": {"of": "cause", "code": ""},
    "a cause with a line break": {"of": "cause", "code": "a\nb"},
}


@pytest.mark.parametrize("action", ["replay", "delete"])
@pytest.mark.parametrize("case", CHOICES)
def test_choice_of_dead_letters_that_is_unclear_is_refused(
    http: httpx.Client, action: str, case: str
) -> None:
    answer = http.post(f"/ui/dead-letters/{action}", data=CHOICES[case], headers=ORIGIN)
    assert answer.status_code == 422, answer.text[:2000]
    assert "Unprocessable Content" in answer.text


@pytest.mark.parametrize("action", ["replay", "delete"])
def test_letter_that_is_not_there_any_more_is_no_error(http: httpx.Client, action: str) -> None:
    form = {"of": "ticked", "version": "1", "back": "a&b=c\r\nX: y"}
    answer = http.post(f"/ui/dead-letters/{action}", data=form, headers=ORIGIN)
    assert answer.status_code == 303
    place = answer.headers["location"]
    assert place.startswith("/ui/dead-letters?code=a%26b%3Dc%0D%0AX%3A+y&did=")
    assert "There was nothing left to do." in http.get(place).text


def test_stage_without_an_alarm_is_resumed_in_vain(http: httpx.Client) -> None:
    answer = http.post("/ui/dead-letters/resume", data={"stage": "nobody"}, headers=ORIGIN)
    assert (answer.status_code, answer.headers["location"]) == (303, "/ui/dead-letters")
    refused = http.post("/ui/dead-letters/resume", data={"stage": "a\0"}, headers=ORIGIN)
    assert refused.status_code == 422


KEYS = {
    "nothing": ({}, "choose what the key may do"),
    "unknown scope": ({"scope": ["admin", "root"]}, "Input should be"),
    "unknown term": ({"scope": "admin", "days": "1000000"}, "one of: 30 days"),
    "long name": ({"scope": "admin", "name": "n" * 101}, "at most 100 characters"),
    "name with a line break": ({"scope": "admin", "name": "a\nb"}, "control character"),
    "first one without admin": ({"scope": "read"}, "the first key has to be an admin"),
}


@pytest.mark.parametrize("case", KEYS)
def test_key_that_cannot_be_is_refused_and_none_is_made(http: httpx.Client, case: str) -> None:
    fields, told = KEYS[case]
    answer = http.post("/ui/keys", data=fields, headers=ORIGIN)
    assert answer.status_code == 422, answer.text[:2000]
    assert told in answer.text
    assert http.get("/v1/keys").json() == {"keys": []}


def test_unknown_key_is_revoked_in_vain(http: httpx.Client) -> None:
    assert http.post("/ui/keys/0123456789abcdef/revoke", headers=ORIGIN).status_code == 404
