"""The account of the services: user and group ``trading``."""

from __future__ import annotations

import grp
import pwd
from dataclasses import dataclass
from pathlib import Path

from tradingctl.errors import NoAccountError
from tradingctl.paths import Paths

NAME = "trading"


@dataclass(frozen=True)
class Account:
    """Numeric user and group of the services."""

    uid: int
    gid: int


def find_account(paths: Paths) -> Account:
    """Return the account of the services on this file system; raises NoAccountError."""
    if paths.root == Path("/"):
        try:
            return Account(pwd.getpwnam(NAME).pw_uid, grp.getgrnam(NAME).gr_gid)
        except KeyError:
            raise _missing() from None
    # Under DPKG_ROOT the account is the one of that tree, not of the machine dpkg runs on.
    return Account(_number(paths.passwd), _number(paths.group))


def members(paths: Paths) -> list[str]:
    """Return the accounts that are in the services' group; none when there is no such group."""
    try:
        lines = paths.group.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    found = [line.split(":")[3] for line in lines if line.startswith(f"{NAME}:")]
    return [each for each in ",".join(found).split(",") if each]


def _number(database: Path) -> int:
    try:
        lines = database.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise _missing() from None
    for line in lines:
        fields = line.split(":")
        if fields[0] == NAME:
            return int(fields[2])
    raise _missing()


def _missing() -> NoAccountError:
    return NoAccountError(
        f"the user and group {NAME!r} of the services do not exist",
        "systemd-sysusers && dpkg --configure -a",
    )
