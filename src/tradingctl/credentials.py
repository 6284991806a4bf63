"""Secrets that belong to no package: generated once, never overwritten, never printed."""

from __future__ import annotations

import os
import re
import secrets
import string

from tradingctl.account import Account
from tradingctl.description import Component, Secret
from tradingctl.files import write_whole
from tradingctl.server import Server

# Letters and digits mean the same to the shell, to systemd's EnvironmentFile and in a URL.
ALPHABET = string.ascii_letters + string.digits
ASSIGNMENT = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=", re.MULTILINE)
HEADING = """\
# Secrets and local overrides of {name}. Read after /etc/trading/{name}.env.
# Made at the first installation, in no package, never overwritten.
"""


def ensure(server: Server, component: Component, account: Account) -> list[str]:
    """Make the component's secret file and generate what is in none yet; return the names.

    What the administrator wrote stays as it is, to the letter. Raises OSError.
    """
    paths = server.paths
    make_directory(server, account)
    file = paths.secret_file(component.name)
    # The administrator may keep the file elsewhere and link to it.
    target = file.resolve()
    known = target.exists()
    text = target.read_text(encoding="utf-8") if known else heading(component)
    present = set(ASSIGNMENT.findall(text))
    missing = [s for s in component.secrets if s.generate and s.variable not in present]
    lines = [secret for secret in missing if not secret.credential]
    for secret in lines:
        text = ended(text) + f"{secret.variable}={generated(secret)}\n"
    if not known:
        write_whole(target, text, 0o640, gid=account.gid)
    elif lines:
        status = target.stat()
        write_whole(target, text, status.st_mode & 0o7777, status.st_uid, status.st_gid)
    places = [(secret, file) for secret in lines]
    for secret in missing:
        place = paths.credential_file(component.name, secret.variable)
        if secret.credential and not place.exists():
            write_credential(server, component, secret, generated(secret))
            places.append((secret, place))
    for secret, place in places:
        server.warn(f"generated {secret.variable} in {paths.shown(place)}")
    return [secret.variable for secret, _ in places]


def generated(secret: Secret) -> str:
    """Return a new value."""
    return "".join(secrets.choice(ALPHABET) for _ in range(secret.length))


def heading(component: Component) -> str:
    """Return what a new secret file begins with."""
    return HEADING.format(name=component.name)


def make_directory(server: Server, account: Account) -> None:
    """Make the directory of the secrets, if there is none. Raises OSError."""
    folder = server.paths.secrets
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True)
        os.chown(folder, -1, account.gid)
        folder.chmod(0o750)


def write_credential(server: Server, component: Component, secret: Secret, value: str) -> None:
    """Write a secret that is a file of its own: for root, systemd hands it on. Raises OSError."""
    place = server.paths.credential_file(component.name, secret.variable)
    place.parent.mkdir(mode=0o700, exist_ok=True)
    write_whole(place.resolve(), value, 0o600)


def ended(text: str) -> str:
    """Return ``text`` such that a line added to it is a line of its own."""
    if text and not text.endswith("\n"):
        text += "\n"
    # A backslash at the end of the last line would swallow the next one.
    return text + "\n" if text.endswith("\\\n") else text
