"""Order intents: what a request may say, and how one is stored exactly once."""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from automatictrader.database import now

BODY = ("symbol", "side", "quantity", "order_type", "limit_price")


class Conflict(Exception):
    """The key was used before, for another intent."""


def capitals(value: Any) -> Any:
    """`buy` and `BUY` are the same."""
    return value.strip().upper() if isinstance(value, str) else value


Capitals = BeforeValidator(capitals)


class OrderIntent(BaseModel):
    """The body of a request."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    symbol: Annotated[str, Capitals, Field(pattern=r"^[A-Z][A-Z0-9.-]{0,14}$")]
    side: Annotated[Literal["BUY", "SELL"], Capitals]
    quantity: Annotated[int, Field(gt=0, le=1_000_000)]
    order_type: Annotated[Literal["MARKET", "LIMIT"], Capitals] = "MARKET"
    limit_price: Annotated[Decimal, Field(gt=0, max_digits=12, decimal_places=4)] | None = None

    @model_validator(mode="after")
    def price_fits_type(self) -> OrderIntent:
        """A LIMIT order has a price, a MARKET order has none."""
        if (self.order_type == "LIMIT") != (self.limit_price is not None):
            raise ValueError("limit_price goes with order_type LIMIT, and only with it")
        return self


def add(connection: sqlite3.Connection, key: str, intent: OrderIntent) -> tuple[int, bool]:
    """Store the intent unless the key is known. Returns its id, and whether it is new."""
    values = intent.model_dump(mode="json")
    with connection:
        created = connection.execute(
            "INSERT INTO order_intents (idempotency_key, received_at, symbol, side, quantity,"
            " order_type, limit_price) VALUES (?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (idempotency_key) DO NOTHING",
            (key, now(), *(values[name] for name in BODY)),
        ).rowcount
    row = connection.execute(
        "SELECT * FROM order_intents WHERE idempotency_key = ?", (key,)
    ).fetchone()
    if OrderIntent(**{name: row[name] for name in BODY}) != intent:
        raise Conflict(f"Idempotency-Key {key!r} was used for another intent")
    return int(row["id"]), created == 1


def find(connection: sqlite3.Connection, intent_id: int) -> dict[str, Any] | None:
    """One intent with its state, or None."""
    row = connection.execute("SELECT * FROM order_intents WHERE id = ?", (intent_id,)).fetchone()
    return dict(row) if row else None


def receipt(intent: dict[str, Any]) -> dict[str, Any]:
    """The part of an intent that never changes: the answer to the same request is the same."""
    return {name: intent[name] for name in ("id", "idempotency_key", "received_at", *BODY)}


def handle_received(connection: sqlite3.Connection, status: str, reason: str | None) -> int:
    """Give every received intent its state; returns how many there were."""
    with connection:
        return connection.execute(
            "UPDATE order_intents SET status = ?, reason = ?, handled_at = ?"
            " WHERE status = 'received'",
            (status, reason, now()),
        ).rowcount
