"""Where no service can or may run, installing works, says SKIPPED, and nothing is recorded good."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.system.project import Project
from tests.system.stack import (
    PACKAGES,
    UNITS,
    active_units,
    apt,
    assert_healthy,
    install_keyring,
    install_stack,
    last_good,
    off_server,
    server,
    tradingctl,
    verdict,
)

pytestmark = pytest.mark.system

POLICY = "/usr/sbin/policy-rc.d"


def test_chroot_is_skipped_and_its_first_boot_is_good(base: Path, release: Project) -> None:
    with off_server(base, release) as machine:
        install_keyring(machine, release)
        done = install_stack(machine)
        assert "SKIPPED: systemd is not running" in done.output
        assert "OK" not in done.output
        assert last_good(machine) is None
        verified = tradingctl(machine, "verify")
        assert (verified.returncode, verified.stdout) == (4, "SKIPPED: systemd is not running\n")
        assert tradingctl(machine, "status").returncode == 0

        machine.boot()
        assert active_units(machine) == list(UNITS)
        assert_healthy(machine)
        assert last_good(machine) is None, "nobody asked the gate yet"


def test_policy_disabled_and_masked_units_are_skipped(base: Path, release: Project) -> None:
    with server(base, release) as machine:
        machine.write(POLICY, "#!/bin/sh\nexit 101\n", 0o755)
        done = install_stack(machine)
        assert "SKIPPED: policy-rc.d forbids to start services" in done.output
        assert active_units(machine) == []
        assert last_good(machine) is None
        assert tradingctl(machine, "verify").returncode == 4

        machine.run("rm", POLICY)
        machine.run("systemctl", "disable", "marketdata-stream.service")
        machine.run("systemctl", "mask", "trading-dashboard-v2.service")
        again = apt(machine, "install", "--reinstall", *PACKAGES)
        assert "SKIPPED  marketdata-stream.service" in plain(again.output)
        assert "SKIPPED  trading-dashboard-v2.service" in plain(again.output)
        assert active_units(machine) == ["automatictrader-api", "automatictrader-worker"]
        found = {
            unit["unit"]: (unit["result"], unit["reason"]) for unit in verdict(machine)["units"]
        }
        assert found == {
            "marketdata-stream.service": ("SKIPPED", "disabled by the administrator"),
            "automatictrader-api.service": ("OK", ""),
            "automatictrader-worker.service": ("OK", ""),
            "trading-dashboard-v2.service": ("SKIPPED", "masked by the administrator"),
        }
        record = last_good(machine)
        assert record is not None
        assert record["units"]["marketdata-stream.service"] == "SKIPPED"


def plain(text: str) -> str:
    """Return a text without colours."""
    for code in ("\033[31m", "\033[32m", "\033[33m", "\033[36m", "\033[0m"):
        text = text.replace(code, "")
    return text
