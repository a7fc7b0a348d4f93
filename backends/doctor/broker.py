"""Does the broker take us?"""

from __future__ import annotations

import asyncio

from amqp.exceptions import AccessRefused, NotAllowed
from redis.exceptions import AuthenticationError

from backends.broker import Publisher, create_app
from backends.doctor.finding import place
from memrelay.errors import Transient, Unavailable
from memrelay.settings import Settings

REFUSALS = (AccessRefused, NotAllowed, AuthenticationError)


async def broker(settings: Settings) -> str:
    await asyncio.to_thread(_connect, settings)
    return place(settings.broker_url)


def _connect(settings: Settings) -> None:
    app = create_app(settings)
    with app.connection_for_write() as connection:
        try:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=5)
        except Publisher(app).errors as error:
            reason = str(error).strip() or type(error).__name__
            if isinstance(error, REFUSALS) or isinstance(error.__cause__, REFUSALS):
                raise Unavailable(reason, code="credentials") from None
            raise Transient(reason) from None
