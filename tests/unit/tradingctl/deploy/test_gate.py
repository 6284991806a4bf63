"""The gate: what is recorded and what is said."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
from tests.unit.tradingctl.fakes import VERSION, Machine, stream, stream_unit, unit_state

from tradingctl.cli import main
from tradingctl.deploy.gate import gate
from tradingctl.deploy.lastgood import LastGood, read_last_good, write_last_good
from tradingctl.deploy.store import Kept
from tradingctl.deploy.transaction import State, begin, current, new_transaction, save
from tradingctl.description import Stack
from tradingctl.inventory import read_inventory

NAME = "marketdata-stream"
STACK = Stack("traderunner-stack", "2026.11.23.1", "2026.11.23.1", {NAME: VERSION})
EARLIER = LastGood("2026.11.20.1", "2026.11.20.1", {NAME: "2026.11.20.1+g1~deb12"}, "then", {})


def gated(machine: Machine, *words: str) -> tuple[int, str]:
    machine.describe(stack=STACK)
    code = main(["gate", *words], machine.server)
    assert machine.out.getvalue() == ""  # standard output may be debconf's
    return code, machine.err.getvalue()


def failing(machine: Machine) -> None:
    machine.healthy(stream())
    state = unit_state(NAME, ActiveState="failed", SubState="failed", Result="exit-code")
    machine.system.units[NAME] = [state]
    machine.system.journal["INVOCATION_ID=c0ffee"] = "".join(f"line {n}\n" for n in range(30))


def keep(machine: Machine, good: LastGood) -> None:
    write_last_good(machine.paths, good)
    kept = Kept(good.release, STACK.package, good.version, {}, good.verified_at)
    machine.write(
        f"var/lib/trading/releases/{good.release}/manifest.json", json.dumps(asdict(kept))
    )


def test_a_good_release_is_started_and_recorded(machine: Machine) -> None:
    machine.healthy(stream())
    code, said = gated(machine)
    assert code == 0
    assert "OK       marketdata-stream" in said
    assert machine.system.ran("systemctl start") == [
        "systemctl start --no-block marketdata-stream.service"
    ]
    record = read_last_good(machine.paths)
    assert record
    assert (record.release, record.packages, record.units) == (
        "2026.11.23.1",
        {NAME: VERSION},
        {NAME: "OK"},
    )
    assert record.verified_at.endswith("+00:00")
    assert machine.paths.last_good.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("state", "verb"), [(State.OPEN, "start"), (State.FAILED, "restart"), (State.STUCK, "restart")]
)
def test_the_attempt_of_a_gate_that_failed_is_not_joined(
    machine: Machine, state: State, verb: str
) -> None:
    machine.healthy(stream())
    under_way = unit_state(NAME, ActiveState="activating", SubState="start-post")
    machine.system.units[NAME] = [under_way]
    pending = new_transaction(machine.server, "dpkg", "2026.11.23.1", {}, {})
    begin(machine.server, replace(pending, state=state))
    gated(machine)
    orders = [" ".join(each) for each in machine.system.commands if "--no-block" in each]
    assert orders == [f"systemctl {verb} --no-block {NAME}.service"]


def test_what_rests_while_the_market_is_closed_is_stopped_again(machine: Machine) -> None:
    machine.healthy(stream())
    machine.write("run/trading/market-closed", f'["{NAME}"]')
    code, said = gated(machine)
    assert code == 0
    assert read_last_good(machine.paths)
    assert machine.system.ran("systemctl st") == [
        f"systemctl start --no-block {NAME}.service",
        f"systemctl stop {NAME}.service",
    ]
    assert "the market is closed" in said


def test_what_rests_is_stopped_again_when_nothing_can_be_verified(machine: Machine) -> None:
    machine.healthy(stream())
    machine.write("run/trading/market-closed", f'["{NAME}"]')
    machine.system.codes["dpkg-query"] = 2
    code, said = gated(machine)
    assert code == 5
    assert "dpkg-query says" in said
    assert machine.system.ran("systemctl st")[-1] == f"systemctl stop {NAME}.service"


@pytest.mark.parametrize("error", [OSError("no space left"), KeyboardInterrupt()])
def test_what_rests_is_stopped_again_whatever_ends_the_verification(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def ends(*_: object, **__: object) -> None:
        raise error

    machine.healthy(stream())
    machine.write("run/trading/market-closed", f'["{NAME}"]')
    monkeypatch.setattr("tradingctl.deploy.gate.verify", ends)
    machine.describe(stack=STACK)
    with pytest.raises(type(error)):
        gate(machine.server, read_inventory(machine.paths))
    assert machine.system.ran("systemctl st")[-1] == f"systemctl stop {NAME}.service"


def test_what_rests_is_stopped_again_before_a_full_disk_is_met(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    machine.healthy(stream())
    machine.write("run/trading/market-closed", f'["{NAME}"]')
    machine.environ["TRADING_SKIP_VERIFY"] = "1"
    monkeypatch.setattr("tradingctl.deploy.gate.transaction.mark", full)
    machine.describe(stack=STACK)
    with pytest.raises(OSError, match="No space"):
        gate(machine.server, read_inventory(machine.paths))
    assert machine.system.ran("systemctl st") == [f"systemctl stop {NAME}.service"]


def test_a_bad_release_says_what_failed_and_is_not_recorded(machine: Machine) -> None:
    failing(machine)
    code, said = gated(machine)
    assert code == 1
    assert "unit state" in said
    assert "expected  active" in said
    assert "got       failed (failed), result exit-code" in said
    assert "line 29" in said
    assert "line 9\n" not in said
    assert f"next: journalctl -u {NAME}.service -n 100\n" in said
    assert said.endswith("to verify again: dpkg --configure -a\n")
    assert read_last_good(machine.paths) is None


def test_where_nothing_goes_back_by_itself_the_way_back_is_printed(machine: Machine) -> None:
    failing(machine)
    keep(machine, EARLIER)
    assert f"next: tradingctl rollback {EARLIER.release}\n" in gated(machine)[1]
    assert read_last_good(machine.paths) == EARLIER


def test_a_release_that_is_not_kept_is_no_way_back(machine: Machine) -> None:
    failing(machine)
    write_last_good(machine.paths, EARLIER)
    said = gated(machine)[1]
    assert "tradingctl rollback" not in said
    assert f"next: journalctl -u {NAME}.service -n 100\n" in said


def test_while_a_transaction_is_under_way_no_way_back_is_printed(machine: Machine) -> None:
    failing(machine)
    keep(machine, EARLIER)
    begin(machine.server, new_transaction(machine.server, "apt", "2026.11.23.1", {}, {}))
    code, said = gated(machine)
    assert code == 1
    assert "rollback" not in said
    pending = current(machine.paths)
    assert pending
    assert (pending.state, pending.check) == (
        State.FAILED,
        f"{NAME}.service: unit state: got failed (failed), result exit-code, exit status 0",
    )


def test_inside_a_rollback_the_gate_does_nothing(machine: Machine) -> None:
    failing(machine)
    machine.environ["TRADING_ROLLBACK"] = "1"
    code, said = gated(machine)
    assert (code, machine.system.commands) == (0, [])
    assert said == "the rollback verifies when every package is installed again\n"
    assert not machine.paths.deploy_log.exists()


def test_the_journal_of_the_unit_is_shown_when_this_start_said_nothing(machine: Machine) -> None:
    failing(machine)
    machine.system.journal = {f"{NAME}.service": "an earlier line\n"}
    assert "an earlier line" in gated(machine)[1]


def test_where_nothing_can_run_nothing_is_started_and_recorded(machine: Machine) -> None:
    machine.healthy(stream())
    machine.paths.systemd_running.rmdir()
    code, said = gated(machine)
    assert (code, said) == (
        0,
        "SKIPPED: systemd is not running; to verify and record it when the services run:"
        " dpkg-reconfigure traderunner-stack\n",
    )
    assert not machine.system.ran("systemctl start")
    assert read_last_good(machine.paths) is None


def test_units_that_are_all_put_aside_are_skipped_and_not_recorded(machine: Machine) -> None:
    machine.healthy(stream())
    aside = unit_state(NAME, UnitFileState="disabled", ActiveState="inactive")
    machine.system.units[NAME] = [aside]
    code, said = gated(machine)
    assert code == 0
    assert "SKIPPED: the administrator put every service aside" in said
    assert read_last_good(machine.paths) is None


def test_the_escape_by_file_or_environment_is_loud(machine: Machine) -> None:
    failing(machine)
    machine.environ["TRADING_SKIP_VERIFY"] = "1"
    code, said = gated(machine)
    assert code == 0
    assert "WARNING: release 2026.11.23.1 is not verified" in said
    assert machine.system.ran("logger -t tradingctl")
    machine.environ.clear()
    machine.write("etc/trading/skip-verify", "")
    assert gated(machine)[0] == 0
    assert read_last_good(machine.paths) is None
    assert main(["status"], machine.server) == 0
    assert (
        "note         /etc/trading/skip-verify exists: no release is verified or taken back;"
        " next: rm /etc/trading/skip-verify\n"
    ) in machine.out.getvalue()


def test_a_record_that_cannot_be_read_does_not_hide_the_failure(machine: Machine) -> None:
    failing(machine)
    machine.write("var/lib/trading/last-good.json", "{")
    code, said = gated(machine)
    assert code == 1
    assert "last-good.json: cannot be read" in said
    assert "next: journalctl" in said


@pytest.mark.parametrize("active", ["inactive", "failed"])
@pytest.mark.parametrize("incoming", [None, {"trading-ibgateway": "1"}])
def test_a_trigger_beside_a_release_starts_nothing(
    machine: Machine, active: str, incoming: dict[str, str] | None
) -> None:
    units = (stream_unit(), stream_unit(name="worker", order=20, port=0, sends_orders=True))
    machine.healthy(stream(units=units))
    machine.system.units["worker"] = [unit_state("worker", ActiveState=active)]
    if incoming:
        begin(machine.server, new_transaction(machine.server, "apt", "", {}, incoming))
    code, said = gated(machine, "--triggered")
    assert code == 0
    assert "OK       marketdata-stream" in said
    reason = "was stopped before and is not started; to start it: systemctl start worker.service"
    assert f"SKIPPED  worker                 -   0.0 s  {reason}\n" in said
    assert not machine.system.ran("systemctl start")
    assert read_last_good(machine.paths) is None, "what does not run was not verified"


def test_a_trigger_ends_nothing_that_is_stuck(machine: Machine) -> None:
    machine.healthy(stream())
    pending = new_transaction(machine.server, "apt", "", {}, {NAME: VERSION})
    begin(machine.server, pending)
    save(machine.paths, replace(pending, state=State.STUCK))
    machine.system.units[NAME] = [unit_state(NAME, ActiveState="failed")]
    assert gated(machine, "--triggered")[0] == 0
    found = current(machine.paths)
    assert found
    assert found.state is State.STUCK


def test_a_trigger_verifies_what_runs(machine: Machine) -> None:
    machine.healthy(stream())
    machine.write("run/trading/market-closed", '["worker"]')
    assert gated(machine, "--triggered")[0] == 0
    assert read_last_good(machine.paths)
    assert not machine.system.ran("systemctl start")


def test_a_trigger_of_a_component_that_is_installed_starts_it(machine: Machine) -> None:
    machine.healthy(stream())
    begin(machine.server, new_transaction(machine.server, "apt", "", {}, {NAME: VERSION}))
    assert gated(machine, "--triggered")[0] == 0
    assert machine.system.ran("systemctl start") == [f"systemctl start --no-block {NAME}.service"]


def test_what_a_trigger_left_stopped_stays_so_when_dpkg_tries_again(machine: Machine) -> None:
    failing(machine)
    units = (stream_unit(), stream_unit(name="worker", order=20, port=0, sends_orders=True))
    machine.describe(stream(units=units))
    machine.system.units["worker"] = [unit_state("worker", ActiveState="inactive")]
    bad = unit_state(NAME, ActiveState="activating", SubState="auto-restart", ExecMainStatus="1")
    machine.system.units[NAME] = [bad]
    assert gated(machine, "--triggered")[0] == 1
    assert gated(machine)[0] == 1, "as by dpkg --configure -a"
    assert machine.system.ran("systemctl start") == [f"systemctl start --no-block {NAME}.service"]
    machine.system.units[NAME] = [unit_state(NAME)]
    assert gated(machine)[0] == 0
    assert not machine.paths.left_stopped.exists()
