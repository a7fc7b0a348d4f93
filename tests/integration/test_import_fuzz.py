"""Imports in any pieces: bad lines, any line ends, gzip that is whole, broken off or damaged. Every line is
counted once, as a reader of ten lines counts them.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
from hypothesis import given
from hypothesis import strategies as st

from api.importing import BATCH, BATCH_BYTES, PIECE_BYTES, Inflater, batched
from api.problems import Problem
from api.reading import LINE_BYTES
from tests.fuzzing import tried

EXAMPLES, READERS = 40, 150
IMPORT = "/v1/memories/import"
BAD = (
    b"x",
    b"null",
    b"[]",
    b'"text"',
    b"{}",
    b'{"text": ""}',
    b'{"text": " "}',
    b'{"text": "x", "text": "y"}',
    b'{"text": "\\ud800"}',
    b'{"text": "\xed\xa0\x80"}',
    b'{"text": "a\\u0000b"}',
    b'{"text": "\x00"}',
    b'{"text": "\xff"}',
    b'{"text": NaN}',
    b'{"text": "x", "metadata": {"n": 1e999}}',
    b'{"text": "x", "metadata": {"n": 9007199254740993}}',
    b'{"text": "x", "id": "\\n"}',
    b'{"text": "x", "version": 1}',
    b'{"text": "x"}{"text": "y"}',
    b'{"text": "x"',
    b'{"text": "x"},',
    b"{'text': 'x'}",
    b"[" * 3000,
    b'{"text": ' + b"[" * 3000 + b"]" * 3000 + b"}",
    b"\xef\xbb\xbf" + b'{"text": "x"}',
    '{"text": "x"}'.encode("utf-16"),
    b'{"text": "x"}' + b" " * LINE_BYTES,
    json.dumps({"text": "x" * 70_000}).encode(),
)
BLANK = (b"", b" ", b"\t", b"\x0b", b"\r", b" \r")
texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30
).filter(str.strip)
good = st.builds(
    lambda text, ascii, before, after: (
        before + json.dumps({"text": text}, ensure_ascii=ascii).encode() + after
    ),
    texts,
    st.booleans(),
    st.sampled_from((b"", b" ", b"\t")),
    st.sampled_from((b"", b" ", b"\r", b"\r\r")),
)
numbered_bad = st.integers(0, len(BAD) - 1).map(lambda n: (BAD[n], "bad"))
lines = st.lists(
    st.one_of(
        good.map(lambda line: (line, "good")),
        good.map(lambda line: (line, "good")),
        numbered_bad,
        st.sampled_from(BLANK).map(lambda line: (line, "blank")),
    ),
    max_size=25,
)
cuts = st.lists(st.integers(0, 10_000), max_size=6)


def cut(body: bytes, at: Sequence[int]) -> list[bytes]:
    """``body`` in pieces, some of them empty."""
    places = sorted(place * len(body) // 10_000 for place in at)
    return [body[a:b] for a, b in zip([0, *places], [*places, len(body)], strict=True)]


async def in_turn(pieces: Sequence[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def read(
    pieces: Sequence[bytes], first: int = 1, from_line: int = 1
) -> list[list[tuple[int, bytes]]]:
    async def all_of_them() -> list[list[tuple[int, bytes]]]:
        found = batched(in_turn(pieces), first=first, from_line=from_line)
        return [batch async for batch in found]

    return asyncio.run(all_of_them())


@tried(READERS)
@given(
    st.lists(st.sampled_from([b"\n", b"\r\n", b"a", b"{}", b"\xff", b" ", b"\0"])),
    cuts,
    st.integers(1, 12),
)
def test_lines_are_those_of_a_simple_reader_however_they_are_cut(
    parts: list[bytes], at: list[int], from_line: int
) -> None:
    body = b"".join(parts)
    simple = [(n, line) for n, line in enumerate(body.split(b"\n"), 7) if line.strip()]
    found = [line for batch in read(cut(body, at), 7, from_line) for line in batch]
    assert found == [line for line in simple if line[0] >= from_line]


@tried(READERS // 5)
@given(st.integers(-3, 3), cuts, st.binary(max_size=20))
def test_of_a_line_that_is_too_long_no_more_is_kept(over: int, at: list[int], after: bytes) -> None:
    long, rest = b"x" * (LINE_BYTES + over), b"." + after.replace(b"\n", b"")
    [found] = read(cut(long + b"\n" + rest + b"\nend", at))
    assert [number for number, _ in found] == [1, 2, 3]
    assert found[1:] == [(2, rest), (3, b"end")]
    assert (len(found[0][1]) > LINE_BYTES) == (over > 0)
    assert len(long) >= len(found[0][1])


def test_batches_are_bounded_by_lines_and_by_bytes() -> None:
    long = [b"x" * LINE_BYTES + b"\n"] * 20
    assert {sum(len(raw) for _, raw in batch) for batch in read(long)} == {BATCH_BYTES}
    assert [len(batch) for batch in read([b"x\n" * (2 * BATCH + 1)])] == [BATCH, BATCH, 1]


def inflated(pieces: Sequence[bytes]) -> tuple[bytes, bool]:
    """What an Inflater gives before it ends or refuses, and whether it is whole."""
    inflater, found = Inflater(), b""
    try:
        for piece in pieces:
            for part in inflater.pieces(piece):
                assert len(part) <= PIECE_BYTES
                found += part
    except Problem as problem:
        assert problem.code == "not_gzip"
        return found, False
    return found, inflater.complete


def simply_inflated(body: bytes) -> tuple[bytes, bool]:
    """All that is gzip in ``body``, by the standard library, byte for byte; and whether it is whole."""
    found, rest = b"", body
    while rest:
        member = zlib.decompressobj(31)
        try:
            for at in range(len(rest)):
                found += member.decompress(rest[at : at + 1])
                if member.eof:
                    break
        except zlib.error:
            return found, False
        if not member.eof:
            return found, False
        rest = rest[at + 1 :]
    return found, True


@st.composite
def gzips(draw: st.DrawFn) -> bytes:
    """Members one after the other; then, it may be, cut short, damaged, or with something after them."""
    members = draw(
        st.lists(st.binary(max_size=200) | st.just(b"\n" * 5000), min_size=1, max_size=4)
    )
    body = b"".join(gzip.compress(member, mtime=0) for member in members)
    match draw(st.sampled_from(("whole", "whole", "short", "damaged", "more"))):
        case "short":
            return body[: draw(st.integers(0, len(body)))]
        case "damaged":
            at = draw(st.integers(0, len(body) - 1))
            return body[:at] + bytes([body[at] ^ draw(st.integers(1, 255))]) + body[at + 1 :]
        case "more":
            return body + draw(st.binary(min_size=1, max_size=20))
    return body


@tried(READERS)
@given(gzips(), cuts)
def test_gzip_is_inflated_as_by_a_simple_reader(body: bytes, at: list[int]) -> None:
    found, whole = inflated(cut(body, at))
    simple, simply_whole = simply_inflated(body)
    assert whole == simply_whole
    assert found == simple if whole else simple.startswith(found)


@dataclass(frozen=True)
class Import:
    """What is sent: lines with their kinds, how they end, how they are packed and in which pieces."""

    lines: list[tuple[bytes, str]]
    end: bytes
    ended: bool
    packing: str
    at: list[int]

    @property
    def body(self) -> bytes:
        return self.end.join(line for line, _ in self.lines) + (self.end if self.ended else b"")

    @property
    def wanted(self) -> list[tuple[int, str]]:
        """Number and kind of each line that is answered."""
        return [(n, kind) for n, (_, kind) in enumerate(self.lines, 1) if kind != "blank"]


imports = st.builds(
    Import,
    lines,
    st.sampled_from((b"\n", b"\r\n")),
    st.booleans(),
    st.sampled_from(("plain", "gzip", "members", "short", "damaged", "garbage")),
    cuts,
)


def test_any_import_counts_every_line_once(http: httpx.Client) -> None:
    @tried(EXAMPLES)
    @given(imports)
    def attempt(sent: Import) -> None:
        packed, whole = pack(sent.body, sent.packing)
        headers = {"Idempotency-Key": uuid4().hex, "Content-Type": "application/x-ndjson"}
        if sent.packing != "plain":
            headers["Content-Encoding"] = "gzip"
        answer = http.post(IMPORT, content=iter(cut(packed, sent.at)), headers=headers)
        assert answer.status_code == 200, answer.text
        *results, last = (json.loads(line) for line in answer.text.splitlines())
        summary = last["summary"]
        told = [(line["line"], "bad" if "error" in line else "good") for line in results]
        assert ("error" in summary) == (not whole)
        assert told == (sent.wanted if whole else sent.wanted[: len(told)])
        accepted = sum(kind == "good" for _, kind in told)
        assert (summary["accepted"], summary["refused"]) == (accepted, len(told) - accepted)
        if not whole:
            assert (summary["error"]["code"], summary["error"]["status"]) == ("not_gzip", 400)
            assert summary["from_line"] == (told[-1][0] + 1 if told else 1)
        check_stored(http, summary, accepted)

    attempt()


def pack(body: bytes, packing: str) -> tuple[bytes, bool]:
    """As it is sent, and whether that is whole."""
    packed = gzip.compress(body, mtime=0)
    half = len(body) // 2
    match packing:
        case "plain":
            return body, True
        case "gzip":
            return packed, True
        case "members":
            return gzip.compress(body[:half]) + gzip.compress(b"") + gzip.compress(
                body[half:]
            ), True
        case "short":
            return packed[:-4], False
        case "damaged":
            return packed[:-6] + bytes([packed[-6] ^ 1]) + packed[-5:], False
    return packed + b"garbage", False


def check_stored(http: httpx.Client, summary: dict[str, Any], accepted: int) -> None:
    if not accepted:
        assert summary["job"] is None
        return
    job = http.get(f"/v1/jobs/{summary['job']['id']}", params={"wait": 60}).json()
    assert (job["status"], job["total"]) == ("stored", accepted)
