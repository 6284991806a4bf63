"""The page: prices, backtests, signals, order intents, and a form for one order intent."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import dash_bootstrap_components as dbc
import plotly.graph_objects as go
from dash import dcc, html

from core.release import COMMIT
from core.settings import Settings
from src.backtest import read_reports
from src.prices import sample_prices
from trading_dashboard import databases


def build_page(settings: Settings) -> Any:
    """The whole page, read afresh for each visitor."""
    return dbc.Container(
        [
            html.H1("Trading dashboard"),
            html.P(f"{settings.environment}, commit {COMMIT}", id="release"),
            html.P(f"market data: {settings.marketdata_stream_url or 'no stream configured'}"),
            html.H2("Sample prices"),
            price_chart(),
            html.H2("Backtests"),
            backtests(),
            html.H2("Signals"),
            table(databases.signals()),
            html.H2("Order intents"),
            table(databases.order_intents()),
            html.H2("Ticks"),
            table(databases.ticks()),
            html.H2("New order intent"),
            order_form(),
        ]
    )


def price_chart() -> Any:
    """One line per sample file."""
    prices = sample_prices()
    if not prices:
        return html.P("no sample prices")
    figure = go.Figure()
    for symbol, frame in prices.items():
        figure.add_scatter(x=frame["date"].dt.strftime("%Y-%m-%d"), y=frame["close"], name=symbol)
    return dcc.Graph(figure=figure, id="prices")


def backtests() -> Any:
    """One table per report under artifacts/backtests."""
    reports = read_reports()
    if not reports:
        return html.P("no backtests yet")
    tables: list[Any] = []
    for name, frame in reports.items():
        rows = list(frame.itertuples(index=False, name=None))
        tables += [html.H3(name), table(databases.Table(list(frame.columns), rows))]
    return html.Div(tables, id="backtests")


def table(content: databases.Table) -> Any:
    """A plain table, or the note that says why it is empty."""
    if content.note:
        return html.P(content.note)
    head = html.Thead(html.Tr([html.Th(name) for name in content.columns]))
    body = html.Tbody([html.Tr([html.Td(str(v)) for v in row]) for row in content.rows])
    return dbc.Table([head, body])


def order_form() -> Any:
    """The form; the hidden key makes a second press on an unanswered form harmless."""
    return html.Div(
        [
            dcc.Store(id="intent-key", data=str(uuid4())),
            dbc.Input(id="intent-symbol", placeholder="symbol", value="HOOD"),
            dbc.Select(id="intent-side", options=["BUY", "SELL"], value="BUY"),
            dbc.Input(id="intent-quantity", type="number", min=1, step=1, value=1),
            dbc.Button("Send order intent", id="intent-send"),
            html.P(id="intent-answer"),
        ]
    )
