"""What is installed and how it does, at a glance: one question to each, nothing waited for."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tradingctl import probe, systemd
from tradingctl.backup.notes import backup_notes
from tradingctl.deploy.lastgood import LastGood, read_last_good
from tradingctl.deploy.notes import deploy_notes
from tradingctl.description import Component, Unit
from tradingctl.environment import KNOWN, read_environment, spelling_note
from tradingctl.errors import TradingError
from tradingctl.generations import Generations
from tradingctl.inventory import Inventory, installed_versions
from tradingctl.market.notes import market_notes
from tradingctl.order_safety import CONDITION, order_notes
from tradingctl.parallel import for_each
from tradingctl.report import age_text, table
from tradingctl.server import Server
from tradingctl.settings import Difference, differences
from tradingctl.systemd import UnitState

UNKNOWN = "unknown"


@dataclass(frozen=True)
class UnitStatus:
    """A unit: systemd's word for it, since when (ISO 8601, local; age in seconds), its answer."""

    unit: str
    port: int
    state: str
    since: str
    age: float
    health: str


@dataclass(frozen=True)
class ComponentStatus:
    """A component: the version dpkg has, the version that is linked, and its units."""

    name: str
    package: str
    version: str
    active: str
    commit: str
    units: tuple[UnitStatus, ...]


@dataclass(frozen=True)
class Status:
    """The server; an unknown thing is empty."""

    release: str
    channel: str
    environment: str
    spelling: str
    last_good: LastGood | None
    components: tuple[ComponentStatus, ...]
    notes: tuple[str, ...] = ()
    settings: tuple[Difference, ...] = ()

    def as_data(self) -> dict[str, Any]:
        """Return what ``status --json`` prints."""
        return asdict(self)


def status(server: Server, inventory: Inventory) -> Status:
    """Return what can be found out; what cannot is a note, not an error."""
    notes = []
    states: dict[str, UnitState] = {}
    versions: dict[str, str] = {}
    last_good = None
    pairs = list(inventory.units())
    try:
        if reason := systemd.absence(server):
            notes.append(f"unit states are not known: {reason}")
        else:
            states = systemd.show(server.runner, [unit.name for _, unit in pairs])
    except TradingError as error:
        notes.append(error.message)
    try:
        packages = [component.package for component in inventory.components]
        versions = installed_versions(server.runner, packages)
    except TradingError as error:
        notes.append(error.message)
    try:
        last_good = read_last_good(server.paths)
    except TradingError as error:
        notes.append(error.message)

    notes += deploy_notes(server)
    notes += backup_notes(server)
    notes += market_notes(server)
    notes += order_notes(server, inventory)
    environment = _environment(server)
    if environment and environment not in KNOWN:
        notes.append(
            f"{server.paths.shown(server.paths.environment)} says neither {' nor '.join(KNOWN)}, so"
            f" this machine is treated as staging; next: tradingctl environment {KNOWN[0]}"
        )

    def look(pair: tuple[Component, Unit]) -> UnitStatus:
        return _unit(server, *pair, states.get(pair[1].name))

    found = for_each(look, pairs)
    components = tuple(
        ComponentStatus(
            name=component.name,
            package=component.package,
            version=versions.get(component.package, ""),
            active=Generations(server.paths, component.name).active,
            commit=component.commit,
            units=tuple(
                each for each, (owner, _) in zip(found, pairs, strict=True) if owner is component
            ),
        )
        for component in inventory.components
    )
    return Status(
        release=inventory.release,
        channel=_channel(server),
        environment=environment,
        spelling=spelling_note(inventory, environment),
        last_good=last_good,
        components=components,
        notes=tuple(notes),
        settings=tuple(differences(server.paths)),
    )


def _channel(server: Server) -> str:
    key = "Suites:"
    try:
        lines = server.paths.sources.read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    values = [line.removeprefix(key).strip() for line in lines if line.startswith(key)]
    return values[-1] if values else ""


def _environment(server: Server) -> str:
    try:
        return read_environment(server.paths)
    except OSError:
        return ""


def _unit(server: Server, component: Component, unit: Unit, state: UnitState | None) -> UnitStatus:
    word = UNKNOWN
    since = ""
    age = 0.0
    if state:
        word = state.put_aside if state.put_aside and state.active != "active" else state.active
        if word == "inactive" and state.result == CONDITION:
            word = "refused"
        if state.active == "active" and state.since:
            age = max(0.0, server.clock.now() - state.since)
            started = datetime.now(UTC).astimezone() - timedelta(seconds=age)
            since = started.isoformat(sep=" ", timespec="seconds")
    return UnitStatus(unit.name, unit.port, word, since, round(age, 1), _health(component, unit))


def _health(component: Component, unit: Unit) -> str:
    for check in unit.checks:
        if check.required:
            answer = probe.ask(check, component.commit)
            return "ok" if answer.ok else answer.got
    return "-"


def status_text(found: Status) -> str:
    """Return the status for people."""
    last = found.last_good
    lines = [
        f"release      {found.release}",
        f"channel      {found.channel or UNKNOWN}",
        f"environment  {found.environment or UNKNOWN}"
        + (f" ({found.spelling})" if found.spelling else ""),
        "verified     " + (f"{last.release} at {last.verified_at}" if last else "no release yet"),
        *(f"note         {note}" for note in found.notes),
        *(line for each in found.settings for line in _settings_lines(each)),
        "",
    ]
    rows = [("COMPONENT", "VERSION", "COMMIT", "UNIT", "PORT", "STATE", "SINCE", "HEALTH")]
    for component in found.components:
        version = component.version or "not installed"
        if component.active != component.version:
            version += f" (runs {component.active or 'nothing'})"
        first = (component.name, version, component.commit[:7])
        for unit in component.units:
            since = f"{unit.since[:19]} ({age_text(unit.age)})" if unit.since else "-"
            port = str(unit.port) if unit.port else "-"
            rows.append((*first, unit.unit, port, unit.state, since, unit.health))
            first = ("", "", "")
        if not component.units:
            rows.append((*first, "-", "-", "-", "-", "-"))
    return "\n".join(lines) + "\n" + table(rows)


def _settings_lines(difference: Difference) -> list[str]:
    return [f"settings     {difference.text}", f"             next: {difference.next_command}"]
