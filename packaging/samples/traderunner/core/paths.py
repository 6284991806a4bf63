"""Every path inside the application tree, named once."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / "logs"
SAMPLES = ROOT / "data" / "samples"
SENT_INTENTS = ROOT / "data" / "sent-intents.jsonl"
BACKTESTS = ROOT / "artifacts" / "backtests"
RELEASE = ROOT / "RELEASE.json"
