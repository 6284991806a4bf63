"""Services that rest while the market is closed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest
from tests.unit.tradingctl.fakes import Machine, stream, stream_unit, unit_state
from tests.unit.tradingctl.market.moments import new_york

from tradingctl.cli import main
from tradingctl.deploy.history import read_events
from tradingctl.description import Component
from tradingctl.errors import MarketSettingsError
from tradingctl.inventory import read_inventory
from tradingctl.market.resting import resting_units
from tradingctl.market.session import resume_closed
from tradingctl.process import Outcome

TRADING = new_york("2026-11-24 10:00")
NIGHT = new_york("2026-11-24 20:00")
HOLIDAY = new_york("2026-11-26 10:00")
MARKER = "run/trading/market-closed"
API, WORKER, STREAM = "automatictrader-api", "automatictrader-worker", "marketdata-stream"
DASHBOARD = "trading-dashboard-v2"
STOP = f"systemctl stop {STREAM}.service {API}.service {WORKER}.service"
START = "systemctl start --no-block"
DOWN = {"ActiveState": "inactive", "SubState": "dead"}


def orders() -> Component:
    units = (stream_unit(name=f"{API}.service", order=20, port=0),
             stream_unit(name=f"{WORKER}.service", order=30, port=0))  # fmt: skip
    return stream(name=API, package=API, units=units, state=(), secrets=())


def dashboard() -> Component:
    unit = stream_unit(name=f"{DASHBOARD}.service", order=40, port=0)
    return stream(name="traderunner", package="traderunner", units=(unit,))


@pytest.fixture
def machine(machine: Machine) -> Machine:
    """Give a server with the whole stack, whose services stop when they are told to."""
    machine.describe(stream(), orders(), dashboard())
    for name in (API, WORKER, DASHBOARD):
        machine.system.units[name] = [unit_state(name)]
    return machine


def at(machine: Machine, now: datetime, *words: str) -> tuple[int, str]:
    """Run a command at a time; return its exit code and what it said."""
    machine.today = now
    machine.out.truncate(machine.out.seek(0))
    code = main(["market", *words], machine.server)
    return code, machine.out.getvalue()


def goes_down(machine: Machine, *names: str) -> None:
    """Let units be active when they are looked at first, and down from then on."""
    for name in names:
        machine.system.units[name] = [unit_state(name), unit_state(name, **DOWN)]


def marker(machine: Machine) -> list[str]:
    found: list[str] = json.loads((machine.root / MARKER).read_text())
    return found


def events(machine: Machine) -> list[tuple[str, str]]:
    return [(event.event, event.detail) for event in read_events(machine.server)]


def test_close_stops_what_trades_and_leaves_the_dashboard(machine: Machine) -> None:
    goes_down(machine, STREAM, API, WORKER)
    code, said = at(machine, NIGHT, "close")
    assert (code, said) == (0, f"stopped: {STREAM}, {API}, {WORKER}\n")
    assert machine.system.ran("systemctl stop") == [STOP]
    assert marker(machine) == sorted([API, WORKER, STREAM])
    assert (machine.root / MARKER).stat().st_mode & 0o777 == 0o644
    assert events(machine) == [("market-close", f"stopped: {STREAM}, {API}, {WORKER}")]


@pytest.mark.parametrize(
    ("now", "stops"),
    [
        ("2026-11-24 13:00", False),  # the timer also asks at this hour, for early closes
        ("2026-11-24 15:59", False),
        ("2026-11-24 16:00", True),
        ("2026-11-27 13:00", True),
        ("2026-11-26 13:00", True),
        ("2026-11-24 08:00", True),  # a boot in the morning
    ],
)
def test_close_asks_whether_the_market_has_closed(machine: Machine, now: str, stops: bool) -> None:
    goes_down(machine, STREAM, API, WORKER)
    code, said = at(machine, new_york(now), "close")
    assert code == 0
    assert bool(machine.system.ran("systemctl stop")) is stops
    assert (machine.root / MARKER).exists() is stops
    if not stops:
        assert said == ("the market is open until 16:00 EST (22:00 CET here); nothing is stopped\n")


def test_close_by_force_stops_at_once(machine: Machine) -> None:
    goes_down(machine, STREAM, API, WORKER)
    assert at(machine, TRADING, "close", "--force")[0] == 0
    assert machine.system.ran("systemctl stop") == [STOP]
    assert events(machine)[0][1].endswith(", by --force")


def test_close_again_forgets_nothing_and_logs_nothing(machine: Machine) -> None:
    goes_down(machine, STREAM, API, WORKER)
    at(machine, NIGHT, "close")
    machine.system.commands.clear()
    # At boot nothing runs yet, but the start of what is enabled is on its way: it is cancelled.
    assert at(machine, NIGHT, "close") == (0, "nothing to stop\n")
    assert machine.system.ran("systemctl stop") == [STOP]
    assert marker(machine) == sorted([API, WORKER, STREAM])
    assert len(events(machine)) == 1


def test_a_unit_that_is_put_aside_is_left_alone(machine: Machine) -> None:
    goes_down(machine, STREAM, WORKER)
    machine.system.units[API] = [unit_state(API, UnitFileState="disabled")]
    assert at(machine, NIGHT, "close")[0] == 0
    assert machine.system.ran("systemctl stop") == [
        f"systemctl stop {STREAM}.service {WORKER}.service"
    ]
    assert f"note: {API} is disabled and runs; not stopping it" in machine.err.getvalue()
    assert marker(machine) == [WORKER, STREAM]


def test_what_goes_down_with_a_unit_is_started_with_it(machine: Machine) -> None:
    machine.write("etc/trading/deploy.conf", f"MARKET_UNITS={API}.service\n")
    goes_down(machine, API, WORKER)
    assert at(machine, NIGHT, "close") == (0, f"stopped: {API}, {WORKER}\n")
    assert machine.system.ran("systemctl stop") == [f"systemctl stop {API}.service"]
    assert marker(machine) == [API, WORKER]
    at(machine, TRADING, "open")
    assert machine.system.ran(START) == [f"{START} {API}.service {WORKER}.service"]


def test_what_rests_is_written_down_before_it_is_stopped(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = machine.system.run
    written: list[list[str]] = []

    def watched(command: Sequence[str], *more: Any, **named: Any) -> Outcome:
        if command[:2] == ["systemctl", "stop"]:
            written.append(marker(machine))
        return run(command, *more, **named)

    monkeypatch.setattr(machine.system, "run", watched)
    goes_down(machine, STREAM, API, WORKER)
    at(machine, NIGHT, "close")
    assert written == [sorted([API, WORKER, STREAM])]


def test_a_unit_that_does_not_stop_is_an_error(machine: Machine) -> None:
    goes_down(machine, STREAM, API)
    assert at(machine, NIGHT, "close")[0] == 5
    assert f"the market is closed and {WORKER} did not stop" in machine.err.getvalue()
    assert f"next: systemctl kill -s KILL {WORKER}.service\n" in machine.err.getvalue()
    assert WORKER in marker(machine)
    assert events(machine) == []


def test_open_starts_and_verifies_and_forgets_the_marker(machine: Machine) -> None:
    machine.write(MARKER, json.dumps([API, WORKER, STREAM]))
    machine.system.units[API] = [unit_state(API, ActiveState="failed", Result="exit-code")]
    code, said = at(machine, TRADING, "open")
    assert machine.system.ran(START) == [f"{START} {STREAM}.service {API}.service {WORKER}.service"]
    assert code == 3
    assert f"FAILED   {API}.service" in said
    assert not (machine.root / MARKER).exists()
    ((event, detail),) = events(machine)
    assert event == "market-open"
    assert detail.startswith(f"FAILED: {STREAM}, {API}")


def test_open_is_good_when_the_services_are(machine: Machine) -> None:
    machine.healthy(stream())
    machine.write("etc/trading/deploy.conf", f"MARKET_UNITS={STREAM}\n")
    code, said = at(machine, TRADING, "open")
    assert code == 0
    assert f"OK       {STREAM}" in said
    assert events(machine) == [("market-open", f"OK: {STREAM}")]


def test_open_is_good_when_everything_is_put_aside(machine: Machine) -> None:
    for name in (STREAM, API, WORKER):
        machine.system.units[name] = [unit_state(name, UnitFileState="disabled", **DOWN)]
    assert at(machine, TRADING, "open")[0] == 0
    assert machine.system.ran(START) == []


@pytest.mark.parametrize("now", [HOLIDAY, NIGHT, new_york("2026-11-28 10:00")])
def test_open_starts_nothing_while_the_market_is_closed(machine: Machine, now: datetime) -> None:
    machine.write(MARKER, json.dumps([STREAM]))
    code, said = at(machine, now, "open")
    assert code == 0
    assert said.startswith("the market is closed and opens ")
    assert said.endswith(" 09:30 EST (15:30 CET here); nothing is started\n")
    assert machine.system.ran(START) == []
    assert marker(machine) == [STREAM]
    assert at(machine, now, "open", "--force")[0] == 3  # they are started, and are not healthy
    assert machine.system.ran(START)


def test_bad_settings_start_nothing(machine: Machine) -> None:
    machine.write(MARKER, json.dumps([STREAM]))
    machine.write("etc/trading/deploy.conf", "MARKET_UNITS=nginx\n")
    assert at(machine, TRADING, "open")[0] == 5
    assert (
        "/etc/trading/deploy.conf: MARKET_UNITS: 'nginx' is none of the services that are installed"
        f": {STREAM}, {API}, {WORKER}, {DASHBOARD}"
    ) in machine.err.getvalue()
    machine.write("etc/trading/deploy.conf", "")
    machine.write("usr/share/trading/nyse-holidays", "x\n")
    assert at(machine, TRADING, "open")[0] == 5
    assert machine.system.ran("systemctl st") == []
    assert marker(machine) == [STREAM]


@pytest.mark.parametrize(
    ("settings", "holidays", "said"),
    [
        ("MINUTES_BEFORE_OPEN=soon\n", "", "MINUTES_BEFORE_OPEN: 'soon' is not a number"),
        ("MARKET_UNITS=nginx\n", "", "MARKET_UNITS: 'nginx' is none of the services"),
        ("HOLIDAYS_FILE=/etc/trading/none\n", "", "/etc/trading/none: cannot be read"),
        ("", "x\n", "/usr/share/trading/nyse-holidays: line 1: 'x' is not"),
    ],
)
def test_bad_settings_let_nothing_run_at_night(
    machine: Machine, settings: str, holidays: str, said: str
) -> None:
    machine.write("etc/trading/deploy.conf", settings)
    if holidays:
        machine.write("usr/share/trading/nyse-holidays", holidays)
    assert at(machine, TRADING, "close")[0] == 5
    assert machine.system.ran("systemctl stop") == []
    goes_down(machine, STREAM, API, WORKER)
    machine.system.asked = 0
    assert at(machine, NIGHT, "close") == (5, f"stopped: {STREAM}, {API}, {WORKER}\n")
    assert machine.system.ran("systemctl stop") == [STOP]
    assert marker(machine) == sorted([API, WORKER, STREAM])
    told = machine.err.getvalue()
    assert said in told
    assert "; what is usual is closed instead\n  next: " in told


def test_of_bad_settings_what_is_understood_counts(machine: Machine) -> None:
    """The shipped holidays where those of the administrator cannot be read, and his units."""
    machine.write(
        "etc/trading/deploy.conf", f"HOLIDAYS_FILE=/etc/trading/none\nMARKET_UNITS={DASHBOARD}\n"
    )
    goes_down(machine, DASHBOARD)
    assert at(machine, HOLIDAY, "close") == (5, f"stopped: {DASHBOARD}\n")


def test_where_new_yorks_time_is_not_known_the_market_is_closed(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown() -> None:
        raise MarketSettingsError("the time zone America/New_York is not known here")

    monkeypatch.setattr("tradingctl.market.calendar.new_york", unknown)
    goes_down(machine, STREAM, API, WORKER)
    assert at(machine, TRADING, "close")[0] == 5
    assert machine.system.ran("systemctl stop") == [STOP]


def test_a_component_that_is_not_installed_is_not_missed(machine: Machine) -> None:
    (machine.paths.components / f"{API}.json").unlink()
    goes_down(machine, STREAM)
    assert at(machine, NIGHT, "close") == (0, f"stopped: {STREAM}\n")


def test_without_systemd_or_root_nothing_is_done(machine: Machine) -> None:
    machine.paths.systemd_running.rmdir()
    assert at(machine, NIGHT, "close")[0] == 5
    assert "systemd is not running" in machine.err.getvalue()
    machine.euid = 1000
    assert at(machine, NIGHT, "close")[0] == 5
    assert "next: sudo tradingctl market close" in machine.err.getvalue()


def resumed(machine: Machine) -> str:
    resume_closed(machine.server, read_inventory(machine.paths))
    assert machine.out.getvalue() == ""  # it may be debconf's
    return machine.err.getvalue()


def test_after_a_verification_what_rests_is_stopped_again(machine: Machine) -> None:
    machine.write(MARKER, json.dumps([API, WORKER, STREAM]))
    for name in (STREAM, API, WORKER):
        machine.system.units[name] = [unit_state(name, **DOWN)]
    assert resumed(machine) == (
        f"note: the market is closed; stopped again until it opens: {STREAM}, {API}, {WORKER}\n"
    )
    assert machine.system.ran("systemctl stop") == [STOP]
    assert events(machine) == [("market-close", f"stopped again: {STREAM}, {API}, {WORKER}")]
    assert marker(machine) == [API, WORKER, STREAM]


def test_while_the_market_is_open_a_verification_changes_nothing(machine: Machine) -> None:
    assert resumed(machine) == ""
    assert machine.system.commands == []


def test_what_runs_on_after_a_verification_is_loud_and_no_error(machine: Machine) -> None:
    machine.write(MARKER, json.dumps([STREAM]))
    said = resumed(machine)
    assert f"WARNING: the market is closed and {STREAM} did not stop" in said
    assert f"next: systemctl kill -s KILL {STREAM}.service" in said
    assert events(machine) == []
    machine.system.codes["systemctl"] = 1
    assert "systemctl show says" in resumed(machine)


@pytest.mark.parametrize("text", ["{", '{"x": 1}', "[1]"])
def test_a_damaged_marker_means_that_the_usual_units_rest(machine: Machine, text: str) -> None:
    machine.write(MARKER, text)
    assert set(resting_units(machine.server)) == {STREAM, API, WORKER}
    assert "market-closed: " in machine.err.getvalue()


@pytest.mark.parametrize("ended", ["inactive", "failed"])
def test_verify_passes_over_what_rests_and_not_over_what_failed(
    machine: Machine, ended: str
) -> None:
    machine.healthy(stream())
    machine.write(MARKER, json.dumps([API, STREAM]))
    machine.system.units[API] = [unit_state(API, ActiveState=ended)]
    assert main(["verify", API, STREAM, "--json"], machine.server) == 3
    found = {each["unit"]: each for each in json.loads(machine.out.getvalue())["units"]}
    assert found[f"{API}.service"]["reason"] == "stopped until the market opens"
    assert found[STREAM]["result"] == "OK"
    assert found[f"{WORKER}.service"]["result"] == "FAILED"


def test_a_release_is_not_good_because_a_service_rests(machine: Machine) -> None:
    machine.write(MARKER, json.dumps([STREAM]))
    machine.system.units[STREAM] = [unit_state(STREAM, **DOWN)]
    assert main(["gate"], machine.server) == 1
    assert machine.system.ran("systemctl stop") == [f"systemctl stop {STREAM}.service"]


def test_what_rests_is_stopped_again_where_nothing_is_verified(machine: Machine) -> None:
    machine.write(MARKER, json.dumps([STREAM]))
    machine.system.units[STREAM] = [unit_state(STREAM, **DOWN)]
    machine.environ["TRADING_SKIP_VERIFY"] = "1"
    assert main(["gate"], machine.server) == 0
    assert machine.system.ran("systemctl stop") == [f"systemctl stop {STREAM}.service"]


def test_status_says_what_rests_and_what_is_wrong(machine: Machine) -> None:
    machine.today = new_york("2029-01-02 20:00")
    machine.write(MARKER, json.dumps([STREAM, API]))
    machine.write("run/trading/ignore-window", "")
    assert main(["status"], machine.server) == 0
    said = machine.out.getvalue()
    assert (
        f"note         stopped until the market opens: {STREAM}, {API};"
        " to start them now: tradingctl market open --force\n"
    ) in said
    assert "note         /usr/share/trading/nyse-holidays knows no holiday from today on" in said
    assert "note         /run/trading/ignore-window exists" in said
    machine.write("etc/trading/deploy.conf", "x\n")
    main(["status"], machine.server)
    assert "deploy.conf: line 1: 'x' is not one of" in machine.out.getvalue()


def test_status_says_nothing_of_the_market_where_nothing_was_set_up(machine: Machine) -> None:
    machine.today = new_york("2029-01-02 20:00")
    assert main(["status"], machine.server) == 0
    assert "note " not in machine.out.getvalue()


def test_of_what_is_half_restored_the_open_starts_nothing(machine: Machine) -> None:
    machine.write(MARKER, f'["{STREAM}"]')
    machine.write("var/lib/trading/restore.json", "{}")
    assert at(machine, TRADING, "open")[0] == 5
    assert "a restore was cut short" in machine.err.getvalue()
    assert machine.system.ran("systemctl start") == []
    assert marker(machine) == [STREAM]
