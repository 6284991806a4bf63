"""Disposable Debian machines with systemd, for the system tests.

A :class:`Machine` is a throw-away copy of a cached root file system (:func:`base_root`) that
systemd-nspawn boots, or that commands enter with a plain chroot. It has no network but loopback,
so what a package depends on has to be in the base.

Nothing outlives a machine. One *holder* process owns a private mount namespace and a PID
namespace; every mount of the machine is made in the former, every process of it runs in the
latter. The holder ends when its standard input closes, which the kernel does even if the test
process is killed; the kernel then ends all processes and drops all mounts.

All times are in seconds, all sizes in bytes unless a name says otherwise.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Self, TypeVar

T = TypeVar("T")

Storage = Literal["auto", "memory", "disk"]
"""Where a machine's changes are kept; ``auto`` is memory when plenty of it is available."""

DEFAULT_PACKAGES = (
    "adduser",
    "apt",
    "ca-certificates",
    "curl",
    "dbus",
    "debconf",
    "debsig-verify",
    "gpgv",
    "init-system-helpers",
    "iproute2",
    "libc6",
    "libgcc-s1",
    "libstdc++6",
    "netbase",
    "passwd",
    "procps",
    "python3",
    "sqlite3",
    "systemd",
    "systemd-sysv",
    "tzdata",
    "ucf",
    "util-linux",
    "xz-utils",
    "zlib1g",
    "zstd",
)
"""What a small server has, and what packages of the stack depend on."""

COMMAND_ENVIRONMENT = {
    "DEBIAN_FRONTEND": "noninteractive",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "TERM": "dumb",
}
"""The whole environment of a command in a machine, before what the caller adds."""

BOOT_SECONDS = 300.0  # it may go on with an installation, or finish a restore
COMMAND_SECONDS = 120.0
END_SECONDS = 60.0
MEMORY_UPPER_SIZE = "6G"
MEMORY_NEEDED_KIB = 12 * 1024 * 1024
CONSOLE_CHARACTERS = 6000

_TOOLS = (
    "apt-config",
    "apt-get",
    "chroot",
    "hostname",
    "ip",
    "mmdebstrap",
    "mount",
    "nsenter",
    "sh",
    "systemd-nspawn",
    "unshare",
)
_REBOOT_STATUS = 133  # systemd-nspawn --keep-unit ends with it when the container rebooted
_RECIPE_REVISION = 1  # raise it when _make_root or _finish_root changes
_VARIANT = "minbase"
# Timers that would take the dpkg lock at a random time of day.
_MASKED_UNITS = ("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer")

# $2 are the layers of the base, the uppermost first, with colons between them.
_HOLDER_SCRIPT = """
state=$1 layers=$2 storage=$3 size=$4 overlay=$5
base=${layers##*:}
mkdir -p /run/systemd
mount -t tmpfs -o mode=0755 tmpfs /run/systemd
if [ "$storage" = memory ]; then
    mount -t tmpfs -o "mode=0755,size=$size" tmpfs "$state"
fi
mkdir "$state/upper" "$state/work" "$state/root"
chmod --reference="$base" "$state/upper" "$state/root"
how=overlay
if [ "$overlay" = no ] || ! mount -t overlay -o \\
    "lowerdir=$layers,upperdir=$state/upper,workdir=$state/work,redirect_dir=on" \\
    overlay "$state/root"
then
    how=copy
    [ "$base" = "$layers" ] || { echo "changes of a machine need an overlay" >&2; exit 1; }
    cp -a --reflink=auto "$base/." "$state/root/"
    mount --bind "$state/root" "$state/root"
fi
echo "ready $how"
read -r _ || true
"""

# $1 root, $2 host name, then SOURCE TARGET and ro or rw, --, the command. The command is not PID 1
# and PID 1 is outside of the chroot, as on a real host: ischroot(1) compares the two.
_CHROOT_SCRIPT = """
root=$1 name=$2; shift 2
hostname "$name"
ip link set lo up
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t tmpfs -o mode=0755,nosuid tmpfs "$root/dev"
for node in null zero full random urandom tty; do
    : >"$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s /proc/self/fd/0 "$root/dev/stdin"
ln -s /proc/self/fd/1 "$root/dev/stdout"
ln -s /proc/self/fd/2 "$root/dev/stderr"
while [ "$1" != -- ]; do
    chroot "$root" mkdir -p -- "$2"
    mount --bind "$1" "$root$2"
    [ "$3" = rw ] || mount -o remount,bind,ro "$root$2"
    shift 3
done
shift
set +e
chroot "$root" "$@"
exit $?
"""

# Joins the control groups named before --, then becomes the command after it.
_JOIN_GROUPS_SCRIPT = """
while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs"; shift; done
shift
exec "$@"
"""

_HTTP_SCRIPT = """
import base64, http.client, json, sys, urllib.parse
ask = json.load(sys.stdin)
url = urllib.parse.urlsplit(ask["url"])
connection = http.client.HTTPConnection(url.hostname, url.port or 80, timeout=ask["timeout"])
target = (url.path or "/") + ("?" + url.query if url.query else "")
try:
    body = base64.b64decode(ask["body"]) if ask["body"] is not None else None
    connection.request(ask["method"], target, body, ask["headers"])
    reply = connection.getresponse()
    answer = {
        "status": reply.status,
        "headers": reply.getheaders(),
        "body": base64.b64encode(reply.read()).decode(),
    }
except (OSError, http.client.HTTPException) as error:
    answer = {"error": f"{type(error).__name__}: {error}"}
json.dump(answer, sys.stdout)
"""


class HarnessUnavailableError(Exception):
    """Machines cannot run on this computer; the message names what is missing."""


class MachineError(Exception):
    """A machine did not do what it was told; the message has the end of its console."""


class CommandError(MachineError):
    """A command failed or took too long; the message has the command and its output."""


@dataclass(frozen=True)
class Result:
    """What a finished command left: its exit status and decoded output."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        """Standard output followed by standard error."""
        return self.stdout + self.stderr


@dataclass(frozen=True)
class Reply:
    """An HTTP answer; header names are in lower case, repeated ones are joined with a comma."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as UTF-8."""
        return self.body.decode()

    def json(self) -> Any:
        """Return the body as JSON; raises ValueError if it is none."""
        return json.loads(self.body)


class Started:
    """A command that runs in a machine meanwhile; a context manager that ends it.

    What it prints, on both outputs, is kept in a file without a name.
    """

    def __init__(self, command: Sequence[str], shown: Sequence[str]) -> None:
        self._shown = tuple(shown)
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115  (closed in __exit__)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.ended:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._printed.close()

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def output(self) -> str:
        """Return what it printed so far."""
        size = os.fstat(self._printed.fileno()).st_size
        return os.pread(self._printed.fileno(), size, 0).decode(errors="replace")

    def wait(self, timeout: float) -> Result:
        """Return how it ended, its output as that of one stream; CommandError if it does not."""
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            text = f"{shlex.join(self._shown)}\ntook over {timeout:g} s\n{self.output()}"
            raise CommandError(text) from None
        return Result(self._shown, status, self.output(), "")


@dataclass(frozen=True)
class Snapshot:
    """What :meth:`Machine.save` kept: folders that lie over each other, the uppermost first."""

    layers: tuple[Path, ...]


def wait_until(condition: Callable[[], T], timeout: float, what: str) -> T:
    """Return the first true value of the condition, asked every 50 ms; TimeoutError names what."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise TimeoutError(f"waited {timeout:g} s in vain for {what}")
        time.sleep(0.05)


def missing_requirements() -> list[str]:
    """Return what this computer lacks to run machines, one phrase each; empty if nothing."""
    missing = [f"the program {name}" for name in _TOOLS if shutil.which(name) is None]
    if os.geteuid() != 0:
        return ["root", *missing]
    if not missing:
        attempt = subprocess.run(
            [_tool("unshare"), *_NAMESPACES, "--", _tool("mount"), "-t", "tmpfs", "x", "/mnt"],
            capture_output=True,
            text=True,
            check=False,
        )
        if attempt.returncode != 0:
            missing.append(f"permission to make namespaces ({attempt.stderr.strip()})")
    writable = [path for path in _group_hierarchies() if os.access(path, os.W_OK)]
    if not writable:
        missing.append("a writable control group hierarchy for systemd")
    return missing


def cache_directory() -> Path:
    """Return the folder the harness keeps its roots and machines in; it may not exist yet."""
    configured = os.environ.get("DEBSTACK_CACHE_DIR")
    return Path(configured) if configured else Path.home() / ".cache" / "debstack"


def base_root(release: str, packages: Sequence[str] = DEFAULT_PACKAGES) -> Path:
    """Return the cached root file system of a Debian release with these packages.

    It is made at the first call (about half a minute) from the host's own apt sources, and is
    never changed or refreshed afterwards: remove the folder to get newer package versions.
    Raises HarnessUnavailableError if the host's apt knows no Debian archive, MachineError if
    mmdebstrap fails.
    """
    wanted = sorted(set(packages))
    recipe = [_RECIPE_REVISION, _VARIANT, release, wanted, _MASKED_UNITS]
    digest = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:16]
    roots = cache_directory() / "roots"
    roots.mkdir(parents=True, exist_ok=True)
    root = roots / f"{release}-{digest}"
    with _locked(roots / f"{root.name}.lock"):
        if not root.is_dir():
            unfinished = roots / f"{root.name}.unfinished"
            _remove_tree(unfinished)  # the lock is ours, so whoever made it is gone
            try:
                _make_root(release, wanted, unfinished)
                _finish_root(unfinished)
                unfinished.rename(root)
            finally:
                _remove_tree(unfinished)
    return root


def _make_root(release: str, packages: Sequence[str], target: Path) -> None:
    """Unpack the release and packages into a new folder; raises MachineError with the log."""
    command = [
        *(_tool("unshare"), *_NAMESPACES, "--"),
        *(_tool("mmdebstrap"), "--mode=root", f"--variant={_VARIANT}"),
        *(f"--aptopt={option}" for option in _host_apt_options()),
        f"--include={','.join(packages)}",
        *(release, str(target), *_host_sources(release)),
    ]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        raise MachineError(f"mmdebstrap failed ({done.returncode}):\n{done.stdout[-8000:]}")


def _finish_root(root: Path) -> None:
    """Take what came from the host or the building out of a new root file system.

    Raises MachineError if the root would not behave as an ordinary server.
    """
    for path in (root / "etc/apt/sources.list.d").iterdir():
        path.unlink()  # there is no network: apt-get update would only fail
    for name in ("etc/apt/sources.list", "etc/apt/apt.conf.d/99mmdebstrap", "etc/resolv.conf"):
        (root / name).unlink(missing_ok=True)
    (root / "etc/hostname").write_text("debian\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n127.0.1.1 debian\n::1 localhost\n")
    for name in ("etc/hostname", "etc/hosts"):
        (root / name).chmod(0o644)
    for unit in _MASKED_UNITS:
        (root / "etc/systemd/system" / unit).symlink_to("/dev/null")
    if (root / "usr/sbin/policy-rc.d").exists():
        raise MachineError("policy-rc.d was left in the root file system")
    if any("path-exclude" in p.read_text() for p in (root / "etc/dpkg/dpkg.cfg.d").iterdir()):
        raise MachineError("dpkg in the root file system leaves files out")
    if (root / "run/systemd").exists():
        raise MachineError("the root file system has a /run/systemd on disk")


def _host_sources(release: str) -> list[str]:
    """Return the Debian archives of the host's apt as one-line sources for a release.

    Sources of third parties are told by the origin in their Release file, backports by their
    code name. Raises HarnessUnavailableError if none remains.
    """
    listed = subprocess.run(
        [
            *(_tool("apt-get"), "indextargets", "--format"),
            *("$(ORIGIN)|$(CODENAME)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)", "Created-By: Packages"),
        ],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    host = host_codename()
    sources = []
    for line in listed.splitlines():
        origin, codename, uri, suite, component = line.split("|")
        part = codename.removeprefix(host)
        if (
            origin == "Debian"
            and component == "main"
            and codename.startswith(host)
            and part in ("", "-updates", "-security")
        ):
            # The host may name the suite "stable"; another release has to be named anyway.
            name = suite if release == host else f"{release}{part}"
            sources.append(f"deb {uri} {name} {component}")
    if not sources:
        raise HarnessUnavailableError(
            "a Debian archive in the host's apt sources (has apt-get update been run?)"
        )
    return sorted(set(sources))


def host_codename() -> str:
    """Return the code name of the host's release, as bookworm; empty if it has none."""
    for line in Path("/etc/os-release").read_text().splitlines():
        name, _, value = line.partition("=")
        if name == "VERSION_CODENAME":
            return shlex.split(value)[0]
    return ""


def _host_apt_options() -> list[str]:
    """Return the host's apt options about reaching its archive and the age of its lists."""
    dump = subprocess.run(
        [_tool("apt-config"), "dump", "Acquire"], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    wanted = ("Acquire::Check-", "Acquire::http::Proxy", "Acquire::https::Proxy")
    return [line.rstrip(";") for line in dump.splitlines() if line.startswith(wanted)]


class Machine:
    """A disposable copy of a base root file system; a context manager.

    `base` is a root file system or the snapshot of another machine.
    A new machine is off: `chroot_run` works on it, `run` needs `boot` first. `write`, `read` and
    `copy_in` work either way. Paths in the machine are absolute and resolved inside of it.

    `binds` maps a path in the machine to a host folder that is visible there read-only, `shares`
    to one that the machine may write to, whatever becomes of its own disk.
    `storage` says where changes are kept, `size` how much of them in memory, `overlay=False`
    forces a full copy of the base (on disk), which is also the fallback where the kernel refuses
    the overlay; `how` tells which it became, `identity` is unique to the machine and names its
    folder and its control groups.
    """

    def __init__(
        self,
        base: Path | Snapshot,
        *,
        name: str = "debian",
        binds: Mapping[str, Path] | None = None,
        shares: Mapping[str, Path] | None = None,
        storage: Storage = "auto",
        size: str = MEMORY_UPPER_SIZE,
        overlay: bool = True,
    ) -> None:
        self.base = base if isinstance(base, Snapshot) else Snapshot((base,))
        self.name = name
        self.binds = {target: source.resolve() for target, source in (binds or {}).items()}
        self.shares = {target: source.resolve() for target, source in (shares or {}).items()}
        self.storage = _chosen_storage(storage) if overlay else "disk"
        self._size = size
        self.how = ""
        self.identity = ""
        self._overlay = overlay
        self._state: Path | None = None
        self._groups: list[Path] = []
        self._resources = contextlib.ExitStack()
        self._holder: subprocess.Popen[str] | None = None
        self._holder_init = 0
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._init = 0
        self._init_handle = -1
        self._last_answer = ""
        bound = (*self.binds.items(), *self.shares.items())
        for path in (text for pair in bound for text in map(str, pair)):
            if not path.startswith("/") or any(character in path for character in ":\\\n"):
                raise ValueError(f"not a path that can be bound: {path}")

    # -- life ----------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and not isinstance(error, MachineError) and self._nspawn is not None:
            error.add_note(self._console_note())
        self.close()

    def close(self) -> None:
        """End the machine without shutting it down and remove every trace; may be repeated."""
        try:
            self._end_processes()
        finally:
            self._resources.close()

    def boot(self, *, timeout: float = BOOT_SECONDS, degraded_ok: bool = False) -> None:
        """Start the machine and wait until systemd has finished starting units.

        Raises MachineError with the console if it does not get there, or with the status of the
        failed units unless `degraded_ok`; after the former the machine is off.
        """
        if self._nspawn is not None:
            raise MachineError(f"{self.name} is on already")
        self._last_answer = ""
        try:
            self._start_nspawn()
            self.wait_until(self._adopt_init, timeout, "systemd as the container's first process")
            state = self.wait_until(self._settled_state, timeout, "the end of the boot")
        except BaseException as error:
            detail = f"systemd says: {self._last_answer or 'nothing'}\n{self._console_note()}"
            self.kill()
            if isinstance(error, TimeoutError):
                raise MachineError(f"{self.name} did not boot: {error}\n{detail}") from error
            raise
        if state == "degraded" and not degraded_ok:
            failed = self.failed_units()
            status = self.run("systemctl", "status", "--no-pager", "--", *failed, check=False)
            raise MachineError(f"units of {self.name} failed to start: {failed}\n{status.output}")

    def reboot(self, *, timeout: float = BOOT_SECONDS, degraded_ok: bool = False) -> None:
        """Restart the machine in the ordinary way and wait as `boot` does; MachineError if not."""
        self._leave("reboot", _REBOOT_STATUS, timeout)
        self.boot(timeout=timeout, degraded_ok=degraded_ok)

    def poweroff(self, *, timeout: float = BOOT_SECONDS) -> None:
        """Shut the machine down in the ordinary way; MachineError if it does not end in time."""
        self._leave("poweroff", 0, timeout)

    def kill(self) -> None:
        """Cut the power: every process ends at once. What was written stays, synced or not."""
        if self._nspawn is None:
            return
        if self._init_handle >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._init_handle, signal.SIGKILL)
        else:
            for child in _children(self._nspawn.pid):
                for grandchild in _children(child):
                    _kill_process(grandchild)
                _kill_process(child)
        self._forget_nspawn(END_SECONDS)

    def save(self, folder: Path) -> Snapshot:
        """Keep the machine's disk in a new folder, for others to start from; it has to be off.

        What is kept is what differs from the machine's own base, which has to stay as well.
        Hard links and everything else that a file system knows of a file are kept. A hard link
        of the snapshot breaks when one of its names is written to, as any does on an overlay.
        """
        if self._nspawn is not None:
            raise MachineError(f"{self.name} is on: its disk is not at rest")
        assert self._state is not None
        changes = self._state / ("upper" if self.how == "overlay" else "root")
        copy = ("cp", "-a", "--reflink=auto", str(changes), str(folder))
        self._finished([*self._in_holder(), *copy], copy, True, b"", COMMAND_SECONDS)
        below = self.base.layers if self.how == "overlay" else ()
        return Snapshot((folder, *below))

    @property
    def booted(self) -> bool:
        """Whether the machine was booted and neither shut down nor killed since."""
        return self._nspawn is not None

    # -- commands ------------------------------------------------------------------------------

    def run(
        self,
        *argv: str,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        stdin: str | bytes = b"",
        timeout: float = COMMAND_SECONDS,
    ) -> Result:
        """Run a command as root in the booted machine.

        Raises CommandError if it takes too long (it is killed then) or, with `check`, if its exit
        status is not 0; MachineError if the machine is off.
        """
        return self._finished(self._inside(argv, env), argv, check, stdin, timeout)

    def start(self, *argv: str, env: Mapping[str, str] | None = None) -> Started:
        """Start a command as root in the booted machine and do not wait for it.

        Raises MachineError if the machine is off.
        """
        return Started(self._inside(argv, env), argv)

    def sh(
        self,
        script: str,
        *,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        stdin: str | bytes = b"",
        timeout: float = COMMAND_SECONDS,
    ) -> Result:
        """Run a shell script with `-eu` in the booted machine; errors are those of `run`."""
        return self.run("sh", "-euc", script, check=check, env=env, stdin=stdin, timeout=timeout)

    def chroot_run(
        self,
        *argv: str,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        stdin: str | bytes = b"",
        timeout: float = COMMAND_SECONDS,
    ) -> Result:
        """Run a command as root in a plain chroot of the machine, which has to be off.

        It gets /proc, a minimal /dev, loopback and namespaces of its own, and no systemd;
        processes it leaves behind end with it. Errors are those of `run`.
        """
        return self._finished(self._chrooted(argv, env), argv, check, stdin, timeout)

    def write(self, path: str, content: str | bytes, mode: int = 0o644) -> None:
        """Write a file owned by root, with its folders; errors are those of `run`."""
        script = 'mkdir -p -- "${1%/*}/" && cat >"$1" && chmod "$2" "$1"'
        self._either(("sh", "-euc", script, "sh", path, f"{mode:o}"), content)

    def read(self, path: str) -> str:
        """Return a file's text (UTF-8, errors replaced); errors are those of `run`."""
        return self._either(("cat", "--", path), b"").stdout

    def copy_in(self, source: Path, destination: str) -> None:
        """Copy a host file or folder to exactly this path, owned by root, modes kept.

        A folder is merged into one that is there; links are copied as links. Errors are those of
        `run`, OSError if the source cannot be read.
        """
        parent, _, name = destination.rstrip("/").rpartition("/")
        if not name or not destination.startswith("/"):
            raise ValueError(f"not a path below the root: {destination}")
        with tempfile.TemporaryFile() as archive:
            with tarfile.open(fileobj=archive, mode="w") as tar:
                tar.add(source, arcname=name, filter=_owned_by_root)
            archive.seek(0)
            script = 'mkdir -p -- "$1" && tar -C "$1" -x -p -f - --keep-directory-symlink'
            self._either(("sh", "-euc", script, "sh", parent or "/"), archive)

    # -- what tests look at --------------------------------------------------------------------

    def wait_until(self, condition: Callable[[], T], timeout: float, what: str) -> T:
        """Return the first true value of the condition.

        Raises TimeoutError naming `what`, MachineError as soon as the machine goes off by itself.
        """

        def checked() -> T:
            if self._nspawn is not None and self._nspawn.poll() is not None:
                status = self._nspawn.returncode
                raise MachineError(
                    f"{self.name} went off ({status}) during the wait for {what}\n"
                    + self._console_note()
                )
            return condition()

        return wait_until(checked, timeout, what)

    def http(
        self,
        url: str,
        *,
        auth: tuple[str, str] | None = None,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout: float = 10.0,
    ) -> Reply:
        """Ask an http:// URL from inside the machine's network; redirects are not followed.

        `auth` is a user and password for Basic authentication. Raises ConnectionError if there is
        no answer, whatever the reason.
        """
        if not url.startswith("http://"):
            raise ValueError(f"not an http:// URL: {url}")
        sent = dict(headers or {})
        if auth is not None:
            sent["Authorization"] = "Basic " + base64.b64encode(":".join(auth).encode()).decode()
        ask = {
            "url": url,
            "method": method,
            "headers": sent,
            "body": None if body is None else base64.b64encode(body).decode(),
            "timeout": timeout,
        }
        self._need_boot()
        command = [_tool("nsenter"), "-t", str(self._init), "-n", "--"]
        command += [sys.executable, "-I", "-c", _HTTP_SCRIPT]
        done = self._finished(command, (method, url), True, json.dumps(ask), timeout + 20)
        answer = json.loads(done.stdout)
        if "error" in answer:
            raise ConnectionError(f"{method} {url}: {answer['error']}")
        received: dict[str, str] = {}
        for key, value in answer["headers"]:
            received[key.lower()] = ", ".join(filter(None, (received.get(key.lower()), value)))
        return Reply(answer["status"], received, base64.b64decode(answer["body"]))

    def wait_for_http(self, url: str, timeout: float = 30.0) -> Reply:
        """Return the first answer of a URL, of any status; TimeoutError if there is none."""

        def answer() -> Reply | None:
            try:
                return self.http(url)
            except ConnectionError:
                return None

        reply = self.wait_until(answer, timeout, f"an answer of {url}")
        assert reply is not None
        return reply

    def systemctl_show(self, unit: str, *properties: str) -> dict[str, str]:
        """Return properties of a unit, all if none is named; errors are those of `run`."""
        wanted = [f"--property={','.join(properties)}"] if properties else []
        shown = self.run("systemctl", "show", *wanted, "--", unit).stdout
        pairs = (line.partition("=") for line in shown.splitlines() if "=" in line)
        return {name: value for name, _, value in pairs}

    def failed_units(self) -> list[str]:
        """Return the names of the units in the failed state; errors are those of `run`."""
        listed = self.run("systemctl", "list-units", "--failed", "--plain", "--no-legend").stdout
        return [line.split()[0] for line in listed.splitlines() if line.strip()]

    def journal(self, unit: str | None = None, lines: int = 200) -> str:
        """Return the last lines of the journal, of one unit or of all; errors as of `run`."""
        selected = [f"--unit={unit}"] if unit is not None else []
        command = ("journalctl", "--no-pager", "--output=short-precise", f"--lines={lines}")
        self.run("journalctl", "--sync")  # what a unit said last may still be under way
        return self.run(*command, *selected).stdout

    def console(self, characters: int = CONSOLE_CHARACTERS) -> str:
        """Return the end of what all boots so far printed on the console; empty before any."""
        try:
            with self._log_path().open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - characters))
                return log.read().decode(errors="replace")
        except (FileNotFoundError, MachineError):
            return ""

    # -- inner parts ---------------------------------------------------------------------------

    def _prepare(self) -> None:
        """Make the state folder, the control groups, the holder and the mounts it owns."""
        missing = missing_requirements()
        if missing:
            raise HarnessUnavailableError(", ".join(missing))
        directory = self._resources.enter_context(_machine_directory())
        self.identity = directory.name
        self._groups = self._resources.enter_context(_control_groups(self.identity))
        self._state = directory / "state"
        self._state.mkdir()
        layers = ":".join(map(str, self.base.layers))
        with (directory / "holder.log").open("wb") as log:
            self._holder = subprocess.Popen(
                [
                    *(_tool("unshare"), *_NAMESPACES, "--", _tool("sh"), "-euc", _HOLDER_SCRIPT),
                    *("holder", str(self._state), layers, self.storage),
                    *(self._size, "yes" if self._overlay else "no"),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        assert self._holder.stdout is not None
        word, _, how = self._holder.stdout.readline().strip().partition(" ")
        if word != "ready":
            complaint = (directory / "holder.log").read_text(errors="replace")
            raise MachineError(f"cannot make a copy of {layers}: {complaint}")
        self.how = how
        (self._holder_init,) = _children(self._holder.pid)
        # An installed machine has an identity; without one the first boot would enable every unit.
        self.write("/etc/machine-id", f"{uuid.uuid4().hex}\n", 0o444)
        self.write("/etc/hostname", f"{self.name}\n")

    def _end_processes(self) -> None:
        """End the holder, and with it all processes of the machine."""
        holder, self._holder = self._holder, None
        if holder is None:
            return
        assert holder.stdin is not None
        assert holder.stdout is not None
        try:
            with contextlib.suppress(BrokenPipeError):
                holder.stdin.close()
            holder.wait(END_SECONDS)
        finally:
            holder.kill()
            holder.wait()
            holder.stdout.close()
            if self._nspawn is not None:
                self._forget_nspawn(END_SECONDS)

    def _log_path(self) -> Path:
        if self._state is None:
            raise MachineError(f"{self.name} is not in use: enter it with a with statement first")
        return self._state.parent / "console.log"

    def _console_note(self) -> str:
        return f"--- end of the console of {self.name}\n{self.console()}\n---"

    def _start_nspawn(self) -> None:
        """Start systemd-nspawn within the holder's namespaces and our control groups."""
        log_path = self._log_path()
        for group in self._groups:
            _remove_group(group)
            group.mkdir()
        command = [
            *(_tool("sh"), "-euc", _JOIN_GROUPS_SCRIPT, "sh", *map(str, self._groups), "--"),
            *(*self._in_holder(), _tool("systemd-nspawn"), "-D", self._root(), "--boot"),
            *("--private-network", "--register=no", "--keep-unit", "-M", self.name),
            *("--settings=no", "--link-journal=no", "--resolv-conf=off", "--timezone=off"),
            *(f"--bind-ro={source}:{target}" for target, source in self.binds.items()),
            *(f"--bind={source}:{target}" for target, source in self.shares.items()),
        ]
        # By default nspawn puts a memory file system on /tmp, which Debian 12 does not have.
        environment = os.environ | {"SYSTEMD_NSPAWN_TMPFS_TMP": "0"}
        with log_path.open("ab") as log:
            self._nspawn = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )

    def _adopt_init(self) -> bool:
        """Note the container's first process once systemd runs as it; say whether it does."""
        assert self._nspawn is not None
        for child in _children(self._nspawn.pid):
            for pid in _children(child):
                with contextlib.suppress(OSError):
                    handle = os.pidfd_open(pid)
                    status = Path(f"/proc/{pid}/status").read_text()
                    ids = next(s for s in status.splitlines() if s.startswith("NSpid:")).split()
                    program = Path(f"/proc/{pid}/exe").readlink().name
                    if ids[-1] == "1" and len(ids) == 4 and program == "systemd":
                        self._init, self._init_handle = pid, handle
                        return True
                    os.close(handle)
        return False

    def _settled_state(self) -> str:
        """Return systemd's state if it has finished starting units, else an empty text."""
        asked = self.run(
            "systemctl", "is-system-running", "--wait", check=False, timeout=BOOT_SECONDS
        )
        state = asked.stdout.strip()
        self._last_answer = asked.output.strip()
        return state if state in ("running", "degraded") else ""

    def _leave(self, verb: str, expected: int, timeout: float) -> None:
        """Order an end of the boot, wait for it; MachineError if it ends otherwise or not."""
        self.run("systemctl", verb, check=False)  # its connection may break: the end is what counts
        assert self._nspawn is not None
        try:
            status = self._nspawn.wait(timeout)
        except subprocess.TimeoutExpired:
            note = self._console_note()
            self.kill()
            raise MachineError(f"{self.name} did not {verb} in {timeout:g} s\n{note}") from None
        self._forget_nspawn(END_SECONDS)
        if status != expected:
            raise MachineError(f"{verb} of {self.name} ended {status}\n{self._console_note()}")

    def _forget_nspawn(self, timeout: float) -> None:
        """Wait for systemd-nspawn, which is ending, then drop all that belongs to this boot."""
        nspawn, self._nspawn = self._nspawn, None
        handle, self._init_handle, self._init = self._init_handle, -1, 0
        if handle >= 0:
            os.close(handle)
        if nspawn is not None:
            try:
                nspawn.wait(timeout)
            finally:
                nspawn.kill()
                nspawn.wait()

    def _root(self) -> str:
        assert self._state is not None
        return str(self._state / "root")

    def _need_boot(self) -> None:
        if self._init == 0:
            raise MachineError(f"{self.name} is off")

    def _in_holder(self) -> list[str]:
        return [_tool("nsenter"), "-t", str(self._holder_init), "-m", "-p", "--"]

    def _inside(self, argv: Sequence[str], env: Mapping[str, str] | None) -> list[str]:
        """Return the command line that enters the booted machine."""
        self._need_boot()
        enter = [_tool("nsenter"), "-t", str(self._init), *_ENTER_ALL, "--"]
        return [*enter, "/usr/bin/env", "-i", *_assignments(env), *argv]

    def _chrooted(self, argv: Sequence[str], env: Mapping[str, str] | None) -> list[str]:
        """Return the command line that enters the machine, which is off, with a chroot."""
        if self._nspawn is not None:
            raise MachineError(f"{self.name} is on: a chroot would see half of it")
        if self._state is None:
            raise MachineError(f"{self.name} is not in use: enter it with a with statement first")
        bound = [(str(source), to, "ro") for to, source in self.binds.items()]
        bound += [(str(source), to, "rw") for to, source in self.shares.items()]
        mounts = [text for each in bound for text in each]
        return [
            *(*self._in_holder(), _tool("unshare"), "--net", "--uts", "--ipc", *_NAMESPACES, "--"),
            *(_tool("sh"), "-euc", _CHROOT_SCRIPT, "sh", self._root(), self.name, *mounts, "--"),
            *("/usr/bin/env", "-i", *_assignments(env), *argv),
        ]

    def _either(self, argv: Sequence[str], stdin: str | bytes | IO[bytes]) -> Result:
        """Run a command in the machine, be it booted or off; errors are those of `run`."""
        enter = self._inside if self.booted else self._chrooted
        return self._finished(enter(argv, None), argv, True, stdin, COMMAND_SECONDS)

    def _finished(
        self,
        command: Sequence[str],
        shown: Sequence[str],
        check: bool,
        stdin: str | bytes | IO[bytes],
        timeout: float,
    ) -> Result:
        """Run a host command to its end, see `run`; `shown` stands for it in messages."""
        given = stdin.encode() if isinstance(stdin, str) else stdin
        piped = isinstance(given, bytes)
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE if isinstance(given, bytes) else given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as process:
            late = False
            try:
                out, err = process.communicate(given if piped else None, timeout)  # type: ignore[arg-type]
            except subprocess.TimeoutExpired:
                late = True
                os.killpg(process.pid, signal.SIGKILL)
                out, err = process.communicate()
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        result = Result(
            tuple(shown),
            process.returncode,
            out.decode(errors="replace"),
            err.decode(errors="replace"),
        )
        if late or (check and result.returncode != 0):
            how = f"took over {timeout:g} s" if late else f"ended {result.returncode}"
            text = f"{shlex.join(shown)}\n{how}\n{result.output}"
            raise CommandError(f"{text}\n{self._console_note()}" if self.booted else text)
        return result


_NAMESPACES = (
    *("--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
    *("--propagation", "private"),
)

# Each apart: nsenter would take letters after -m for a file name.
_ENTER_ALL = ("-m", "-u", "-i", "-n", "-p", "-r", "-w")


def _tool(name: str) -> str:
    """Return the path of a program of the host; HarnessUnavailableError if there is none."""
    path = shutil.which(name)
    if path is None:
        raise HarnessUnavailableError(f"the program {name}")
    return path


def _assignments(env: Mapping[str, str] | None) -> list[str]:
    return [f"{name}={value}" for name, value in (COMMAND_ENVIRONMENT | dict(env or {})).items()]


def _owned_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def _chosen_storage(storage: Storage) -> Storage:
    """Return memory or disk; memory by default if over 12 GiB of it are available."""
    if storage != "auto":
        return storage
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return "memory" if int(line.split()[1]) > MEMORY_NEEDED_KIB else "disk"
    return "disk"


def _children(pid: int) -> list[int]:
    """Return the direct children of a process's first thread; none if it is gone."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _kill_process(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file, which is made and stays; waits without limit."""
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _remove_tree(path: Path) -> None:
    """Remove a folder if it is there; OSError if it cannot be removed."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)


@contextlib.contextmanager
def _machine_directory() -> Iterator[Path]:
    """Make a folder for one machine and remove it in the end.

    A lock on it is held in between; folders and control groups of machines whose test process
    was killed have none and are removed on the way.
    """
    machines = cache_directory() / "machines"
    machines.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        with _locked(machines.parent / "machines.lock"):
            for old in machines.iterdir():
                with contextlib.suppress(BlockingIOError, FileNotFoundError), _folder_lock(old):
                    _remove_remains(old)
            directory = Path(tempfile.mkdtemp(prefix="debstack-", dir=machines))
            stack.enter_context(_folder_lock(directory))
            stack.callback(_remove_tree, directory)
        directory.chmod(0o755)
        yield directory


def _remove_remains(directory: Path) -> None:
    """Remove the folder and the control groups of a machine that is no more."""
    for hierarchy in _group_hierarchies():
        _remove_group(hierarchy / directory.name)
    _remove_tree(directory)


@contextlib.contextmanager
def _folder_lock(directory: Path) -> Iterator[None]:
    """Hold an exclusive lock on a folder; BlockingIOError if someone else does."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _group_hierarchies() -> list[Path]:
    """Return the control group mounts systemd uses: version 2, and version 1's name=systemd."""
    found = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mountpoint, kind, options, *_ = line.split()
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(",")):
            found.append(Path(mountpoint))
    return found


@contextlib.contextmanager
def _control_groups(name: str) -> Iterator[list[Path]]:
    """Make one control group per hierarchy, so that machines do not share systemd's tree.

    In the end they are removed, when the processes in them have to be gone.
    """
    groups = [hierarchy / name for hierarchy in _group_hierarchies()]
    try:
        for group in groups:
            group.mkdir()
        yield groups
    finally:
        for group in groups:
            _remove_group(group)


def _remove_group(group: Path) -> None:
    """Remove a control group with those below it; TimeoutError if processes stay in it."""

    def removed() -> bool:
        for folder, _, _ in os.walk(group, topdown=False):
            try:
                Path(folder).rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                return False
        return True

    wait_until(removed, END_SECONDS, f"the end of the processes in {group}")
