"""The command line: `python -m src.cli backtest` and `python -m src.cli sample-prices`."""

from __future__ import annotations

import click

from core.paths import BACKTESTS, SAMPLES
from src.backtest import write_report
from src.prices import write_samples


@click.group()
def main() -> None:
    """Backtests over the sample prices."""


@main.command()
def backtest() -> None:
    """Write the crossover report to artifacts/backtests."""
    path = write_report(BACKTESTS)
    if path is None:
        raise click.ClickException(f"no prices in {SAMPLES}")
    click.echo(path)


@main.command("sample-prices")
def make_prices() -> None:
    """Make data/samples again."""
    for path in write_samples(SAMPLES):
        click.echo(path)


if __name__ == "__main__":
    main()
