"""What accepting is compared with: the same framework and server, doing nothing or one ``send_task``.

``python -m benchmarks.nothing PORT [BROKER_URL]``
"""

from __future__ import annotations

import sys

import uvicorn
from celery import Celery
from fastapi import FastAPI, Request, Response

app = FastAPI()
celery: Celery | None = None
ANSWER = b'{"job":{"id":"job_0_1","status":"accepted"},"memories":[]}'


@app.post("/nothing", status_code=202)
async def nothing(request: Request) -> Response:
    """Reads the body and answers."""
    await request.body()
    return Response(ANSWER, 202, media_type="application/json")


@app.post("/send-task", status_code=202)
async def send_task(request: Request) -> Response:
    """One task for each request. On the loop: in FastAPI's threads it is slower still."""
    assert celery is not None
    body = (await request.body()).decode()
    celery.send_task("bench.store", (body,), queue="bench.send_task", ignore_result=True)
    return Response(ANSWER, 202, media_type="application/json")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        celery = Celery(broker=sys.argv[2])
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=False, log_level="warning")
