"""Posts order intents to automatictrader-api. Nothing here runs unless a person asks for it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import requests

from core.paths import SENT_INTENTS

TIMEOUT_SECONDS = (2, 5)


@dataclass(frozen=True)
class OrderIntent:
    """What the user wants to do; the API checks it and the worker decides what becomes of it."""

    symbol: str
    side: str
    quantity: int


@dataclass(frozen=True)
class Answer:
    """What the API said. `final` is False when the same key has to be tried again."""

    text: str
    final: bool


def post_intent(intent: OrderIntent, key: str) -> Answer:
    """Post one intent. The same key never makes a second one, so trying again is safe."""
    base = os.environ.get("AUTOMATICTRADER_URL") or "http://127.0.0.1:8080"
    headers = {"Idempotency-Key": key}
    if token := os.environ.get("AT_BEARER_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    with requests.Session() as session:
        session.trust_env = False  # no proxy, and no ~/.netrc in place of the token
        try:
            response = session.post(
                f"{base}/api/v1/orderintents",
                json=asdict(intent),
                headers=headers,
                timeout=TIMEOUT_SECONDS,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            return Answer(f"not sent, press again to retry: {type(error).__name__}", final=False)
    record(intent, key, response.status_code)
    if response.status_code in (200, 201):
        return Answer(f"received as intent {response.json()['id']}", final=True)
    text = f"refused with {response.status_code}: {response.text[:200]}"
    return Answer(text, final=response.status_code < 500)


def record(intent: OrderIntent, key: str, status: int) -> None:
    """Append what was sent to data/sent-intents.jsonl."""
    line = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "key": key,
        **asdict(intent),
        "status": status,
    }
    with SENT_INTENTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
