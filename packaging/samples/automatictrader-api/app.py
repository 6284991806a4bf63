"""The order intent API: uvicorn app:app. It stores intents; the worker handles them."""

from __future__ import annotations

import hmac
import logging
import os
import sqlite3
from pathlib import Path
from typing import Annotated, Any

import uvicorn
from fastapi import Depends, FastAPI, Header, HTTPException, Response

from automatictrader import heartbeat, intents
from automatictrader.database import connect
from automatictrader.release import read_commit
from automatictrader.settings import load_settings

LOG = logging.getLogger("uvicorn.error")

settings = load_settings(os.environ)
commit = read_commit(Path(__file__).resolve().parent / "RELEASE.json")
app = FastAPI(title="automatictrader-api", docs_url=None, redoc_url=None)


def authorised(authorization: Annotated[str, Header()] = "") -> None:
    """401 unless the bearer token is right, or none is asked for."""
    if not settings.bearer_token:
        return
    scheme, _, token = authorization.partition(" ")
    # Header bytes arrive decoded as latin-1.
    same = hmac.compare_digest(token.strip().encode("latin-1"), settings.bearer_token.encode())
    if scheme.lower() != "bearer" or not same:
        raise HTTPException(401, "bearer token required", {"WWW-Authenticate": "Bearer"})


def required_key(idempotency_key: Annotated[str, Header()] = "") -> str:
    """400 without a usable Idempotency-Key."""
    key = idempotency_key.strip()
    if not key or len(key) > 200:
        raise HTTPException(400, "an Idempotency-Key header of 1 to 200 characters is required")
    return key


@app.get("/healthz")
def healthz(response: Response) -> dict[str, Any]:
    """503 only when the database cannot be opened; the worker is reported, no more."""
    try:
        with connect(settings.db_path) as connection:
            worker = heartbeat.read(connection)
        database = "healthy"
    except (OSError, sqlite3.Error) as error:
        LOG.error("%s: %s", settings.db_path, error)
        response.status_code = 503
        worker = heartbeat.WorkerState("absent", None)
        database = f"cannot be opened: {error}"
    return {
        "status": "healthy" if database == "healthy" else "degraded",
        "commit": commit,
        "dependencies": {"database": database, "worker": worker.state},
        "worker_mode": worker.mode or settings.worker_mode,
    }


@app.post("/api/v1/orderintents", dependencies=[Depends(authorised)], status_code=201)
def post_intent(
    key: Annotated[str, Depends(required_key)], intent: intents.OrderIntent, response: Response
) -> dict[str, Any]:
    """201 for a new intent, 200 when the key is known, 409 when it was for another intent."""
    with connect(settings.db_path) as connection:
        try:
            intent_id, created = intents.add(connection, key, intent)
        except intents.Conflict as error:
            raise HTTPException(409, str(error)) from error
        stored = intents.find(connection, intent_id)
    assert stored is not None, "rows are never deleted"
    response.status_code = 201 if created else 200
    return intents.receipt(stored)


@app.get("/api/v1/orderintents/{intent_id}", dependencies=[Depends(authorised)])
def get_intent(intent_id: int) -> dict[str, Any]:
    """One intent with its status: received, planned or send-refused."""
    with connect(settings.db_path) as connection:
        intent = intents.find(connection, intent_id)
    if intent is None:
        raise HTTPException(404, f"there is no order intent {intent_id}")
    return intent


if __name__ == "__main__":
    uvicorn.run(app, host=settings.bind_host, port=settings.bind_port)
