"""A worker that would send orders starts on a production machine, or where that is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.tradingctl.fakes import Machine, stream, stream_unit, unit_state

from tradingctl.cli import main
from tradingctl.inventory import read_inventory
from tradingctl.verdict import Result
from tradingctl.verify import verify

ENVIRONMENT = "etc/trading/environment"
OVERRIDE = "etc/trading/orders-on-staging"
SECRETS = "etc/trading/secrets/marketdata-stream.env"
UNIT = "marketdata-stream.service"


@pytest.fixture
def worker(machine: Machine) -> Machine:
    """Give a staging machine with a unit that may send orders, running and good."""
    machine.write(ENVIRONMENT, "TRADING_ENVIRONMENT=staging\n")
    machine.healthy(stream(units=(stream_unit(sends_orders=True),)))
    return machine


def start(machine: Machine, mode: str | None) -> int:
    """Return the exit code of what the unit asks before it starts; systemd asks as the service."""
    machine.euid = 1000
    machine.environ.pop("AT_WORKER_MODE", None)
    if mode is not None:
        machine.environ["AT_WORKER_MODE"] = mode
    return main(["may-start", UNIT], machine.server)


@pytest.mark.parametrize("environment", ["staging", "production", "dev", ""])
@pytest.mark.parametrize("mode", ["plan-only", "", None])
def test_planning_is_allowed_everywhere(
    worker: Machine, environment: str, mode: str | None
) -> None:
    worker.write(ENVIRONMENT, f"TRADING_ENVIRONMENT={environment}\n")
    assert start(worker, mode) == 0
    assert worker.err.getvalue() == ""


@pytest.mark.parametrize("mode", ["paper-send", "live", "Plan-Only"])
@pytest.mark.parametrize("environment", ["staging", "dev", "", None])
def test_every_other_mode_is_for_production(
    worker: Machine, environment: str | None, mode: str
) -> None:
    worker.paths.environment.unlink()
    if environment is not None:
        worker.write(ENVIRONMENT, f"TRADING_ENVIRONMENT={environment}\n")
    assert start(worker, mode) == 5, "systemd skips the unit for exit codes up to 254"
    said = worker.err.getvalue()
    assert f"{UNIT} is not started: AT_WORKER_MODE is {mode}" in said
    assert "/etc/trading/environment" in said
    assert f"echo {mode} > /etc/trading/orders-on-staging" in said
    worker.write(ENVIRONMENT, "TRADING_ENVIRONMENT=production\n")
    assert start(worker, mode) == 0


def test_a_blank_at_the_end_of_a_mode_is_to_be_looked_for(worker: Machine) -> None:
    worker.write(ENVIRONMENT, "TRADING_ENVIRONMENT=staging\n")
    assert start(worker, "plan-only ") == 5
    assert "next: grep -n AT_WORKER_MODE /etc/trading/*\n" in worker.err.getvalue()


def test_a_mode_that_is_no_word_is_not_said(worker: Machine) -> None:
    mode = "paper-send\nIB_PASSWORD=hush-hush"
    assert start(worker, mode) == 5
    (worker.root / "proc/4711/environ").write_bytes(f"AT_WORKER_MODE={mode}\0".encode())
    worker.write(SECRETS, f"AT_WORKER_MODE='{mode}")
    assert main(["verify"], worker.server) == 3
    assert main(["status"], worker.server) == 0
    said = worker.err.getvalue() + worker.out.getvalue()
    assert "AT_WORKER_MODE is no word" in said
    assert "hush-hush" not in said


def test_the_variable_of_the_service_does_not_decide_what_the_machine_is(worker: Machine) -> None:
    worker.environ["TRADING_ENVIRONMENT"] = "production"
    assert start(worker, "paper-send") == 5


def test_it_is_asked_without_any_description(machine: Machine) -> None:
    assert start(machine, "paper-send") == 5


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("paper-send\n", 0),
        ("# until friday\n\n  paper-send  ", 0),
        ("live\n", 5),
        ("", 5),
        ("# paper-send\n", 5),
        ("paper-send\nlive\n", 5),
        ("paper-send live\n", 5),
    ],
)
def test_what_is_allowed_in_writing_is_allowed_to_the_letter(
    worker: Machine, written: str, code: int
) -> None:
    worker.write(OVERRIDE, written)
    assert start(worker, "paper-send") == code
    if code == 0:
        assert "WARNING: AT_WORKER_MODE=paper-send" in worker.err.getvalue()
        assert "allowed by /etc/trading/orders-on-staging" in worker.err.getvalue()


@pytest.mark.parametrize("automatic", [True, False])
def test_verify_fails_and_no_release_does(worker: Machine, automatic: bool) -> None:
    worker.write(SECRETS, "AT_WORKER_MODE=plan-only\nAT_WORKER_MODE=paper-send\n")
    worker.system.units["marketdata-stream"] = [
        unit_state("marketdata-stream", ActiveState="inactive", Result="exec-condition")
    ]
    if automatic:
        found = verify(worker.server, read_inventory(worker.paths))
        assert (found.result, found.exit_code) == (Result.DEGRADED, 0)
        assert worker.clock.slept == [], "waiting cannot help"
    else:
        assert main(["verify"], worker.server) == 3
        said = worker.out.getvalue()
        assert "is not started: AT_WORKER_MODE is paper-send in" in said
        assert f"/{SECRETS}, and this machine is staging by /etc/trading/environment" in said
        assert "next      tradingctl environment production" in said


def test_one_that_runs_where_it_must_not_is_found_by_its_own_environment(worker: Machine) -> None:
    (worker.root / "proc/4711/environ").write_bytes(b"A=1\0AT_WORKER_MODE=paper-send\0")
    assert main(["verify"], worker.server) == 3
    assert "process 4711 runs with AT_WORKER_MODE=paper-send" in worker.out.getvalue()
    assert f"systemctl stop {UNIT}" in worker.out.getvalue()


def test_who_cannot_read_the_secrets_is_told_by_what_systemd_knows(worker: Machine) -> None:
    worker.system.units["marketdata-stream"] = [
        unit_state("marketdata-stream", ActiveState="inactive", Result="exec-condition")
    ]
    assert main(["verify"], worker.server) == 3
    assert "was not allowed to start when it was tried last" in worker.out.getvalue()
    assert main(["status"], worker.server) == 0
    assert "refused" in worker.out.getvalue()


def test_a_unit_that_sends_nothing_may_have_any_mode(worker: Machine) -> None:
    worker.describe(stream())
    worker.write(SECRETS, "AT_WORKER_MODE=paper-send\n")
    assert main(["verify"], worker.server) == 0


def test_the_status_says_what_is_refused_and_what_is_allowed(worker: Machine) -> None:
    worker.write(SECRETS, "AT_WORKER_MODE=paper-send\n")
    assert main(["status"], worker.server) == 0
    assert "note         marketdata-stream is not started: AT_WORKER_MODE is paper-send" in (
        worker.out.getvalue()
    )
    worker.write(OVERRIDE, "paper-send\n")
    assert main(["status"], worker.server) == 0
    assert "AT_WORKER_MODE=paper-send on a machine that is not production, allowed by" in (
        worker.out.getvalue()
    )


def test_nothing_of_the_administrators_is_changed(worker: Machine, tmp_path: Path) -> None:
    file = worker.write(SECRETS, "AT_WORKER_MODE=paper-send\n")
    before = (file.read_bytes(), file.stat().st_mtime_ns)
    start(worker, "paper-send")
    main(["verify"], worker.server)
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before
