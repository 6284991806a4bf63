"""Services that run only while the market is open: stopped after its close, started at its open.

What rests is written down under /run before it is stopped, so that whoever starts it meanwhile, to
verify a release, can stop it again.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tradingctl import systemd
from tradingctl.backup.unfinished import refuse_unfinished
from tradingctl.deploy import history
from tradingctl.description import Unit
from tradingctl.errors import MarketSettingsError, MarketStopError, TradingError
from tradingctl.files import write_whole
from tradingctl.inventory import Inventory, service
from tradingctl.market.calendar import both, is_open, next_open, session_of
from tradingctl.market.holidays import Holidays
from tradingctl.market.resting import resting_units
from tradingctl.market.settings import (
    MARKET_UNITS,
    MarketSettings,
    holidays_of,
    read_market_settings,
)
from tradingctl.process import Outcome
from tradingctl.report import verification_text
from tradingctl.server import Server
from tradingctl.systemd import UnitState
from tradingctl.verdict import Result
from tradingctl.verify import verify

STOP_SECONDS = 300.0  # for all of them together


def open_market(server: Server, inventory: Inventory, force: bool = False) -> int:
    """Start the chosen units and those that rest, verify them; return 0, or 3 if one failed.

    Nothing is started unless the market is open or ``force`` says so. Raises TradingError before
    anything is touched.
    """
    settings = read_market_settings(server.paths)
    chosen = _chosen(inventory, settings)
    if not force and (reason := _closed_now(server, settings)):
        server.say(f"{reason}; nothing is started")
        return 0
    _require_systemd(server)
    refuse_unfinished(server.paths)
    resting = resting_units(server)
    units = [unit for _, unit in inventory.units() if unit in chosen or _is_in(unit, resting)]
    server.paths.market_closed.unlink(missing_ok=True)
    systemd.start(server, units)
    found = verify(server, inventory, [unit.name for unit in units])
    server.say(verification_text(found))
    started = ", ".join(map(_short, units))
    history.record(
        server, "market-open", inventory.release, f"{found.result.value}: {started}{_how(force)}"
    )
    return found.exit_code if found.result is Result.FAILED else 0


def close_market(server: Server, inventory: Inventory, force: bool = False) -> int:
    """Stop the chosen units unless the market is open; with ``force`` also then. Return 0.

    Units that the administrator disabled or masked are left alone. Settings or holidays that are
    not understood are no reason to let a worker run on: what they leave unsaid is as where nothing
    was set up, and 5 is returned. Raises TradingError before anything is touched, MarketStopError
    when a unit does not stop.
    """
    closing = _closing(server, inventory)
    code = 0
    for error in closing.wrong:
        server.warn(
            f"WARNING: {error.message}; what is usual is closed instead\n"
            f"  next: {error.next_command}"
        )
        code = error.exit_code
    if not force and closing.open_until:
        server.say(f"the market is open until {closing.open_until}; nothing is stopped")
        return code
    _require_systemd(server)
    everything = [unit for _, unit in inventory.units()]
    before = _states(server, everything)
    units = [unit for unit in closing.units if not _left_alone(server, unit, before[unit.name])]
    resting = {*resting_units(server), *map(_short, units)}
    _write(server, resting)
    outcome = _stop(server, units)
    after = _states(server, everything)
    # Those that cannot run without one of the units went down with it and rest too.
    stopped = [
        _short(unit) for unit in everything if _runs(before[unit.name]) > _runs(after[unit.name])
    ]
    _write(server, {*resting, *stopped})
    if still := [_short(unit) for unit in units if _runs(after[unit.name])]:
        raise MarketStopError(_runs_on(still, outcome), _kill(still))
    if stopped:
        detail = f"stopped: {', '.join(stopped)}{_how(force)}"
        history.record(server, "market-close", inventory.release, detail)
    server.say(f"stopped: {', '.join(stopped)}" if stopped else "nothing to stop")
    return code


@dataclass(frozen=True)
class _Closing:
    """What the close stops, until when the market is open (empty: closed), what is not understood.

    A market of which that cannot be said is closed.
    """

    units: tuple[Unit, ...]
    open_until: str
    wrong: tuple[TradingError, ...]


def _closing(server: Server, inventory: Inventory) -> _Closing:
    wrong: list[TradingError] = []
    try:
        settings = read_market_settings(server.paths)
    except MarketSettingsError as error:
        wrong.append(error)
        settings = MarketSettings()
    try:
        units = _chosen(inventory, settings)
    except TradingError as error:
        wrong.append(error)
        names = {*settings.units, *MARKET_UNITS}
        units = [unit for _, unit in inventory.units() if _is_in(unit, names)]
    try:
        until = _open_until(server, _holidays(server, settings, wrong))
    except MarketSettingsError as error:
        wrong.append(error)
        until = ""
    return _Closing(tuple(units), until, tuple(wrong))


def _holidays(server: Server, settings: MarketSettings, wrong: list[TradingError]) -> Holidays:
    """Return the holidays of the settings, else those that are shipped, else none."""
    for each in dict.fromkeys((settings, MarketSettings())):
        try:
            return holidays_of(server.paths, each)
        except MarketSettingsError as error:
            wrong.append(error)
    return Holidays("")


def resume_closed(server: Server, inventory: Inventory) -> None:
    """Stop again what rests until the market opens, after it was started to be verified.

    Does nothing while nothing rests. Never raises: whether the release is good is decided already,
    so what goes wrong here is a warning. Speaks on standard error alone.
    """
    resting = resting_units(server)
    units = [unit for _, unit in inventory.units() if _is_in(unit, resting)]
    if not units:
        return
    names = ", ".join(map(_short, units))
    outcome = _stop(server, units)
    try:
        states = _states(server, units)
        still = [_short(unit) for unit in units if _runs(states[unit.name])]
    except TradingError as error:
        server.warn(f"warning: {error.message}")
        still = list(map(_short, units)) if outcome.code != 0 else []
    if still:
        server.warn(f"WARNING: {_runs_on(still, outcome)}\n  next: {_kill(still)}")
        return
    server.warn(f"note: the market is closed; stopped again until it opens: {names}")
    history.record(server, "market-close", inventory.release, f"stopped again: {names}")


def _chosen(inventory: Inventory, settings: MarketSettings) -> list[Unit]:
    """Return the units of the settings, in start order. Raises TradingError for an unknown one."""
    units = [unit for _, unit in inventory.units()]
    unknown = set(settings.units) - set(map(_short, units))
    if settings.units_named and unknown:
        known = ", ".join(map(_short, units))
        raise TradingError(
            f"{settings.written}: MARKET_UNITS: {sorted(unknown)[0]!r} is none of the services"
            f" that are installed: {known}",
            f"sensible-editor {settings.written}",
        )
    return [unit for unit in units if _is_in(unit, settings.units)]


def _closed_now(server: Server, settings: MarketSettings) -> str:
    """Return that the market is closed and when it opens, empty while it is open."""
    now, holidays = server.wall(), holidays_of(server.paths, settings)
    if is_open(now, holidays):
        return ""
    opens = both(next_open(now, holidays), "%a %Y-%m-%d %H:%M %Z")
    return f"the market is closed and opens {opens}"


def _open_until(server: Server, holidays: Holidays) -> str:
    """Return when the market closes, empty when it is closed."""
    now = server.wall()
    session = session_of(now, holidays)
    return both(session.closes) if session and is_open(now, holidays) else ""


def _require_systemd(server: Server) -> None:
    if reason := systemd.absence(server):
        raise TradingError(
            f"services cannot be started or stopped here: {reason}", "systemctl status"
        )


def _states(server: Server, units: Sequence[Unit]) -> dict[str, UnitState]:
    return systemd.show(server.runner, [unit.name for unit in units])


def _runs(state: UnitState) -> bool:
    return state.active not in ("inactive", "failed")


def _left_alone(server: Server, unit: Unit, state: UnitState) -> bool:
    if state.put_aside and _runs(state):
        server.warn(f"note: {_short(unit)} is {state.put_aside} and runs; not stopping it")
    return bool(state.put_aside)


def _stop(server: Server, units: Sequence[Unit]) -> Outcome:
    """Stop units for certain: not by deb-systemd-invoke, which policy-rc.d may keep from it.

    At once, so that systemd does it in the reverse of their order. Also what is only about to start
    at boot: its start is cancelled.
    """
    if not units:
        return Outcome((), 0)
    names = [service(unit.name) for unit in units]
    return server.runner.run(["systemctl", "stop", *names], timeout=STOP_SECONDS)


def _write(server: Server, names: Collection[str]) -> None:
    path = server.paths.market_closed
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    write_whole(path, json.dumps(sorted(names)) + "\n", 0o644)


def _short(unit: Unit) -> str:
    return unit.name.removesuffix(".service")


def _is_in(unit: Unit, names: Collection[str]) -> bool:
    return _short(unit) in names


def _runs_on(units: Sequence[str], outcome: Outcome) -> str:
    return f"the market is closed and {', '.join(units)} did not stop: {outcome.said}"


def _kill(units: Sequence[str]) -> str:
    return "systemctl kill -s KILL " + " ".join(map(service, units))


def _how(force: bool) -> str:
    return ", by --force" if force else ""
