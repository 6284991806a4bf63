"""Backups while everything is written to, and the way back to them.

Two writers commit 500 pairs of rows a second each, one to a database in WAL mode beside the running
API and worker, one to a database in journal mode. They note every pair that SQLite said is
committed. Whatever is read later must hold the pairs 1 to n, whole, for some n.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tests.system.machine import DEFAULT_PACKAGES, Machine, Snapshot, base_root
from tests.system.project import Project
from tests.system.stack import (
    API,
    UNITS,
    active_units,
    assert_healthy,
    install_stack,
    installed_server,
    intents,
    planned_intent,
    post_intent,
    server,
    tradingctl,
)

pytestmark = pytest.mark.system

BACKUP_TIMERS = ("trading-backup.timer", "trading-backup-artifacts.timer")

BACKUPS = "/var/backups/trading"
STATE = "/var/lib/trading"

WRITER = """
import sqlite3, sys, time
path, acknowledged = sys.argv[1:]
db = sqlite3.connect(path, timeout=60, isolation_level=None)
db.execute("CREATE TABLE IF NOT EXISTS pairs (n INTEGER, half INTEGER, filler TEXT)")
began, n = time.monotonic(), 0
with open(acknowledged, "w", buffering=1) as note:
    while True:
        n += 1
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO pairs VALUES (?, 1, ?)", (n, "x" * 200))
        db.execute("INSERT INTO pairs VALUES (?, 2, ?)", (n, "x" * 200))
        db.execute("COMMIT")
        note.write(f"{n}\\n")
        time.sleep(max(0, began + n / 500 - time.monotonic()))
"""

# What a database holds of the pairs; a log beside it is read too.
READER = """
import json, sqlite3, sys
db = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
(sound,) = db.execute("PRAGMA integrity_check").fetchone()
(mode,) = db.execute("PRAGMA journal_mode").fetchone()
(torn,) = db.execute(
    "SELECT count(*) FROM (SELECT n FROM pairs GROUP BY n HAVING count(*) <> 2)").fetchone()
count, last = db.execute("SELECT count(DISTINCT n), max(n) FROM pairs").fetchone()
print(json.dumps({"sound": sound, "mode": mode, "torn": torn, "count": count, "last": last}))
"""


@dataclass(frozen=True)
class Written:
    """A database that a writer writes to."""

    name: str
    component: str
    database: str
    mode: str

    @property
    def path(self) -> str:
        """Where it lies."""
        return f"{STATE}/{self.component}/data/{self.database}"

    @property
    def unit(self) -> str:
        """The transient unit that writes to it."""
        return f"writer-{self.name}.service"

    def copy(self, backup: str) -> str:
        """Return where its copy in a backup lies."""
        return f"{BACKUPS}/{backup}/databases/{self.component}/data/{self.database}"

    def start(self, machine: Machine) -> None:
        """Start to write, with the services' rights, and wait until it goes well."""
        machine.write(f"/root/{self.name}.py", WRITER)
        machine.sh(
            f"systemd-run -q --unit={self.unit} -p User=trading -p RuntimeDirectory={self.name}"
            f' python3 -c "$(cat /root/{self.name}.py)" {self.path} /run/{self.name}/acknowledged'
        )
        machine.wait_until(lambda: self.committed(machine) > 200, 60, f"writes to {self.path}")

    def committed(self, machine: Machine) -> int:
        """Return the number of pairs that are known to be committed."""
        said = machine.run("tail", "-n", "2", f"/run/{self.name}/acknowledged", check=False).stdout
        whole = [line for line in said.splitlines(keepends=True) if line.endswith("\n")]
        return int(whole[-1]) if whole else 0

    def stop(self, machine: Machine) -> int:
        """End the writer in the middle of its work and return what it had committed."""
        machine.run("systemctl", "kill", "--signal=STOP", self.unit)
        committed = self.committed(machine)
        machine.run("systemctl", "kill", "--signal=KILL", self.unit)
        machine.wait_until(lambda: not is_active(machine, self.unit), 30, f"the end of {self.unit}")
        machine.run("systemctl", "reset-failed", self.unit, check=False)
        return committed


IN_WAL = Written("wal", "automatictrader-api", "automatictrader.db", "wal")
IN_JOURNAL = Written("journal", "marketdata-stream", "signals.db", "delete")
BOTH = (IN_WAL, IN_JOURNAL)
RUNNING = [unit for unit in UNITS if unit != "marketdata-stream"]


def is_active(machine: Machine, unit: str) -> bool:
    return machine.systemctl_show(unit)["ActiveState"] in ("active", "deactivating")


def prefix(machine: Machine, path: str) -> int:
    """Return how many pairs a database holds; AssertionError unless they are the first, whole."""
    found = json.loads(machine.run("python3", "-c", READER, path).stdout)
    assert (found["sound"], found["torn"]) == ("ok", 0), (path, found)
    assert found["count"] == found["last"], f"a pair is missing in the middle of {path}: {found}"
    return int(found["count"])


def backup(machine: Machine, *words: str) -> str:
    """Make a backup and return its id."""
    made = tradingctl(machine, "backup", "--json", *words)
    assert made.returncode == 0, made.output
    return str(json.loads(made.stdout)["backup"]["id"])


def aside(output: str, path: str) -> str:
    """Return where a restore says that the database at ``path`` is now."""
    (found,) = re.findall(
        rf"^  before  ({re.escape(path)}\.before-restore-\d+T\d+Z)$", output, re.M
    )
    return str(found)


def settings_of(machine: Machine) -> str:
    return machine.sh("cd /etc/trading && find . -type f -exec sha256sum {} + | sort").stdout


def history(machine: Machine) -> list[dict[str, str]]:
    text = machine.read("/var/log/trading/deploy.log")
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def trader(installed_slim: Snapshot, slim: Project) -> Iterator[Machine]:
    """Return a server with the stack; nothing but the tests asks for backups."""
    with installed_server(installed_slim, slim) as machine:
        machine.run("systemctl", "stop", "trading-backup.timer", "trading-backup-artifacts.timer")
        yield machine


@dataclass(frozen=True)
class Load:
    """What was backed up under load: the ids, and what was committed before the writers ended."""

    backups: list[str]
    committed: dict[str, int]
    settings: str


@pytest.fixture(scope="module")
def load(trader: Machine) -> Load:
    """Back up three times while both databases are written to."""
    trader.run("systemctl", "stop", "marketdata-stream.service")
    trader.sh(f"runuser -u trading -- sqlite3 {IN_JOURNAL.path} 'PRAGMA journal_mode=DELETE'")
    assert post_intent(trader, "before-the-backups") == 201
    planned_intent(trader, "before-the-backups")
    backups = []
    for each in BOTH:
        each.start(trader)
    for _ in range(3):
        before = {each.name: each.committed(trader) for each in BOTH}
        backups.append(backup(trader))
        for each in BOTH:
            held = prefix(trader, each.copy(backups[-1]))
            assert before[each.name] <= held <= each.committed(trader) + 1
    assert post_intent(trader, "after-the-backups") == 201
    assert trader.http(f"{API}/healthz").json()["status"] == "healthy"
    refused = tradingctl(trader, "restore")
    assert refused.returncode == 5
    assert "is still open in process" in refused.stderr
    trader.wait_until(lambda: active_units(trader) == RUNNING, 60, "the services")
    committed = {each.name: each.stop(trader) for each in BOTH}
    return Load(backups, committed, settings_of(trader))


def test_backups_under_load_are_whole_and_ever_later(trader: Machine, load: Load) -> None:
    assert_whole_and_ever_later(trader, load)


def assert_whole_and_ever_later(trader: Machine, load: Load) -> None:
    """Assert that each backup is a whole prefix, and what was written to as it was."""
    for each in BOTH:
        held = [prefix(trader, each.copy(name)) for name in load.backups]
        assert held == sorted(held)
        assert held[0] > 200
        found = json.loads(trader.run("python3", "-c", READER, each.path).stdout)
        assert found["mode"] == each.mode


def test_backups_are_for_root_alone(trader: Machine, load: Load) -> None:
    found = trader.run("find", BACKUPS, "(", "-perm", "/0077", "-o", "!", "-user", "root", ")")
    assert found.stdout == ""
    assert trader.run("test", "-d", f"{BACKUPS}/{load.backups[0]}").returncode == 0


def test_the_services_directories_stay_the_services(trader: Machine, load: Load) -> None:
    found = trader.run("find", f"{STATE}/automatictrader-api", f"{STATE}/marketdata-stream",
                       "!", "-user", "trading")  # fmt: skip
    assert found.stdout == ""


def test_a_damaged_backup_is_refused_and_the_printed_command_works(
    trader: Machine, load: Load
) -> None:
    newest, last_intact = load.backups[2], load.backups[1]
    copy = IN_WAL.copy(newest)
    trader.sh(f"cp -p {copy} /root/good.db && printf X | dd of={copy} bs=1 seek=9000 conv=notrunc")
    before = {unit: trader.systemctl_show(f"{unit}.service")["InvocationID"] for unit in UNITS}
    listed = trader.run("ls", "-lA", f"{STATE}/automatictrader-api/data").stdout

    refused = tradingctl(trader, "restore")

    assert refused.returncode == 5
    assert f"the backup {newest} is damaged, nothing was changed: {copy}" in refused.stderr
    (command,) = re.findall(r"^  next: (.+)$", refused.stderr, re.MULTILINE)
    assert command == f"tradingctl restore {last_intact}"
    assert before == {
        unit: trader.systemctl_show(f"{unit}.service")["InvocationID"] for unit in UNITS
    }
    assert trader.run("ls", "-lA", f"{STATE}/automatictrader-api/data").stdout == listed
    assert trader.sh(f"{command} --dry-run").stdout.startswith(f"backup {last_intact}, made at ")
    trader.sh(f"cp -p /root/good.db {copy}")


def test_a_restore_gives_a_whole_prefix_back_and_loses_nothing(trader: Machine, load: Load) -> None:
    assert_restored(trader, load)


def assert_restored(trader: Machine, load: Load) -> None:
    """Restore the first backup, and assert that it is back whole and all after it is kept."""
    wanted = load.backups[0]
    expected = {each.name: prefix(trader, each.copy(wanted)) for each in BOTH}

    restored = tradingctl(trader, "restore", wanted)

    assert restored.returncode == 0, restored.output
    for each in BOTH:
        assert prefix(trader, each.path) == expected[each.name]
        kept = aside(restored.stdout, each.path)
        assert prefix(trader, kept) >= load.committed[each.name], "every committed pair is kept"
        assert trader.run("stat", "-c", "%U:%G", each.path).stdout == "trading:trading\n"
    assert [each["idempotency_key"] for each in intents(trader)] == ["before-the-backups"]
    kept = aside(restored.stdout, IN_WAL.path)
    query = "SELECT count(*) FROM order_intents"
    assert trader.run("sqlite3", "-readonly", kept, query).stdout == "2\n"
    event = history(trader)[-1]
    assert event["event"] == "restore"
    assert event["by"] == f"root: tradingctl restore {wanted}"

    assert settings_of(trader) == load.settings, "AT_WORKER_MODE among them"
    assert trader.http(f"{API}/healthz").json()["worker_mode"] == "plan-only"
    assert active_units(trader) == RUNNING, "what was stopped by the administrator stays so"
    trader.run("systemctl", "start", "marketdata-stream.service")
    assert_healthy(trader)


def test_what_a_restore_prints_undoes_it(trader: Machine, load: Load) -> None:
    before = prefix(trader, IN_WAL.path)
    restored = tradingctl(trader, "restore", load.backups[2], "--component", "automatictrader-api")
    assert restored.returncode == 0, restored.output
    assert prefix(trader, IN_WAL.path) > before
    undo = [line.strip() for line in restored.stdout.partition("to undo it:\n")[2].splitlines()]
    trader.sh("\n".join(undo))
    assert prefix(trader, IN_WAL.path) == before
    assert_healthy(trader)


def test_the_timers_are_on_and_their_services_work_in_their_sandbox(
    trader: Machine, load: Load
) -> None:
    for timer in BACKUP_TIMERS:
        assert trader.run("systemctl", "is-enabled", timer).stdout == "enabled\n"
        trader.run("systemctl", "start", timer)
    listed = trader.run("systemctl", "list-timers", "--no-pager").stdout
    assert [timer for timer in BACKUP_TIMERS if timer not in listed] == []
    for timer, calendar in zip(BACKUP_TIMERS, ("*-*-* *:00/5:00", "*-*-* 03:40:00"), strict=True):
        assert f"OnCalendar={calendar} ;" in trader.systemctl_show(timer)["TimersCalendar"]
    trader.run(
        *("runuser", "-u", "trading", "--", "sh", "-euc"),
        *('mkdir -p "$1"; echo a,b >"$1/result.csv"', "sh", f"{STATE}/traderunner/artifacts/run 1"),
    )
    for service in ("trading-backup", "trading-backup-artifacts"):
        trader.run("systemctl", "start", f"{service}.service")
        assert trader.systemctl_show(f"{service}.service")["Result"] == "success"
        exposed = trader.run("systemd-analyze", "security", "--threshold=45", f"{service}.service",
                             check=False)  # fmt: skip
        assert exposed.returncode == 0, exposed.stdout
    data = json.loads(tradingctl(trader, "backup", "--list", "--json").stdout)
    assert data["backups"][0]["kind"] == "timer"
    snapshot = data["artifacts"][0]  # there is another at the timer's hour
    saved = f"{BACKUPS}/artifacts/{snapshot}/traderunner/artifacts/run 1/result.csv"
    assert trader.read(saved) == "a,b\n"
    assert trader.failed_units() == []


def test_the_timer_makes_none_when_nothing_changed(trader: Machine, load: Load) -> None:
    # Everything writes all the time, so everything has to rest.
    trader.run("systemctl", "stop", "trading-backup.timer", *(f"{unit}.service" for unit in UNITS))

    def said() -> str:
        return tradingctl(trader, "backup", "--timer").stdout

    # What was written a moment ago counts as changed.
    trader.wait_until(lambda: "nothing changed since" in said(), 60, "a run without a backup")
    made = trader.run("ls", BACKUPS).stdout
    assert "nothing changed since" in said()
    assert trader.run("ls", BACKUPS).stdout == made
    trader.run("systemctl", "start", *(f"{unit}.service" for unit in UNITS))
    assert_healthy(trader)


def test_power_loss_in_a_restore_is_made_good_before_a_service_starts(
    trader: Machine, load: Load
) -> None:
    # No backup beside those of the load, at any of the boots.
    trader.run("systemctl", "disable", "--now", *BACKUP_TIMERS)
    # A dashboard that does not want to stop gives the time to cut the power.
    trader.write("/etc/systemd/system/trading-dashboard-v2.service.d/slow.conf",
                 "[Service]\nExecStop=/bin/sleep 300\n")  # fmt: skip
    trader.run("systemctl", "daemon-reload")
    before = prefix(trader, IN_WAL.path)
    expected = prefix(trader, IN_WAL.copy(load.backups[2]))
    assert expected != before
    trader.run("systemd-run", "--quiet", "tradingctl", "restore", load.backups[2])
    record = f"{STATE}/restore.json"
    trader.wait_until(
        lambda: trader.run("test", "-s", record, check=False).returncode == 0, 60, record
    )
    trader.kill()
    trader.boot()
    assert prefix(trader, IN_WAL.path) == expected
    assert trader.run("test", "-e", record, check=False).returncode == 1
    kept = trader.sh(f"ls -d {IN_WAL.path}.before-restore-*Z | tail -n 1").stdout.strip()
    assert prefix(trader, kept) == before
    assert history(trader)[-1]["event"] == "restore"
    assert_healthy(trader)
    finished = trader.systemctl_show("trading-restore.service", "ExecMainExitTimestampMonotonic")
    for unit in UNITS:
        started = trader.systemctl_show(f"{unit}.service", "ExecMainStartTimestampMonotonic")
        assert int(*finished.values()) < int(*started.values())


def test_no_service_starts_on_what_a_boot_cannot_finish(trader: Machine, load: Load) -> None:
    # The dashboard does not want to stop, as in the test before.
    trader.write("/etc/systemd/system/trading-dashboard-v2.service.d/slow.conf",
                 "[Service]\nExecStop=/bin/sleep 300\n")  # fmt: skip
    trader.run("systemctl", "daemon-reload")
    expected = prefix(trader, IN_WAL.copy(load.backups[1]))
    words = ("tradingctl", "restore", load.backups[1], "--settings")
    trader.run("systemd-run", "--quiet", *words)
    record = f"{STATE}/restore.json"
    trader.wait_until(
        lambda: trader.run("test", "-s", record, check=False).returncode == 0, 60, record
    )
    trader.run("mv", BACKUPS, f"{BACKUPS}.away")
    trader.kill()
    trader.boot(degraded_ok=True)
    assert trader.failed_units() == ["trading-restore.service"]
    assert active_units(trader) == []
    assert "note         a restore is not finished" in tradingctl(trader, "status").stdout
    # Nor later, whoever starts it.
    api = ("systemctl", "start", "automatictrader-api.service")
    assert trader.run(*api, check=False).returncode == 1
    trader.sh(f"rmdir {BACKUPS} && mv {BACKUPS}.away {BACKUPS}")
    finished = tradingctl(trader, "restore")
    assert "a restore was cut short: it is finished now" in finished.stdout, finished.output
    assert prefix(trader, IN_WAL.path) == expected
    # All that a boot starts, which may take longer than the restore waits for what it started.
    trader.wait_until(
        lambda: tradingctl(trader, "verify").returncode == 0, 120, "all services to be healthy"
    )
    assert active_units(trader) == list(UNITS)
    assert trader.failed_units() == []


# At the end of those of one server: it is another server.
@pytest.mark.parametrize("os_release", ["trixie"], indirect=True)
def test_the_next_debian_backs_up_under_load_and_restores(trader: Machine, load: Load) -> None:
    assert_whole_and_ever_later(trader, load)
    assert_restored(trader, load)


REPOSITORY = "/srv/restic"


@pytest.fixture
def with_restic(os_release: str, slim: Project) -> Iterator[Machine]:
    """Return a server with the stack, restic, and an empty repository that backup.env names."""
    base = base_root(os_release, (*DEFAULT_PACKAGES, "restic"))
    with server(base, slim) as machine:
        # Before they are there: the first backup of all is the test's.
        machine.run("systemctl", "mask", *BACKUP_TIMERS)
        install_stack(machine)
        machine.write(
            "/etc/trading/backup.env",
            f"RESTIC_REPOSITORY={REPOSITORY}\nRESTIC_PASSWORD='a pass phrase'\n",
            0o600,
        )
        yield machine


def restic(machine: Machine, *words: str) -> str:
    script = 'set -a; . /etc/trading/backup.env; exec restic --quiet "$@"'
    return machine.run("sh", "-euc", script, "sh", *words).stdout


@pytest.mark.parametrize("os_release", ["bookworm", "trixie"], indirect=True)
def test_restic_gets_every_backup_and_a_failure_of_it_is_one_of_the_timer(
    with_restic: Machine,
) -> None:
    machine = with_restic
    failed = machine.run("systemctl", "start", "trading-backup.service", check=False)
    assert failed.returncode != 0, "there is no repository yet"
    assert machine.failed_units() == ["trading-backup.service"]
    data = json.loads(tradingctl(machine, "backup", "--list", "--json").stdout)
    (local,) = [each["id"] for each in data["backups"]]
    assert history(machine)[-1]["event"] == "backup-failed"
    assert f"{local} is complete on this server alone: " in history(machine)[-1]["detail"]
    assert "restic init" in machine.journal("trading-backup.service")

    restic(machine, "init")
    machine.run("systemctl", "reset-failed", "trading-backup.service")
    machine.run("systemctl", "start", "trading-backup.service")
    made = backup(machine)
    machine.run("systemctl", "start", "trading-backup-artifacts.service")
    snapshots = json.loads(restic(machine, "snapshots", "--json"))
    paths = [each["paths"] for each in snapshots]
    listed = json.loads(tradingctl(machine, "backup", "--list", "--json").stdout)["backups"]
    assert [each["kind"] for each in listed] == ["manual", "timer", "timer"]
    # What was made while the repository was away is there too, under its own time.
    assert [[f"{BACKUPS}/{each['id']}"] in paths for each in listed] == [True, True, True]
    for snapshot in snapshots:
        name = snapshot["paths"][0].rpartition("/")[2]
        assert re.sub(r"\D", "", snapshot["time"][:19]) == re.sub(r"\D", "", name)[:14], snapshot
    (tags,) = [each["tags"] for each in snapshots if each["paths"] == [f"{BACKUPS}/{made}"]]
    assert {"trading-backup", "kind=manual"} < set(tags)

    restic(machine, "restore", "latest", "--target", "/root/back", "--path", f"{BACKUPS}/{made}")
    copy = f"/root/back{IN_WAL.copy(made)}"
    sound = machine.run("sqlite3", f"file:{copy}?immutable=1", "PRAGMA integrity_check").stdout
    assert sound == "ok\n"
    sums = f"cd /root/back{BACKUPS}/{made} && sha256sum -c manifest.json.sha256"
    assert machine.sh(sums).stdout == "manifest.json: OK\n"

    machine.sh("sed -i 's/pass phrase/wrong one/' /etc/trading/backup.env")
    wrong = tradingctl(machine, "backup")
    assert wrong.returncode == 5
    assert "restic backup failed with exit code" in wrong.stderr
    assert "wrong one" not in wrong.output
