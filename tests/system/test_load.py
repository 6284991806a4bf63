"""The means of observation see what they are there for: a lost row, an outage, mixed code."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from operator import itemgetter

import pytest
from tests.system.load import DATABASES, Answers, Load, under_load
from tests.system.machine import Machine, Snapshot
from tests.system.project import Project
from tests.system.stack import INTENTS_DB, installed_server

pytestmark = pytest.mark.system

COMPONENTS = ("marketdata-stream", "automatictrader-api", "traderunner")  # of SERVICES
TREE = "/opt/trading/automatictrader-api"


@pytest.fixture
def trader(installed_slim: Snapshot, slim: Project) -> Iterator[Machine]:
    """Return a server with the slim stack."""
    with installed_server(installed_slim, slim) as machine:
        yield machine


def test_lost_row_is_noticed(trader: Machine) -> None:
    load = Load(trader)
    load.start()
    load.wait_for_rows(5)
    load.stop()
    load.assert_nothing_lost()
    for database, table, column, kind in (
        (INTENTS_DB, "order_intents", "idempotency_key", "intent"),
        (DATABASES[1], "load_rows", "key", DATABASES[1]),
    ):
        sql = f"DELETE FROM {table} WHERE {column} = '{load.keys(kind)[1]}'"  # noqa: S608
        trader.run("runuser", "-u", "trading", "--", "sqlite3", database, sql)
    assert len(load.missing()) == 2
    with pytest.raises(AssertionError, match=r"2 of \d+ rows are lost"):
        load.assert_nothing_lost()


def test_outage_is_measured(trader: Machine) -> None:
    with under_load(trader) as load:
        trader.run("systemctl", "stop", "marketdata-stream.service")
        trader.wait_until(lambda: failures(load.answers()) > 60, 30, "failures")
        trader.run("systemctl", "start", "marketdata-stream.service")
        load.wait_for_rows(5)
    asked = load.answers().of("marketdata-stream")
    runs = [list(run) for good, run in itertools.groupby(asked, itemgetter("good")) if not good]
    longest = max(run[-1]["at"] - run[0]["at"] for run in runs)
    assert load.answers().downtime("marketdata-stream") >= longest > 0


def test_mixed_code_is_noticed(trader: Machine) -> None:
    load = Load(trader)
    load.start()
    load.answers().assert_never_mixed()
    trader.sh(f"rm {TREE}/automatictrader/__pycache__/part_two.*")
    trader.write(f"{TREE}/automatictrader/part_two.py", 'LABEL = "2"\n')
    trader.wait_until(lambda: two_labels(load.answers()), 30, "an answer from mixed code")
    load.stop()
    with pytest.raises(AssertionError, match="automatictrader-api answered from mixed code"):
        load.answers().assert_never_mixed()


def test_missing_module_is_noticed(trader: Machine) -> None:
    load = Load(trader)
    load.start()
    trader.sh(f"rm {TREE}/automatictrader/part_one.py")
    trader.wait_until(lambda: refused_in_health(load.answers()), 30, "a refusal in good health")
    load.stop()
    with pytest.raises(AssertionError, match="automatictrader-api is healthy and cannot import"):
        load.answers().assert_never_mixed()


def test_what_was_acknowledged_before_a_power_cut_counts(trader: Machine) -> None:
    with under_load(trader) as load:
        before = load.acknowledged()
        trader.kill()
        trader.boot()
        assert load.acknowledged() >= before
        load.start()
    assert load.acknowledged() > before


def two_labels(answers: Answers) -> bool:
    """Tell whether an answer of the order intent API named two different labels."""
    told = [each for each in answers.of("automatictrader-api") if "parts" in each]
    return any(len(set(each["parts"]["labels"])) > 1 for each in told)


def failures(answers: Answers) -> int:
    """Return how often the market data stream did not answer, or not well."""
    return sum(not each["good"] for each in answers.of("marketdata-stream"))


def refused_in_health(answers: Answers) -> bool:
    """Tell whether the API failed between two good answers."""
    statuses = [each.get("status") for each in answers.of("automatictrader-api")]
    return (200, 500, 200) in zip(statuses, statuses[1:], statuses[2:], strict=False)
