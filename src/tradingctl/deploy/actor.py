"""Who or what asked for a change: the account that logged in, and the program it started."""

from __future__ import annotations

import pwd
from collections.abc import Iterator
from pathlib import Path

from tradingctl.server import Server

NO_LOGIN = (1 << 32) - 1  # what the kernel says of a process that nobody's login started
PROGRAMS = ("apt", "apt-get", "aptitude", "dpkg", "tradingctl", "unattended-upgr")
TAKE_A_WORD = ("-o", "-c", "-t", "--option")
LENGTH = 60


def actor(server: Server) -> str:
    """Return who asks, for people: ``alice: apt-get install traderunner-stack``."""
    program = ""
    for folder in ancestors(server.paths.proc):
        name = _text(folder / "comm").strip()
        if name in PROGRAMS or name.startswith("unattended-upgr"):
            # The outermost: apt starts dpkg, dpkg starts a script, that starts us.
            program = _words(_text(folder / "cmdline")) or name
    account = _account(server)
    return f"{account}: {program}" if program else account


def dpkg_run(proc: Path) -> str:
    """Return what distinguishes the run of dpkg that started this process, empty for none."""
    for folder in ancestors(proc):
        if _text(folder / "comm").strip() == "dpkg":
            fields = _text(folder / "stat").rpartition(")")[2].split()
            # Its number, and when it was started (proc(5), field 22).
            return f"{folder.name}-{fields[19]}" if len(fields) > 19 else folder.name
    return ""


def _words(command: str) -> str:
    """Return a command line without its options, and no more of it than fits a table."""
    said = command.rstrip("\0").split("\0")
    if Path(said[0]).name.startswith("python"):
        said = said[1:]  # a program in Python is named by its script
    words: list[str] = []
    skip = False
    for word in said:
        if not skip and not word.startswith("-"):
            words.append(Path(word).name if not words or word.endswith(".deb") else word)
        skip = word in TAKE_A_WORD and not skip
    text = " ".join(words)
    return text if len(text) <= LENGTH else text[: LENGTH - 1] + "…"


def _account(server: Server) -> str:
    if user := server.environ.get("SUDO_USER"):
        return user
    text = _text(server.paths.proc / "self/loginuid").strip()
    number = int(text) if text.isdecimal() else NO_LOGIN
    if number == NO_LOGIN and server.environ.get("INVOCATION_ID"):
        return "systemd"  # a session of a desktop has that variable too, and a login
    if number == NO_LOGIN:
        return "root" if server.euid == 0 else str(server.euid)
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def ancestors(proc: Path) -> Iterator[Path]:
    """Give the folder of this process below /proc, of its parent, and so on."""
    folder = proc / "self"
    while True:
        yield folder
        # The name, in parentheses, may hold anything.
        fields = _text(folder / "stat").rpartition(")")[2].split()
        if len(fields) < 2 or fields[1] == "0":
            return
        folder = proc / fields[1]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
