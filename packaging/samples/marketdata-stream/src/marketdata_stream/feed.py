"""The background task that takes rounds from the provider and stores them."""

from __future__ import annotations

import asyncio
import logging
import sqlite3

from marketdata_stream.provider import Provider
from marketdata_stream.store import Store

LOG = logging.getLogger(__name__)


class Feed:
    """Runs until `stop` is set; a failed write is remembered for /health and tried again."""

    def __init__(self, provider: Provider, store: Store, tick_seconds: float) -> None:
        self.provider = provider
        self.store = store
        self.tick_seconds = tick_seconds
        self.stop = asyncio.Event()
        self.last_error = ""

    async def run(self) -> None:
        """One round per tick, then a pause that ends early when the service stops."""
        number = 0
        while not self.stop.is_set():
            await self.store_round(number)
            number += 1
            try:
                await asyncio.wait_for(self.stop.wait(), self.tick_seconds)
            except TimeoutError:
                continue

    async def store_round(self, number: int) -> None:
        """Store one round in a thread, so that a slow disk does not delay /health."""
        ticks, signals = self.provider.round(number)
        if not ticks and not signals:
            return
        try:
            await asyncio.to_thread(self.store.add, ticks, signals)
        except sqlite3.Error as error:
            if not self.last_error:
                LOG.exception("round %d was not stored", number)
            self.last_error = str(error)
        else:
            self.last_error = ""
