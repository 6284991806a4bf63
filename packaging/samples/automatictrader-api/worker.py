"""The worker: python worker.py. It handles received intents and never sends an order.

plan-only marks intents as planned. paper-send is accepted as a mode, but this sample has no code
that talks to a broker: it marks them as send-refused. SIGTERM stops the worker between two polls.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path

from automatictrader.database import connect
from automatictrader.heartbeat import beat
from automatictrader.intents import handle_received
from automatictrader.release import read_commit
from automatictrader.settings import SettingsError, load_settings

LOG = logging.getLogger("worker")
# mode -> the status and the reason that an intent gets
OUTCOMES = {
    "plan-only": ("planned", None),
    "paper-send": ("send-refused", "this sample has no broker connection"),
}
STOP = {signal.SIGTERM, signal.SIGINT}


def main() -> int:
    """Poll until asked to stop."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    # Blocked and waited for: a signal cannot interrupt a transaction.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP)
    try:
        settings = load_settings(os.environ)
        if settings.worker_mode not in OUTCOMES:
            known = ", ".join(OUTCOMES)
            raise SettingsError(f"AT_WORKER_MODE is {settings.worker_mode!r}, not one of {known}")
    except SettingsError as error:
        print(f"worker: {error}", file=sys.stderr)
        return 2
    status, reason = OUTCOMES[settings.worker_mode]
    commit = read_commit(Path(__file__).resolve().parent / "RELEASE.json")
    LOG.info("started, mode %s, commit %s", settings.worker_mode, commit)
    with connect(settings.db_path) as connection:
        while True:
            beat(connection, settings.worker_mode, settings.worker_poll_seconds)
            if count := handle_received(connection, status, reason):
                LOG.info("%d intents %s", count, status)
            if signal.sigtimedwait(STOP, settings.worker_poll_seconds):
                LOG.info("stopped")
                return 0


if __name__ == "__main__":
    sys.exit(main())
