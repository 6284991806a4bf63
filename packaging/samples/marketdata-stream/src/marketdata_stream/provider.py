"""Where ticks come from: a fake feed that needs no network, or none at all."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from marketdata_stream.settings import Settings

SIGNAL_EVERY = 60


@dataclass(frozen=True)
class Tick:
    """One price of one symbol."""

    symbol: str
    price: float
    volume: int


@dataclass(frozen=True)
class Signal:
    """A hint that a strategy derived from a tick."""

    symbol: str
    side: str
    price: float


@dataclass(frozen=True)
class Connection:
    """The state of the feed, as /health reports it."""

    connected: bool
    subscribed_symbols: int
    circuit_breaker_state: str
    reason: str = ""


class Provider(Protocol):
    """What the service needs of a feed."""

    def connection(self) -> Connection:
        """The state of the feed now."""

    def round(self, number: int, /) -> tuple[Sequence[Tick], Sequence[Signal]]:
        """The ticks and signals of one round; rounds count from 0."""


class FakeProvider:
    """Invented prices, the same ones after every start."""

    def __init__(self, symbols: Sequence[str]) -> None:
        self.symbols = symbols

    def connection(self) -> Connection:
        """Always connected: there is nothing to connect to."""
        return Connection(True, len(self.symbols), "closed")

    def round(self, number: int) -> tuple[Sequence[Tick], Sequence[Signal]]:
        """A slow wave around a base price per symbol, and a signal once every SIGNAL_EVERY."""
        ticks = [fake_tick(symbol, number) for symbol in self.symbols]
        signals = [
            Signal(tick.symbol, "BUY" if number // SIGNAL_EVERY % 2 == 0 else "SELL", tick.price)
            for tick in ticks
            if (number + seed(tick.symbol)) % SIGNAL_EVERY == 0
        ]
        return ticks, signals


class UnconnectedProvider:
    """Stands where the real feed would be: this sample has no code that talks to EODHD."""

    def __init__(self, api_key: str) -> None:
        self.reason = "this sample has no real feed" if api_key else "EODHD_API_KEY is not set"

    def connection(self) -> Connection:
        """Never connected, and says why."""
        return Connection(False, 0, "open", self.reason)

    def round(self, _number: int) -> tuple[Sequence[Tick], Sequence[Signal]]:
        """Nothing."""
        return [], []


def make_provider(settings: Settings) -> Provider:
    """The provider that MARKETDATA_PROVIDER names."""
    if settings.provider == "real":
        return UnconnectedProvider(settings.api_key)
    return FakeProvider(settings.symbols)


def seed(symbol: str) -> int:
    """A number that is the same for a symbol on every machine."""
    return zlib.crc32(symbol.encode())


def fake_tick(symbol: str, number: int) -> Tick:
    """The tick of one symbol in one round."""
    base = 20 + seed(symbol) % 400
    price = base * (1 + 0.02 * math.sin((number + seed(symbol)) / 10))
    return Tick(symbol, round(price, 2), 100 + (number * 37 + seed(symbol)) % 900)
