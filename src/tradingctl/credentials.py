"""Secrets that belong to no package: generated once, never overwritten, never printed."""

from __future__ import annotations

import os
import re
import secrets
import string

from tradingctl.account import Account
from tradingctl.description import Component
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
    """Make the component's secret file and add the variables that it lacks; return their names.

    What the administrator wrote stays as it is, to the letter. Raises OSError.
    """
    paths = server.paths
    if not paths.secrets.is_dir():
        paths.secrets.mkdir(mode=0o700, parents=True)
        os.chown(paths.secrets, -1, account.gid)
        paths.secrets.chmod(0o750)
    file = paths.secret_file(component.name)
    # The administrator may keep the file elsewhere and link to it.
    target = file.resolve()
    known = target.exists()
    text = target.read_text(encoding="utf-8") if known else HEADING.format(name=component.name)
    present = set(ASSIGNMENT.findall(text))
    missing = [each for each in component.secrets if each.variable not in present]
    if known and not missing:
        return []
    for secret in missing:
        value = "".join(secrets.choice(ALPHABET) for _ in range(secret.length))
        text = _ended(text) + f"{secret.variable}={value}\n"
    if known:
        status = target.stat()
        write_whole(target, text, status.st_mode & 0o7777, status.st_uid, status.st_gid)
    else:
        write_whole(target, text, 0o640, gid=account.gid)
    for secret in missing:
        server.warn(f"generated {secret.variable} in {paths.shown(file)}")
    return [secret.variable for secret in missing]


def _ended(text: str) -> str:
    """Return ``text`` such that a line added to it is a line of its own."""
    if text and not text.endswith("\n"):
        text += "\n"
    # A backslash at the end of the last line would swallow the next one.
    return text + "\n" if text.endswith("\\\n") else text
