"""Isolation of other people's code that has to run here, by bubblewrap: bwrap(1).

What builds a package may be anybody's: a source distribution's setup.py, a build backend. It must
not sign with a key whose agent is unlocked, change a file of the user's, or answer for another
process.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from debstack.errors import DependencyError
from debstack.process import SYSTEM_PATH, Runner

_SYSTEM_FOLDERS = ("/bin", "/sbin", "/lib", "/lib64", "/lib32")
_SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/localtime", "/etc/ssl", "/etc/alternatives",
                 "/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/hosts")  # fmt: skip
_TEMPORARY = "/tmp"  # noqa: S108  (its own)
# Where /etc/resolv.conf may lead to; all else in /run is sockets of agents and daemons.
_NAMES = ("/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager")
# root keeps all its capabilities otherwise, with which it could mount what is hidden.
_ALONE = ("--unshare-pid", "--unshare-ipc", "--cap-drop", "ALL", "--new-session",
          "--die-with-parent")  # fmt: skip
_ELSEWHERE = "; or build where it works and bring the wheel along: debstack vendor"


def can_isolate(runner: Runner) -> bool:
    """Tell whether bubblewrap works here: installed, and allowed to make namespaces."""
    if shutil.which("bwrap", path=SYSTEM_PATH) is None:
        return False
    probe = [*among_system_files(), *writing([]), "/bin/true"]
    return runner.capture(probe, check=False).returncode == 0


def not_isolated(subject: str, name: str, instead: str = _ELSEWHERE) -> DependencyError:
    """Return the error for source of ``name`` that would have to run without isolation.

    ``instead`` ends the hint: what else can be done.
    """
    return DependencyError(
        f"{subject}: {name} has to be built from source, which is other people's code, and"
        " bubblewrap is missing or may not make namespaces here",
        hint=f"apt-get install bubblewrap; in a container, one that is privileged{instead}",
    )


def system_files() -> list[str]:
    """Return bwrap's options for the programs and libraries of Debian, read-only."""
    options = ["--ro-bind", "/usr", "/usr"]
    for folder in map(Path, _SYSTEM_FOLDERS):
        if folder.is_symlink():
            options += ["--symlink", str(folder.readlink()), str(folder)]
        elif folder.is_dir():
            options += ["--ro-bind", str(folder), str(folder)]
    for file in _SYSTEM_FILES:
        options += ["--ro-bind-try", file, file]
    return [*options, "--proc", "/proc", "--dev", "/dev", "--tmpfs", _TEMPORARY]


def among_system_files(readable: Sequence[Path] = ()) -> list[str]:
    """Return the command for a program that needs no network and sees Debian's files alone.

    It may read ``readable`` as well; what it may write is appended with ``writing``.
    """
    seen = [word for each in readable for word in ("--ro-bind", str(each), str(each))]
    return ["bwrap", *_ALONE, "--unshare-net", "--unshare-uts", *system_files(), *seen]


def among_all_files(hidden: Sequence[Path]) -> list[str]:
    """Return the command for a program that fetches: all files are there but those ``hidden``.

    These are folders, which are empty then, files, or sockets.
    """
    command = ["bwrap", *_ALONE, "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc",
               "--tmpfs", "/run"]  # fmt: skip
    for each in _NAMES:
        command += ["--ro-bind-try", each, each]
    # By their real paths: bwrap mounts nothing over a link.
    for path in (each.resolve() for each in hidden if each.exists()):
        nothing = ["--tmpfs"] if path.is_dir() else ["--ro-bind", "/dev/null"]
        command += [*nothing, str(path)]
    return command


def writing(folders: Sequence[Path]) -> list[str]:
    """Return bwrap's options for folders that may be written, which come last."""
    return [word for each in folders for word in ("--bind", str(each), str(each))]
