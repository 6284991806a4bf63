"""Activation and removal of a component."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from tests.unit.tradingctl.fakes import VERSION, Machine, Unheard, stream, stream_unit, unit_state

from tradingctl.cli import main
from tradingctl.deploy.store import Kept, KeptPackage

NAME = "marketdata-stream"
UNIT = "marketdata-stream.service"


@pytest.fixture
def shipped(machine: Machine) -> Machine:
    machine.describe(stream())
    machine.ship(NAME, {"app.py": "1", ".tracked/data/symbols.csv": "A"})
    return machine


def activated(machine: Machine, version: str = VERSION) -> int:
    machine.describe(stream(version=version))
    return main(["activate", NAME], machine.server)


def steps(machine: Machine) -> list[str]:
    return [
        " ".join(each)
        for each in machine.system.commands
        if each[0] == "deb-systemd-invoke" or each[1] in ("daemon-reload", "start")
    ]


def test_the_first_activation_makes_everything_and_starts_the_unit(shipped: Machine) -> None:
    assert activated(shipped) == 0
    link = shipped.paths.link(NAME)
    assert (link / "app.py").read_text() == "1"
    state = shipped.paths.state / NAME / "data"
    assert str((state / "symbols.csv").readlink()).endswith("/.tracked/data/symbols.csv")
    assert shipped.paths.secret_file(NAME).is_file()
    assert steps(shipped) == [
        "systemctl daemon-reload",
        f"deb-systemd-invoke stop {UNIT}",
        f"systemctl start --no-block {UNIT}",
    ]


def test_a_second_activation_only_sees_to_it_that_the_unit_runs(shipped: Machine) -> None:
    activated(shipped)
    inode = shipped.paths.link(NAME).lstat().st_ino
    shipped.system.commands.clear()
    assert activated(shipped) == 0
    assert shipped.paths.link(NAME).lstat().st_ino == inode
    assert steps(shipped) == ["systemctl daemon-reload", f"systemctl start --no-block {UNIT}"]


def test_an_active_generation_that_was_damaged_is_repaired(shipped: Machine) -> None:
    activated(shipped)
    (shipped.paths.link(NAME) / "app.py").unlink()
    assert activated(shipped) == 0
    assert (shipped.paths.link(NAME) / "app.py").read_text() == "1"


def test_a_hand_made_directory_is_moved_aside(shipped: Machine) -> None:
    shipped.write(f"opt/trading/{NAME}/app.py", "by hand")
    shipped.system.units[NAME] = [unit_state(NAME, ActiveState="inactive")]
    assert activated(shipped) == 0
    assert (shipped.paths.link(NAME) / "app.py").read_text() == "1"
    assert (shipped.paths.base / "adopted" / NAME / "app.py").read_text() == "by hand"


def test_what_is_no_directory_is_refused_before_anything_is_touched(shipped: Machine) -> None:
    shipped.write(f"opt/trading/{NAME}", "by hand")
    shipped.paths.logs.mkdir(parents=True)
    before = set(shipped.root.rglob("*"))
    assert activated(shipped) == 5
    assert set(shipped.root.rglob("*")) - {shipped.paths.deploy_log} == before
    link = shipped.paths.link(NAME)
    assert f"mv {link} {link}.by-hand && dpkg --configure -a" in shipped.err.getvalue()


def test_a_unit_that_does_not_start_is_a_warning(shipped: Machine) -> None:
    shipped.system.codes["systemctl start"] = 1
    assert activated(shipped) == 0
    assert f"warning: systemd does not start {UNIT}" in shipped.err.getvalue()
    assert f"journalctl -u {UNIT}" in shipped.err.getvalue()


def test_a_disabled_unit_that_ran_nevertheless_runs_again(shipped: Machine) -> None:
    shipped.system.units[NAME] = [unit_state(NAME, UnitFileState="disabled")]
    activated(shipped)
    assert steps(shipped)[-1] == f"systemctl start --no-block {UNIT}"


def test_a_unit_that_the_administrator_put_aside_is_not_started(shipped: Machine) -> None:
    aside = unit_state(NAME, UnitFileState="disabled", ActiveState="inactive")
    shipped.system.units[NAME] = [aside]
    activated(shipped)
    assert "systemctl start" not in " ".join(steps(shipped))
    assert f"note: {NAME} is disabled, not starting it" in shipped.err.getvalue()


def test_a_unit_that_rests_until_the_market_opens_is_not_started(shipped: Machine) -> None:
    shipped.write("run/trading/market-closed", f'["{NAME}"]')
    assert activated(shipped) == 0
    assert steps(shipped)[-1] == f"deb-systemd-invoke stop {UNIT}"
    assert f"note: {NAME} rests until the market opens" in shipped.err.getvalue()
    shipped.system.commands.clear()
    assert activated(shipped) == 0, "as by dpkg-reconfigure, which no gate follows"
    assert steps(shipped) == ["systemctl daemon-reload"]


def test_a_unit_that_was_stopped_before_the_installation_is_not_started(shipped: Machine) -> None:
    shipped.write("run/trading/left-stopped", f'["{NAME}"]')
    assert activated(shipped) == 0
    assert steps(shipped)[-1] == f"deb-systemd-invoke stop {UNIT}"
    assert (
        f"note: {NAME} was stopped before and is not started; to start it: systemctl start {UNIT}\n"
    ) in shipped.err.getvalue()


def test_services_start_although_nobody_can_hear_of_it(shipped: Machine) -> None:
    two = stream(units=(stream_unit(), stream_unit(name="board", order=20)))
    shipped.describe(two)
    shipped.system.units["board"] = [unit_state("board", UnitFileState="disabled")]
    shipped.write("run/trading/market-closed", '["board"]')
    shipped.err = Unheard()
    assert main(["activate", NAME], shipped.server) == 0
    assert steps(shipped)[-1] == f"systemctl start --no-block {UNIT}"


def test_an_earlier_failure_is_forgotten_before_the_start(shipped: Machine) -> None:
    activated(shipped)
    lines = [" ".join(each) for each in shipped.system.commands]
    reset, start = f"systemctl reset-failed {UNIT}", f"systemctl start --no-block {UNIT}"
    assert lines.index(reset) < lines.index(start)


def test_where_no_systemd_runs_the_link_is_made_and_no_unit_is_touched(shipped: Machine) -> None:
    shipped.paths.systemd_running.rmdir()
    assert activated(shipped) == 0
    assert shipped.paths.link(NAME).is_symlink()
    assert steps(shipped) == []


def test_what_is_still_stopping_has_not_stopped(shipped: Machine) -> None:
    activated(shipped)
    shipped.ship(NAME, {"app.py": "2"})
    shipped.system.stubborn.add(NAME)
    shipped.system.units[NAME] = [unit_state(NAME, ActiveState="deactivating")]
    assert activated(shipped, "2") == 0
    assert (shipped.paths.link(NAME) / "app.py").read_text() == "1"


@pytest.mark.parametrize("policy", [True, False])
def test_what_does_not_stop_keeps_its_code(shipped: Machine, policy: bool) -> None:
    activated(shipped)
    shipped.ship(NAME, {"app.py": "2"})
    shipped.system.stubborn.add(NAME)
    file = shipped.paths.policy
    next_command = f"systemctl kill -s KILL {UNIT}"
    if policy:
        shipped.write("usr/sbin/policy-rc.d", "")
        shipped.system.codes[str(file)] = 101
        next_command = f"mv {file} {file}.off"
    shipped.err.truncate(0)
    assert activated(shipped, "2") == 0, "a postinst does not fail because a service is ill"
    assert (shipped.paths.link(NAME) / "app.py").read_text() == "1"
    said = shipped.err.getvalue()
    assert f"WARNING: {UNIT} did not stop, so {NAME} 2 is not in service" in said
    assert f"next: {next_command} && tradingctl activate {NAME}\n" in said
    shipped.system.stubborn.clear()
    assert activated(shipped, "2") == 0
    assert (shipped.paths.link(NAME) / "app.py").read_text() == "2"


def test_a_flip_that_fails_starts_what_ran_before(
    shipped: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    activated(shipped)
    shipped.ship(NAME, {"app.py": "2"})
    replace = Path.replace

    def fail(self: Path, target: Path) -> Path:
        if target == shipped.paths.link(NAME):
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    assert activated(shipped, "2") == 5
    assert "No space left on device" in shipped.err.getvalue()
    assert steps(shipped)[-1] == f"systemctl start --no-block {UNIT}"
    assert (shipped.paths.link(NAME) / "app.py").read_text() == "1"


def test_no_generation_goes_before_the_release_is_verified(shipped: Machine) -> None:
    for number in range(1, 8):
        shipped.ship(NAME, {"app.py": str(number)})
        activated(shipped, str(number))
    left = sorted(each.name for each in shipped.paths.generations(NAME).iterdir())
    assert left == ["1", "2", "3", "4", "5", "6", "7"]


def test_a_file_that_the_release_dropped_loses_its_link(shipped: Machine) -> None:
    activated(shipped)
    (shipped.paths.shipped(NAME) / ".tracked/data/symbols.csv").unlink()
    activated(shipped, "2")
    assert list((shipped.paths.state / NAME / "data").iterdir()) == []


def test_removal_takes_the_code_and_leaves_data_and_secrets(shipped: Machine) -> None:
    activated(shipped)
    database = shipped.paths.state / NAME / "data/ticks.db"
    database.write_text("", encoding="utf-8")
    assert main(["deactivate", NAME], shipped.server) == 0
    assert steps(shipped)[-1] == f"deb-systemd-invoke stop {UNIT}"
    assert not shipped.paths.base.exists()
    assert list(database.parent.iterdir()) == [database]
    assert shipped.paths.secret_file(NAME).is_file()
    assert main(["deactivate", NAME], shipped.server) == 0


def test_removal_works_without_the_description_and_spares_what_is_made_by_hand(
    machine: Machine,
) -> None:
    file = machine.write(f"opt/trading/{NAME}/app.py", "by hand")
    assert main(["deactivate", NAME], machine.server) == 0
    assert file.is_file()
    assert "is not of the package and stays" in machine.err.getvalue()


def test_activation_needs_root(shipped: Machine) -> None:
    shipped.euid = 1000
    assert main(["activate", NAME], shipped.server) == 5
    assert "needs root" in shipped.err.getvalue()
    assert json.loads((shipped.paths.shipped(NAME) / "RELEASE.json").read_text())


def test_a_unit_that_the_release_drops_is_stopped(machine: Machine) -> None:
    dropped = stream_unit(name="retired-worker", port=0)
    stays = stream_unit()
    earlier = stream(units=(stays, dropped), version="1")
    package = KeptPackage("1", f"{NAME}_1_all.deb", "0" * 64, 1)
    kept = Kept("1", "traderunner-stack", "1", {NAME: package}, "2026-11-24T00:00:00+00:00")
    folder = "var/lib/trading/releases/1"
    machine.write(f"{folder}/manifest.json", json.dumps(asdict(kept)))
    machine.write(f"{folder}/descriptions/components/{NAME}.json", earlier.to_json())
    machine.describe(stream(units=(stays,)))
    machine.system.units["retired-worker"] = [unit_state("retired-worker", LoadState="not-found")]
    machine.ship(NAME, {"app.py": "new"})
    machine.link(NAME, "1")

    assert main(["activate", NAME], machine.server) == 0

    stopped = machine.system.ran("deb-systemd-invoke stop")
    assert stopped == [
        f"deb-systemd-invoke stop {NAME}.service",
        "deb-systemd-invoke stop retired-worker.service",
    ]
