"""The HTTP side: GET /health, and the feed that lives as long as the server."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI, Response

from marketdata_stream.feed import Feed
from marketdata_stream.provider import make_provider
from marketdata_stream.settings import Settings
from marketdata_stream.store import Store


def make_app(settings: Settings, store: Store, commit: str) -> FastAPI:
    """The application; it closes the store when it stops."""
    provider = make_provider(settings)
    feed = Feed(provider, store, settings.tick_seconds)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(feed.run())
        yield
        feed.stop.set()
        await task
        store.close()

    app = FastAPI(title="marketdata-stream", lifespan=lifespan, docs_url=None, redoc_url=None)

    @app.get("/health")
    def health(response: Response) -> dict[str, Any]:
        """503 only for what the process itself controls; a missing feed is reported, no more."""
        database = database_state(feed)
        if database != "healthy":
            response.status_code = 503
        eodhd = asdict(provider.connection())
        if not eodhd["reason"]:
            del eodhd["reason"]
        return {
            "status": "healthy" if database == "healthy" else "degraded",
            "commit": commit,
            "provider": settings.provider,
            "dependencies": {"eodhd": eodhd, "database": database},
        }

    return app


def database_state(feed: Feed) -> str:
    """ "healthy", or what is wrong with reading or writing."""
    try:
        feed.store.check()
    except sqlite3.Error as error:
        return f"unreadable: {error}"
    return f"not written: {feed.last_error}" if feed.last_error else "healthy"
