"""A clean root file system of a Debian release, and the command that runs a program in it.

mmdebstrap makes it from the Debian archives that this machine's apt knows, once for each release
and list of packages. It is never changed afterwards: programs see it read-only, without a network,
and with those folders of this machine alone that are bound into it.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import geteuid
from pathlib import Path

from debstack.errors import BuildError, DebstackError
from debstack.log import Log
from debstack.once import once
from debstack.process import SYSTEM_PATH, Result, Runner, base_environment, require

PACKAGES = ("bubblewrap", "debhelper", "dh-python", "dpkg-dev", "lintian", "python3", "zstd")
"""What a build needs there."""

# Raise it when ``_make`` changes.
_RECIPE = 1
# What the programs of a root see of it; everything else is empty, or bound.
_FOLDERS = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "etc", "var", "opt", "srv")
# With these root could reach files of this machine that are not bound; see capabilities(7).
_DROPPED = ("CAP_DAC_READ_SEARCH", "CAP_MKNOD", "CAP_SYS_MODULE", "CAP_SYS_RAWIO")
_PARTS = ("", "-updates", "-security")
_APT_OPTIONS = ("Acquire::Check-", "Acquire::http::Proxy", "Acquire::https::Proxy")


@dataclass(frozen=True)
class Entrance:
    """How a root is entered: ``read`` and ``write`` map a path in it to one of this machine.

    ``environment`` is all that programs there get beside PATH, HOME and the language.
    """

    root: Path
    read: Mapping[str, Path] = field(default_factory=dict)
    write: Mapping[str, Path] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


def host_release() -> str:
    """Return the code name of this machine's Debian release, "" if it has none (os-release(5))."""
    try:
        return platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    except OSError:
        return ""


def place(release: str, cache: Path) -> Path:
    """Return where the root of a Debian release is kept; it need not be there yet."""
    recipe = json.dumps([_RECIPE, release, sorted(PACKAGES)])
    return cache / "roots" / f"{release}-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}"


def root(release: str, cache: Path, runner: Runner, log: Log, *, offline: bool) -> Path:
    """Return the root of a Debian release, made if there is none yet: half a minute, 500 MB.

    Its packages are of the day when it was made; it is made anew when the folder was removed.
    Raises BuildError, ToolMissingError.
    """
    folder = place(release, cache)
    if folder.is_dir():
        return folder
    if offline:
        raise BuildError(
            f"there is no root of {release} in {folder.parent}",
            hint="where the Debian archive can be reached:"
            f" debstack fetch --target {release} --in-root; a vendored folder has no roots",
        )
    require("mmdebstrap")
    with log.step(release, "clean root"):
        return once(folder, lambda unfinished: _make(release, unfinished, runner))


def command(entrance: Entrance) -> list[str]:
    """Return what has to stand before a command for it to run in a root; see bwrap(1)."""
    words = [
        *("bwrap", "--unshare-net", "--unshare-pid", "--unshare-ipc", "--unshare-uts"),
        *("--die-with-parent", "--new-session"),
        *(word for each in _DROPPED for word in ("--cap-drop", each)),
    ]
    for name in _FOLDERS:
        folder = entrance.root / name
        if folder.is_symlink():
            words += ["--symlink", str(folder.readlink()), f"/{name}"]
        elif folder.is_dir():
            words += ["--ro-bind", str(folder), f"/{name}"]
    words += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108  (its own)
    for option, binds in (("--ro-bind", entrance.read), ("--bind", entrance.write)):
        for inside, outside in binds.items():
            words += [option, str(outside), inside]
    environment = {
        "PATH": SYSTEM_PATH, "HOME": "/tmp", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8",  # noqa: S108
        **entrance.environment,
    }  # fmt: skip
    words += ["--clearenv"]
    for name, value in environment.items():
        words += ["--setenv", name, value]
    return words


def demand_enterable(folder: Path, runner: Runner) -> None:
    """Raise BuildError if programs cannot be run in a root here."""
    require("bwrap")
    tried = runner.capture([*command(Entrance(folder)), "/usr/bin/true"], check=False)
    if tried.returncode:
        raise BuildError(
            f"no program can be run in the root {folder}",
            hint="allow bubblewrap to make namespaces (in a container: docker run --privileged;"
            " as a user: sysctl kernel.unprivileged_userns_clone=1), or build on a machine of that"
            " release",
            details=tried.stderr.decode("utf-8", "replace").splitlines(),
        )


def bootstrap(release: str, sources: Sequence[str], options: Sequence[str], tar: Path) -> list[str]:
    """Return the command line that writes a root to the archive ``tar``; see mmdebstrap(1)."""
    return [
        # It ends its whole process group when the disk is full: a session of its own, or that were
        # debstack and the shell that called it.
        *("setsid", "--wait", "mmdebstrap"),
        f"--mode={'root' if geteuid() == 0 else 'unshare'}",
        "--variant=minbase",
        "--format=tar",
        *(f"--aptopt={option}" for option in options),
        f"--include={','.join(sorted(PACKAGES))}",
        release,
        str(tar),
        *sources,
    ]


def _make(release: str, folder: Path, runner: Runner) -> None:
    folder.mkdir()
    tar = folder / "root.tar"
    asked = bootstrap(release, _sources(release, runner), _apt_options(runner), tar)
    done = runner.run(asked, check=False)
    if done.returncode:
        raise _refused(release, folder, done)
    # Devices cannot be made by everybody, and bubblewrap brings its own.
    unpack = ["tar", "--extract", "--no-same-owner", "--exclude=./dev/*"]
    runner.run([*unpack, "--directory", str(folder), "--file", str(tar)])
    tar.unlink()


def _refused(release: str, folder: Path, done: Result) -> DebstackError:
    """Return the error for an mmdebstrap that failed, with what to do about it."""
    said = done.text.lower()
    if "no space left" in said:
        hint = f"make room on the disk of {folder.parent} (a root has 500 MB) and of /tmp"
    elif "does not have a release file" in said:
        hint = (
            f"{release}, a target of packaging/stack.toml, has to be a Debian release's code name"
        )
    elif any(word in said for word in ("could not resolve", "could not connect", "failed to fetch",
                                       "temporary failure", "unable to connect")):  # fmt: skip
        hint = "see that apt reaches the Debian archive: apt-get update"
    elif any(word in said for word in ("newuidmap", "subuid", "unshare", "not permitted")):
        hint = (
            "as a user: apt-get install uidmap, and a line in /etc/subuid and /etc/subgid; in a"
            " container: docker run --privileged"
        )
    else:
        hint = "run the command above by hand"
    return BuildError(
        f"a root of {release} cannot be made: mmdebstrap ended with exit code {done.returncode}",
        hint=hint,
        details=[" ".join(done.command), *done.text.rstrip().splitlines()[-15:]],
    )


def _sources(release: str, runner: Runner) -> list[str]:
    """Return the Debian archives of this machine's apt as sources for another release.

    Those of third parties are told by the origin in their Release file, backports by their code
    name. Raises BuildError if none remains.
    """
    form = "$(ORIGIN)|$(CODENAME)|$(REPO_URI)|$(COMPONENT)"
    listed = runner.capture(["apt-get", "indextargets", "--format", form, "Created-By: Packages"])
    host = host_release()
    found = set()
    for line in listed.text.splitlines():
        origin, codename, uri, component = line.split("|")
        part = codename.removeprefix(host)
        if origin == "Debian" and component == "main" and host and part in _PARTS:
            found.add(f"deb {uri} {release}{part} main")
    if not found:
        raise BuildError(
            f"apt knows no Debian archive that {release} could come from",
            hint="name one in /etc/apt/sources.list, and run: apt-get update",
        )
    return sorted(found)


def _apt_options(runner: Runner) -> list[str]:
    """Return this machine's apt options about reaching the archive and the age of its indexes."""
    dump = runner.capture(["apt-config", "dump", "Acquire"], env=base_environment()).text
    return [line.rstrip(";") for line in dump.splitlines() if line.startswith(_APT_OPTIONS)]
