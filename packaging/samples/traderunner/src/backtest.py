"""A moving-average crossover over daily prices, and the reports under artifacts/backtests."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from core.paths import BACKTESTS
from src.prices import sample_prices

FAST_DAYS = 5
SLOW_DAYS = 20


def crossover(prices: pd.DataFrame) -> dict[str, float | int]:
    """Hold while the fast average is above the slow one, from the day after it was seen."""
    close = prices["close"]
    above = close.rolling(FAST_DAYS).mean() > close.rolling(SLOW_DAYS).mean()
    held = above.shift(1, fill_value=False)
    growth = (1 + close.pct_change().fillna(0.0) * held).prod()
    entries = int((held & ~held.shift(1, fill_value=False)).sum())
    return {"days": len(prices), "trades": entries, "return": round(float(growth) - 1, 4)}


def write_report(folder: Path) -> Path | None:
    """Run the backtest over the sample prices; None when there are no prices."""
    rows = [{"symbol": name, **crossover(prices)} for name, prices in sample_prices().items()]
    if not rows:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "crossover.parquet"
    # Renamed into place: several workers may start at once, and a reader sees a whole file.
    partial = folder / f".{path.name}.{os.getpid()}"
    pd.DataFrame(rows).to_parquet(partial, index=False)
    partial.replace(path)
    return path


def read_reports() -> dict[str, pd.DataFrame]:
    """Name -> report, for every report under artifacts/backtests."""
    return {file.stem: pd.read_parquet(file) for file in sorted(BACKTESTS.glob("*.parquet"))}


def ensure_report() -> None:
    """Write a first report where there is none."""
    BACKTESTS.mkdir(parents=True, exist_ok=True)
    if not any(BACKTESTS.glob("*.parquet")):
        write_report(BACKTESTS)
