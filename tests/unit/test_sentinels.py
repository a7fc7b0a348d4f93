"""Addresses with Sentinels: what is one, what is made of it, and that no password is shown."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from backends.broker import create_app
from memrelay.errors import ConfigError
from memrelay.sentinels import EXAMPLE, Sentinels, sentinels_of, watched
from memrelay.settings import Settings, SourceSettings, load_settings

_SECRET = "p@ss/w:rd"
_LOGIN = f"ana:{quote(_SECRET, safe='')}"
_WITH_SECRETS = f"redis+sentinel://{_LOGIN}@s1,[::1]:26380/mymaster/3?sentinel_password=hush"


def test_every_part_of_an_address_is_read() -> None:
    assert sentinels_of(_WITH_SECRETS) == Sentinels(
        hosts=[("s1", 26379), ("::1", 26380)],
        master="mymaster",
        database=3,
        username="ana",
        password=_SECRET,
        sentinel_password="hush",
    )


def test_database_and_login_may_be_left_out() -> None:
    found = sentinels_of("redis+sentinel://a:1,b:2/m")
    assert (found.hosts, found.database) == ([("a", 1), ("b", 2)], 0)
    assert (found.username, found.password, found.sentinel_password) == (None, None, None)


def test_what_is_shown_holds_no_secret() -> None:
    found = sentinels_of(_WITH_SECRETS)
    shown = f"{found.place} {found!r}"
    assert "s1:26379" in shown
    assert _SECRET not in shown
    assert "hush" not in shown


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://",
        "redis+sentinel://h1:26379",
        "redis+sentinel://h1:26379/",
        "redis+sentinel://h1:26379/mymaster/x",
        "redis+sentinel://h1:26379/mymaster/0/1",
        "redis+sentinel://h1:26379,,h2/mymaster",
        "redis+sentinel://h1:0/mymaster",
        "redis+sentinel://h1:70000/mymaster",
        "redis+sentinel://h 1/mymaster",
        "redis+sentinel://h1/mymaster?timeout=3",
        "redis+sentinel://h1/mymaster#0",
        "redis+sentinel://[::1/mymaster",
    ],
)
@pytest.mark.parametrize("setting", ["BROKER_URL", "JOURNAL_URL"])
def test_a_wrong_address_is_one_line_with_an_example(
    url: str, setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"MEMRELAY_{setting}", url)
    monkeypatch.setenv("MEMRELAY_DRIVERS__REDIS__URL", "redis://127.0.0.1:6379/0")
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert str(caught.value) == f"setting {setting.lower()}: give an address such as {EXAMPLE}"


def test_celery_gets_every_sentinel_and_the_masters_name() -> None:
    source = SourceSettings(drivers=["redis"])
    settings = Settings(
        broker_url=_WITH_SECRETS, drivers={"redis": {}}, sources={"default": source}
    )
    app = create_app(settings)
    with app.connection_for_write() as connection:
        assert connection.transport_cls == "sentinel"
        assert connection.alt == [
            "sentinel://ana:p%40ss%2Fw%3Ard@s1:26379/3",
            "sentinel://ana:p%40ss%2Fw%3Ard@[::1]:26380/3",
        ]
        assert (connection.userid, connection.password) == ("ana", _SECRET)
        assert connection.transport_options["master_name"] == "mymaster"
        assert connection.transport_options["sentinel_kwargs"]["password"] == "hush"


def test_other_addresses_are_not_taken_for_one() -> None:
    assert not watched("redis://h1:26379/0")
    assert not watched("redis+cluster://h1:6379")
