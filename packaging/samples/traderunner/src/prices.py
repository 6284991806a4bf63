"""Daily prices: the sample files that come with the repository, and how they were made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from core.paths import SAMPLES

START_PRICES = {"HOOD": 40.0, "PLTR": 80.0}
DAYS = 120


def sample_prices() -> dict[str, pd.DataFrame]:
    """Symbol -> daily closing prices, from data/samples; empty when the files are missing."""
    files = sorted(SAMPLES.glob("*.parquet"))
    return {file.stem.removesuffix("_daily"): pd.read_parquet(file) for file in files}


def write_samples(folder: Path) -> list[Path]:
    """Make the sample files again: invented prices from a fixed seed."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for seed, (symbol, start) in enumerate(START_PRICES.items()):
        changes = np.random.default_rng(seed).normal(0.0005, 0.02, DAYS)
        prices = pd.DataFrame(
            {
                "date": pd.bdate_range("2025-01-02", periods=DAYS),
                "close": (start * np.exp(changes.cumsum())).round(2),
            }
        )
        path = folder / f"{symbol}_daily.parquet"
        prices.to_parquet(path, index=False)
        written.append(path)
    return written
