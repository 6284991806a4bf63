"""Set a secret in every component that knows it, or move it to where it belongs; never print it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tradingctl.account import find_account
from tradingctl.credentials import ended, generated, heading, make_directory, write_credential
from tradingctl.deploy.history import record
from tradingctl.description import Component, Secret
from tradingctl.doctor.holdings import SECRET_NAME
from tradingctl.envfile import assignments, quoted, read_variables
from tradingctl.errors import TradingError
from tradingctl.files import write_whole
from tradingctl.inventory import Inventory, read_inventory, service
from tradingctl.server import Server


@dataclass(frozen=True)
class _Change:
    """A file and its new text; ``mode`` 0 keeps what the file has."""

    file: Path
    text: str
    mode: int = 0
    gid: int = -1


def owners_of(
    inventory: Inventory, variable: str, names: Sequence[str] = ()
) -> list[tuple[Component, Secret]]:
    """Return the components that declare a secret, of those named or all. Raises TradingError."""
    chosen = [inventory.component(name) for name in names] or list(inventory.components)
    found = [
        (each, secret) for each in chosen for secret in each.secrets if secret.variable == variable
    ]
    if not found:
        known = sorted({s.variable for each in inventory.components for s in each.secrets})
        where = f" of {', '.join(each.name for each in chosen)}" if names else ""
        raise TradingError(
            f"{variable} is no declared secret{where}; there are: {', '.join(known) or 'none'}",
            "sensible-editor /etc/trading/secrets/COMPONENT.env",
        )
    return found


def undeclared_owners(
    server: Server, inventory: Inventory, variable: str, names: Sequence[str] = ()
) -> list[tuple[Component, Secret]]:
    """Return the components, of those named or all, whose open files have an undeclared secret.

    Only what has the name of one. Raises TradingError when there is none.
    """
    chosen = [inventory.component(name) for name in names] or list(inventory.components)
    found = [
        (each, Secret(variable, generate=False))
        for each in chosen
        if SECRET_NAME.search(variable)
        and any(variable in dict(read_variables(file)) for file in _open_files(server, each))
    ]
    if not found:
        raise TradingError(
            f"{variable} is no declared secret, nor one by its name in a file of settings",
            "tradingctl doctor",
        )
    return found


def _open_files(server: Server, component: Component) -> tuple[Path, Path]:
    """Return the files of settings that everybody can read; the second is of all components."""
    return server.paths.setting(f"{component.name}.env"), server.paths.environment


def new_value(owners: Sequence[tuple[Component, Secret]]) -> str:
    """Return a generated value that is long enough for each of the components."""
    return generated(max((secret for _, secret in owners), key=lambda secret: secret.length))


def set_secret(server: Server, owners: Sequence[tuple[Component, Secret]], value: str) -> None:
    """Give a secret the same value in each of the components. Raises TradingError, OSError.

    Nothing is written if it cannot be done in all of them.
    """
    if not value or not value.isprintable():
        raise TradingError("a secret is one line of printable characters, at least one")
    _write(server, [(component, secret, value) for component, secret in owners], "set")


def move_secret(server: Server, owners: Sequence[tuple[Component, Secret]]) -> None:
    """Put the value that each component has now where it belongs. Raises as ``set_secret`` does."""
    _write(
        server,
        [(each, secret, present_value(server, each, secret)) for each, secret in owners],
        "moved",
    )


def present_value(server: Server, component: Component, secret: Secret) -> str:
    """Return the value that the services have, by the files. Raises TradingError if there is none.

    A variable wins over the file of a credential.
    """
    paths, name = server.paths, component.name
    value = ""
    for file in (paths.setting(f"{name}.env"), paths.environment, paths.secret_file(name)):
        value = dict(read_variables(file)).get(secret.variable, value)
    credential = paths.credential_file(name, secret.variable)
    if not value and secret.credential and credential.is_file():
        value = credential.read_text(encoding="utf-8").strip()
    if not value:
        raise TradingError(
            f"{name} has no {secret.variable} yet", f"tradingctl secret {secret.variable}"
        )
    return value


def _write(server: Server, wanted: Sequence[tuple[Component, Secret, str]], word: str) -> None:
    account = find_account(server.paths)
    _require_all_readers(server, [component for component, _, _ in wanted], wanted[0][1].variable)
    changes = [
        change
        for component, secret, value in wanted
        for change in _changes(server, component, secret, value, account.gid)
    ]
    make_directory(server, account)
    for component, secret, value in wanted:
        if secret.credential:
            write_credential(server, component, secret, value)
    # What is taken out of a file comes last: a value is in two places for a moment, never in none.
    for change in sorted(changes, key=lambda each: not each.mode):
        if change.mode:
            write_whole(change.file, change.text, change.mode, gid=change.gid)
        else:
            status = change.file.stat()
            mode = status.st_mode & 0o7777
            write_whole(change.file, change.text, mode, status.st_uid, status.st_gid)
    variable = wanted[0][1].variable
    names = ", ".join(component.name for component, _, _ in wanted)
    record(server, "secret", detail=f"{variable} {word} for {names}")
    for component, secret, _ in wanted:
        place = server.paths.secret_file(component.name)
        if secret.credential:
            place = server.paths.credential_file(component.name, variable)
        server.say(f"{variable} is in {server.paths.shown(place)}")
    units = [service(unit.name) for component, _, _ in wanted for unit in component.units]
    server.say(f"used from the next start: systemctl restart {' '.join(units)}")


def _require_all_readers(server: Server, chosen: Sequence[Component], variable: str) -> None:
    """Raise TradingError if the variable is in a file of all components, and not all are meant.

    It is taken out of that file, and another component may have it from there alone.
    """
    shared = server.paths.environment
    if variable not in dict(read_variables(shared)):
        return
    inventory = read_inventory(server.paths)
    declaring = [each for each in inventory.components if _declares(each, variable)]
    names = {each.name for each in chosen}
    others = [each.name for each in declaring or inventory.components if each.name not in names]
    if others:
        raise TradingError(
            f"{variable} is in {server.paths.shown(shared)}, which is read by"
            f" {', '.join(others)} as well; nothing was changed",
            f"tradingctl secret {variable} --move",
        )


def _declares(component: Component, variable: str) -> bool:
    return any(secret.variable == variable for secret in component.secrets)


def _changes(
    server: Server, component: Component, secret: Secret, value: str, gid: int
) -> list[_Change]:
    """Return what is to be written beside a credential: nothing else may name the variable."""
    paths, variable = server.paths, secret.variable
    changes = [
        _Change(settings.resolve(), _without(settings, variable))
        for settings in _open_files(server, component)
        if variable in dict(read_variables(settings))
    ]
    file = paths.secret_file(component.name)
    if secret.credential:
        if file.exists() and variable in dict(read_variables(file)):
            changes.append(_Change(file.resolve(), _without(file, variable), 0o640, gid))
        return changes
    text = _without(file, variable) if file.exists() else heading(component)
    text = ended(text) + f"{variable}={quoted(value)}\n"
    if dict(assignments(text)).get(variable) != value:
        raise _by_hand(file, variable)
    changes.append(_Change(file.resolve(), text, 0o640, gid))
    return changes


def _without(file: Path, variable: str) -> str:
    """Return the text of a file without a variable. Raises TradingError if that is not certain."""
    text = file.read_text(encoding="utf-8")
    line = rf"^[ \t]*(?:export[ \t]+)?{variable}[ \t]*=(?:[^\n]*\\\n)*[^\n]*(?:\n|\Z)"
    left = re.sub(line, "", text, flags=re.MULTILINE)
    others = [each for each in assignments(text) if each[0] != variable]
    if assignments(left) != others:
        raise _by_hand(file, variable)
    return left


def _by_hand(file: Path, variable: str) -> TradingError:
    return TradingError(
        f"{file}: what is written around {variable} is not understood; nothing was changed",
        f"sensible-editor {file}",
    )
