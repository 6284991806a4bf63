"""The dashboard. `server` is the WSGI application: gunicorn trading_dashboard.app:server.

Importing this module loads the settings, opens the log files and writes a first backtest report;
it fails when it cannot, so that a broken installation does not look like a running one.
"""

from __future__ import annotations

import logging
import os
from uuid import uuid4

from dash import Dash, Input, Output, State
from flask import Flask

from core.order_client import OrderIntent, post_intent
from core.paths import LOGS
from core.release import COMMIT
from core.settings import load_settings
from src.backtest import ensure_report
from trading_dashboard.auth import protect
from trading_dashboard.logs import open_logs
from trading_dashboard.page import build_page

LOG = logging.getLogger(__name__)

settings = load_settings(os.environ)
open_logs(LOGS)
ensure_report()

server = Flask(__name__)
protect(server, os.environ, COMMIT)
app = Dash(__name__, server=False, title="Trading dashboard")
app.init_app(server)  # after protect(), so that no path of Dash comes before the check
app.layout = lambda: build_page(settings)
LOG.info("started, environment %s, commit %s", settings.environment, COMMIT)


@app.callback(
    Output("intent-answer", "children"),
    Output("intent-key", "data"),
    Input("intent-send", "n_clicks"),
    State("intent-symbol", "value"),
    State("intent-side", "value"),
    State("intent-quantity", "value"),
    State("intent-key", "data"),
    prevent_initial_call=True,
)
def send_intent(
    clicks: int | None, symbol: str, side: str, quantity: int | None, key: str
) -> tuple[str, str]:
    """The button was pressed: post the form, and take a new key once the answer is final."""
    if not clicks or not symbol or not quantity:
        return "fill in the form first", key
    answer = post_intent(OrderIntent(symbol, side, quantity), key)
    LOG.info("order intent %s: %s", key, answer.text)
    return answer.text, str(uuid4()) if answer.final else key


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=os.environ.get("DASHBOARD_PORT", "9001"))
