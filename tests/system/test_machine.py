"""The harness of the system tests itself: boots, restarts, sandboxes, and what it leaves behind."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.system.machine import (
    CommandError,
    Machine,
    MachineError,
    Storage,
    cache_directory,
    wait_until,
)

pytestmark = pytest.mark.system

SANDBOX = (
    "CapabilityBoundingSet=",
    "AmbientCapabilities=",
    "LockPersonality=yes",
    "MemoryDenyWriteExecute=yes",
    "NoNewPrivileges=yes",
    "PrivateDevices=yes",
    "PrivateIPC=yes",
    "PrivateTmp=yes",
    "ProcSubset=pid",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHome=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "ProtectProc=invisible",
    "ProtectSystem=strict",
    "RemoveIPC=yes",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "SystemCallArchitectures=native",
    "SystemCallErrorNumber=EPERM",
    "SystemCallFilter=@system-service",
    "SystemCallFilter=~@privileged @resources",
    "UMask=0077",
    "StateDirectory=sandboxed",
    "RuntimeDirectory=sandboxed",
)

UNIT = """[Unit]
Description=Everything a sandbox can forbid

[Service]
User=nobody
Group=nogroup
ExecStart=/usr/bin/python3 /opt/probe.py
ExecStop=+/bin/sh -c 'echo stop >>/srv/stops'
ReadWritePaths=/srv
{sandbox}

[Install]
WantedBy=multi-user.target
"""

# Answers with what the sandbox lets the process do: one line per attempt that worked.
PROBE = r"""
import ctypes, glob, http.server, mmap, os, socket

def attempt(name, action):
    try:
        return [name] if action() is not False else []
    except (OSError, ValueError):
        return []

def touch(path):
    with open(path, "w"):
        pass

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/self/status") as status:
            fields = dict(line.rstrip().split(":\t", 1) for line in status if ":\t" in line)
        worked = [
            *attempt("private /tmp", lambda: touch("/tmp/x")),
            *attempt("state directory", lambda: touch("/var/lib/sandboxed/x")),
            *attempt("the machine's /tmp", lambda: os.stat("/tmp/of-the-machine")),
            *attempt("write elsewhere", lambda: touch("/opt/open/x")),
            *attempt("/dev/console", lambda: os.stat("/dev/console")),
            *attempt("list /home", lambda: os.listdir("/home")),
            *attempt("/proc/1", lambda: os.stat("/proc/1/cmdline")),
            *attempt("/proc/meminfo", lambda: os.stat("/proc/meminfo")),
            *attempt("executable memory", lambda: mmap.mmap(-1, 4096, prot=7)),
            *attempt("a user namespace", lambda: libc.unshare(0x10000000) == 0),
            *attempt("personality", lambda: libc.personality(8) != -1),
            *attempt("netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)),
            *attempt("renice", lambda: os.setpriority(os.PRIO_PROCESS, 0, 1)),
            *attempt("set-user-id", lambda: os.chmod("/tmp/x", 0o4700)),
            *attempt("capabilities", lambda: int(fields["CapBnd"], 16) != 0),
            *attempt("new privileges", lambda: fields["NoNewPrivs"] != "1"),
        ]
        body = "\n".join(worked).encode()
        self.send_response(200)
        self.send_header("X-Seen-Authorization", self.headers.get("Authorization", "-"))
        self.end_headers()
        self.wfile.write(body)

http.server.HTTPServer(("127.0.0.1", 8123), Handler).serve_forever()
"""
URL = "http://127.0.0.1:8123/path?query=1"
ALLOWED = ["private /tmp", "state directory"]
ATTEMPTS = re.findall(r'attempt\("([^"]+)"', PROBE)


def look(machine: Machine) -> list[str]:
    """Return what the probe in the machine was able to do, once it answers."""
    return machine.wait_for_http(URL).text.splitlines()


def install_probe(machine: Machine) -> None:
    machine.write("/opt/probe.py", PROBE)
    unit = UNIT.format(sandbox="\n".join(SANDBOX))
    machine.write("/etc/systemd/system/sandboxed.service", unit)
    machine.run("mkdir", "-m", "1777", "/opt/open")
    machine.write("/tmp/of-the-machine", "")


def traces(*identities: str) -> list[str]:
    """Return what is left of machines: mounts, processes, folders and control groups."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            told = command + (path / "cgroup").read_text() + (path / "mounts").read_text()
        except OSError:
            continue  # it has ended
        if any(identity in told for identity in identities):
            found.append(f"process {path.name}: {command}")
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    found += [f"mount {line}" for line in mounts if any(name in line for name in identities)]
    groups = Path("/sys/fs/cgroup")
    for identity in identities:
        found += [f"control group {path}" for path in groups.glob(f"**/{identity}")]
    machines = cache_directory() / "machines"
    return found + [f"folder {path}" for path in machines.glob("*")]


@pytest.fixture(autouse=True)
def cache_of_its_own(base: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep this module's machines apart, so that other test runs do not look like remains."""
    parent = cache_directory() / "harness"
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent) as where:
        monkeypatch.setenv("DEBSTACK_CACHE_DIR", where)
        yield


def test_sandboxed_service_survives_every_restart(booted: Machine) -> None:
    install_probe(booted)
    booted.run("systemctl", "enable", "--now", "sandboxed.service")
    assert look(booted) == ALLOWED, booted.journal("sandboxed.service")
    first = booted.systemctl_show("sandboxed.service", "MainPID", "SubState", "InvocationID")
    assert first["SubState"] == "running"
    assert booted.run("ps", "-o", "user=", "-p", first["MainPID"]).stdout.strip() == "nobody"
    invocations = {first["InvocationID"]}
    identity = booted.read("/etc/machine-id")

    booted.reboot()
    assert look(booted) == ALLOWED
    invocations.add(booted.systemctl_show("sandboxed.service")["InvocationID"])
    assert booted.read("/srv/stops") == "stop\n", "a reboot stops units in the ordinary way"

    booted.kill()
    booted.boot()
    assert look(booted) == ALLOWED
    invocations.add(booted.systemctl_show("sandboxed.service")["InvocationID"])
    assert booted.read("/srv/stops") == "stop\n", "a power loss stops nothing in the ordinary way"

    assert len(invocations) == 3
    assert booted.read("/etc/machine-id") == identity
    booted.poweroff()
    assert booted.read("/srv/stops") == "stop\nstop\n"
    with pytest.raises(MachineError, match="is off"):
        booted.run("true")


def test_machines_of_one_name_do_not_meet(base: Path) -> None:
    with Machine(base) as one, Machine(base) as other:
        one.boot()
        other.boot()
        install_probe(one)
        one.run("systemctl", "start", "sandboxed.service")
        one.wait_for_http(URL)
        with pytest.raises(ConnectionError):
            other.http(URL)
        for each in (one, other):
            inner = list(Path("/sys/fs/cgroup").glob(f"**/{each.identity}/*/system.slice"))
            assert inner, "the units are not in control groups of the machine's own"
        other.kill()
        assert one.http(URL).status == 200
        assert one.run("systemctl", "is-system-running").stdout == "running\n"


def test_probe_can_do_everything_without_a_sandbox(booted: Machine) -> None:
    install_probe(booted)
    unit = UNIT.format(sandbox="StateDirectory=sandboxed")
    booted.write("/etc/systemd/system/sandboxed.service", unit)
    booted.run("systemctl", "start", "sandboxed.service")
    assert look(booted) == ATTEMPTS


def test_http_sends_what_it_is_given_from_inside_the_machine(booted: Machine) -> None:
    install_probe(booted)
    booted.run("systemctl", "start", "sandboxed.service")
    booted.wait_for_http(URL)
    reply = booted.http(URL, auth=("user", "pass"))
    assert reply.headers["x-seen-authorization"] == "Basic dXNlcjpwYXNz"
    assert booted.http(URL, method="POST", body=b"x").status == 501
    with pytest.raises(ConnectionError, match="refused"):
        booted.http("http://127.0.0.1:8124/")
    links = booted.run("ip", "-brief", "link").stdout.splitlines()
    assert [line.split()[0] for line in links] == ["lo"]


def test_chroot_has_no_systemd_and_boot_keeps_its_changes(machine: Machine) -> None:
    seen = machine.chroot_run(
        "sh",
        "-c",
        "test ! -e /run/systemd/system && test ! -e /usr/sbin/policy-rc.d && test -c /dev/null"
        " && test -r /proc/self/status && ischroot && echo ok >/root/made; id -u; exit 3",
        check=False,
    )
    assert (seen.returncode, seen.stdout) == (3, "0\n"), seen.output
    machine.boot()
    assert machine.read("/root/made") == "ok\n"
    with pytest.raises(MachineError, match="is on"):
        machine.chroot_run("true")


@pytest.mark.parametrize(
    ("storage", "overlay"), [("memory", True), ("disk", True), ("disk", False)]
)
def test_dpkg_works_on_every_storage(base: Path, storage: Storage, overlay: bool) -> None:
    with Machine(base, storage=storage, overlay=overlay) as machine:
        assert machine.how == ("overlay" if overlay else "copy")
        machine.chroot_run(
            "sh",
            "-euc",
            """
            mkdir -p /tmp/p/DEBIAN /tmp/p/usr/share/p/d
            printf 'Package: p\\nVersion: 1\\nArchitecture: all\\nMaintainer: x <x@y>\\n' \
                >/tmp/p/DEBIAN/control
            printf 'Description: x\\n' >>/tmp/p/DEBIAN/control
            echo 1 >/tmp/p/usr/share/p/a
            ln /tmp/p/usr/share/p/a /tmp/p/usr/share/p/d/hard
            dpkg-deb --root-owner-group -b /tmp/p /tmp/p.deb
            dpkg -i /tmp/p.deb && dpkg -i /tmp/p.deb && dpkg --verify p
            test "$(stat -c %h /usr/share/p/a)" = 2
            python3 -c 'import os; os.setxattr("/usr/share/p/a", "user.x", b"1")'
            python3 -c 'import os; os.setxattr("/usr/share/p/a", "security.capability",
                bytes.fromhex("0100000200040000000000000000000000000000"))'
            mv /usr/share/doc/dpkg /usr/share/doc/dpkg.moved
            dpkg -P p && test ! -e /usr/share/p
            """,
        )
        assert not (base / "usr/share/doc/dpkg.moved").exists()


def test_files_binds_and_links_stay_inside(base: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "file").write_text("of the host")
    source = tmp_path / "source"
    source.mkdir()
    (source / "tool").write_text("#!/bin/sh\necho copied\n")
    (source / "tool").chmod(0o755)
    outside = tmp_path / "outside"
    with Machine(base, binds={"/srv/archive": shared}) as machine:
        machine.chroot_run("ln", "-s", str(outside), "/root/link")
        machine.chroot_run("mkdir", "-p", str(tmp_path))
        machine.write("/root/link", "x")
        assert not outside.exists()
        machine.copy_in(source, "/opt/tools")
        machine.write("/etc/deep/secret", b"\xff", 0o600)
        for _ in range(2):
            run = machine.run if machine.booted else machine.chroot_run
            assert run("cat", "/srv/archive/file").stdout == "of the host"
            refused = run("touch", "/srv/archive/new", check=False)
            assert "Read-only file system" in refused.stderr
            assert run("/opt/tools/tool").stdout == "copied\n"
            assert run("stat", "-c", "%a %U", "/etc/deep/secret").stdout == "600 root\n"
            if not machine.booted:
                machine.boot()


def test_failures_show_command_output_and_console(booted: Machine) -> None:
    with pytest.raises(CommandError, match=r"(?s)ended 7.*to stderr.*console") as failed:
        booted.sh("echo to stderr >&2; exit 7")
    assert "exit 7" in str(failed.value)
    with pytest.raises(CommandError, match=r"took over 0\.5 s"):
        booted.run("sleep", "4321", timeout=0.5)
    left = booted.run("pgrep", "-f", "sleep 4321", check=False)
    assert left.returncode == 1, "the command that took too long still runs"
    assert booted.run("cat", stdin="given").stdout == "given"
    assert booted.run("printenv", "A", env={"A": "b"}).stdout == "b\n"


def test_boot_tells_failed_units_and_a_root_that_cannot_boot(machine: Machine) -> None:
    unit = "[Service]\nType=oneshot\nExecStart=/bin/false\n[Install]\nWantedBy=multi-user.target\n"
    machine.write("/etc/systemd/system/broken.service", unit)
    machine.chroot_run("systemctl", "enable", "broken.service")
    with pytest.raises(MachineError, match=r"broken\.service"):
        machine.boot()
    assert machine.failed_units() == ["broken.service"]
    machine.reboot(degraded_ok=True)
    machine.poweroff()
    machine.chroot_run("rm", "/lib/systemd/systemd", "/sbin/init")
    with pytest.raises(MachineError, match="console"):
        machine.boot(timeout=20)
    assert not machine.booted


def test_nothing_is_left_after_any_end(base: Path) -> None:
    with Machine(base) as first:
        first.boot()
        kinds = {line.split()[0] for line in traces(first.identity)}
        assert kinds == {"process", "control", "folder"}, "mounts are not in our namespace"
    assert traces(first.identity) == []
    with pytest.raises(KeyboardInterrupt), Machine(base, storage="disk") as second:
        second.boot()
        raise KeyboardInterrupt
    assert traces(second.identity) == []
    third = Machine(base / "none")
    with pytest.raises(MachineError, match="cannot make a copy"):
        third.__enter__()
    assert traces(third.identity) == []


def test_killed_test_process_leaves_no_mount_or_process(base: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tests.system.machine import Machine\n"
        "with Machine(Path(sys.argv[1])) as m:\n"
        "    m.boot(); print(m.identity, flush=True); m.run('sleep', '600', timeout=700)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(base)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        identity = process.stdout.readline().strip()
        assert len(traces(identity)) > 5
        process.send_signal(signal.SIGKILL)

    def only_folder_and_groups() -> bool:
        return {line.split()[0] for line in traces(identity)} == {"folder", "control"}

    wait_until(only_folder_and_groups, 30, "the end of the machine's processes")
    with Machine(base) as following:  # removes what is left of the killed one
        left = traces(identity)
        assert [line.split("/")[-1] for line in left] == [following.identity], left
    assert traces(identity, following.identity) == []
