"""What the verification finds wrong, with a systemd that says what the test wants."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.tradingctl.fakes import (
    BOOTED,
    COMMIT,
    PORT,
    VERSION,
    Machine,
    Reply,
    answering,
    health,
    stream,
    stream_unit,
    unit_state,
)

from tradingctl import sockets
from tradingctl.deploy import beforehand
from tradingctl.errors import TradingError
from tradingctl.inventory import read_inventory
from tradingctl.report import verification_text
from tradingctl.verdict import Finding, Result, UnitVerdict, Verification
from tradingctl.verify import verify

NAME = "marketdata-stream"


def verified(machine: Machine) -> UnitVerdict:
    (unit,) = verify(machine.server, read_inventory(machine.paths)).units
    return unit


def failure(machine: Machine) -> Finding:
    unit = verified(machine)
    assert unit.result is Result.FAILED
    return unit.findings[0]


def states(machine: Machine, *changes: dict[str, str]) -> None:
    machine.system.units[NAME] = [unit_state(NAME, **change) for change in changes]


def test_a_healthy_unit_is_ok_at_once_and_systemd_is_asked_once(machine: Machine) -> None:
    with answering(Reply()) as url:
        machine.healthy(stream(units=(stream_unit(checks=(health(url),)),)))
        unit = verified(machine)
    assert unit.result is Result.OK
    assert machine.clock.slept == []
    assert len(machine.system.ran("systemctl show")) == 1


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"LoadState": "masked", "UnitFileState": "masked"}, "masked"),
        ({"UnitFileState": "masked-runtime"}, "masked"),
        ({"UnitFileState": "disabled", "ActiveState": "inactive"}, "disabled"),
        ({"UnitFileState": "disabled", "ActiveState": "failed"}, "disabled"),
    ],
)
def test_what_the_administrator_put_aside_is_skipped(
    machine: Machine, change: dict[str, str], word: str
) -> None:
    machine.healthy(stream())
    states(machine, change)
    found = verify(machine.server, read_inventory(machine.paths))
    assert found.units[0].reason == f"{word} by the administrator"
    assert (found.result, found.exit_code) == (Result.SKIPPED, 4)


def test_a_unit_file_of_the_administrator_hides_ours(machine: Machine) -> None:
    machine.healthy(stream())
    states(machine, {"FragmentPath": f"/etc/systemd/system/{NAME}.service"})
    found = failure(machine)
    assert found.got == f"hidden by /etc/systemd/system/{NAME}.service"
    assert found.next_command.startswith(f"mv /etc/systemd/system/{NAME}.service")


def test_one_whose_code_no_release_brings_is_skipped_where_it_is_hidden(machine: Machine) -> None:
    machine.healthy(stream(commit=""))
    hidden = f"/etc/systemd/system/{NAME}.service"
    states(machine, {"FragmentPath": hidden, "ActiveState": "failed"})
    (found,) = verify(machine.server, read_inventory(machine.paths)).units
    assert (found.result, found.reason) == (Result.SKIPPED, f"hidden by {hidden}")


def test_a_unit_that_systemd_does_not_know_has_failed(machine: Machine) -> None:
    machine.healthy(stream())
    states(machine, {"LoadState": "not-found"})
    assert failure(machine).got == "not-found"


def test_another_installed_version_has_failed(machine: Machine) -> None:
    machine.healthy(stream())
    machine.system.packages[NAME] = ("ii ", "1")
    assert (failure(machine).check, failure(machine).got) == ("installed version", "1")


def test_a_package_of_which_only_settings_are_left_is_not_installed(machine: Machine) -> None:
    machine.healthy(stream())
    machine.system.packages[NAME] = ("rc ", VERSION)
    assert failure(machine).got == "not installed"


def test_a_link_to_another_generation_has_failed(machine: Machine) -> None:
    machine.healthy(stream())
    machine.link(NAME, "1")
    found = failure(machine)
    assert (found.check, found.got) == ("active generation", "1")
    assert found.next_command == f"tradingctl activate {NAME}"


@pytest.mark.parametrize("where", ["opt/trading/releases/marketdata-stream/1", "other (deleted)"])
def test_a_process_that_runs_old_code_has_failed_at_once(machine: Machine, where: str) -> None:
    machine.healthy(stream())
    cwd = machine.root / "proc/4711/cwd"
    cwd.unlink()
    cwd.symlink_to(machine.root / where)
    found = failure(machine)
    assert found.check == "running code"
    assert "process 4711 runs in" in found.got
    assert machine.clock.slept == []


def test_a_process_just_begun_may_not_have_changed_its_directory_yet(machine: Machine) -> None:
    machine.healthy(stream())
    states(machine, {"ActiveEnterTimestampMonotonic": str(int(BOOTED * 1e6))})
    cwd = machine.root / "proc/4711/cwd"
    cwd.unlink()
    cwd.symlink_to("/")
    failure(machine)
    assert sum(machine.clock.slept) > 1


def test_a_port_held_by_another_process_names_it(machine: Machine) -> None:
    machine.healthy(stream())
    machine.listen(("00000000", PORT, "202"))
    machine.process(99, "/", "/user.slice/session-1.scope", ["202"])
    found = failure(machine)
    assert found.got == "held by process 99 (python99 -m app)"
    assert found.next_command == "ps -fp 99"


def test_the_stranger_on_the_port_explains_a_unit_that_failed(machine: Machine) -> None:
    machine.healthy(stream())
    states(machine, {"ActiveState": "failed", "MainPID": "0", "ControlGroup": ""})
    machine.listen(("00000000", PORT, "202"))
    machine.process(99, "/", "/user.slice", ["202"])
    assert failure(machine).check == f"port {PORT}"


def test_a_port_nobody_listens_on_is_waited_for_until_the_deadline(machine: Machine) -> None:
    machine.healthy(stream())
    machine.listen()
    assert failure(machine).got == "nothing listens there"
    assert sum(machine.clock.slept) == pytest.approx(5.0)


def test_a_crash_from_before_it_was_ordered_to_start_is_none(machine: Machine) -> None:
    machine.healthy(stream())
    crashed = {"ActiveState": "activating", "SubState": "auto-restart", "ExecMainStatus": "1"}
    states(machine, {"MainPID": "0", **crashed}, {})
    assert verified(machine).result is Result.OK


@pytest.mark.parametrize(
    "change",
    [
        {"ActiveState": "failed", "SubState": "failed", "Result": "exit-code"},
        {"ActiveState": "activating", "SubState": "auto-restart", "ExecMainStatus": "1"},
    ],
)
def test_a_unit_that_failed_is_not_waited_for(machine: Machine, change: dict[str, str]) -> None:
    machine.healthy(stream())
    states(machine, {"MainPID": "0", **change})
    assert failure(machine).check == "unit state"
    # Not to its deadline: only until a start that was ordered just now has surely begun.
    assert sum(machine.clock.slept) == (0 if change["ActiveState"] == "failed" else 2)


def test_a_unit_that_is_starting_is_waited_for(machine: Machine) -> None:
    machine.healthy(stream())
    starting = {"ActiveState": "activating", "SubState": "start-post"}
    states(machine, starting, starting, {})
    assert verified(machine).result is Result.OK
    assert machine.clock.slept


def test_a_unit_that_waits_for_its_own_health_is_asked_what_is_wrong(machine: Machine) -> None:
    with answering(Reply(status=500)) as url:
        machine.healthy(stream(units=(stream_unit(checks=(health(url),)),)))
        states(machine, {"ActiveState": "activating", "SubState": "start-post"})
        found = failure(machine)
    assert (found.check, found.got.split()[:2]) == ("health check", ["status", "500"])
    assert sum(machine.clock.slept) == pytest.approx(5.0)


def test_a_second_attempt_that_answers_no_better_is_not_waited_for(machine: Machine) -> None:
    again = {"ActiveState": "activating", "SubState": "start-post", "NRestarts": "1"}
    ended = {"ActiveState": "activating", "SubState": "auto-restart", "ExecMainStatus": "15"}
    with answering(Reply(status=500)) as url:
        machine.healthy(stream(units=(stream_unit(checks=(health(url),)),)))
        states(machine, {**ended, "MainPID": "0"}, {**ended, "MainPID": "0"}, again)
        assert failure(machine).check == "health check"
    assert sum(machine.clock.slept) < 5.0


def test_what_it_answered_is_told_when_the_time_is_over_between_two_attempts(
    machine: Machine,
) -> None:
    asked = {"ActiveState": "activating", "SubState": "start-post"}
    ended = {"ActiveState": "activating", "SubState": "auto-restart", "ExecMainStatus": "15"}
    with answering(Reply(status=500)) as url:
        machine.healthy(stream(units=(stream_unit(checks=(health(url),)),)))
        states(machine, asked, asked, {**ended, "MainPID": "0"})
        assert failure(machine).check == "health check"


def test_what_it_answered_is_told_when_it_ends_while_its_port_is_looked_at(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = iter([sockets.Ownership(listening=True)])
    gone = sockets.Ownership(True, sockets.Process(0, "a process that is not visible here", ""))
    monkeypatch.setattr(sockets, "owner_of", lambda *_: next(seen, gone))
    with answering(Reply(status=500)) as url:
        machine.healthy(stream(units=(stream_unit(checks=(health(url),)),)))
        states(machine, {"ActiveState": "activating", "SubState": "start-post"})
        assert failure(machine).check == "health check"


def test_a_restart_while_it_is_watched_has_failed(machine: Machine) -> None:
    machine.healthy(stream())
    young = {"ActiveEnterTimestampMonotonic": str(int((BOOTED - 1) * 1e6))}
    states(machine, young, young, {**young, "NRestarts": "1", "InvocationID": "new"})
    found = failure(machine)
    assert found.check == "stability"
    assert found.got == "restarted by systemd (1 times)"


def test_a_restart_ends_the_wait_for_a_good_answer(machine: Machine) -> None:
    with answering(Reply(status=503)) as url:
        machine.healthy(stream(units=(stream_unit(checks=(health(url),)),)))
        states(machine, {}, {}, {"InvocationID": "new"})
        assert failure(machine).got == "started anew"
    assert sum(machine.clock.slept) < 1


def test_a_young_unit_is_watched_until_it_is_stable_and_no_longer(machine: Machine) -> None:
    machine.healthy(stream())
    states(machine, {"ActiveEnterTimestampMonotonic": str(int((BOOTED - 1) * 1e6))})
    assert verified(machine).result is Result.OK
    assert sum(machine.clock.slept) == pytest.approx(2.0)


def test_an_answer_500_is_asked_again_until_the_deadline(machine: Machine) -> None:
    reply = Reply(status=500)
    with answering(reply) as url:
        machine.healthy(stream(units=(stream_unit(checks=(health(url),)),)))
        found = failure(machine)
    assert found.got.startswith("status 500")
    assert found.next_command == f"curl -si {url}"
    assert reply.asked > 10


def test_an_answer_that_becomes_good_in_time_is_ok(machine: Machine) -> None:
    with answering(Reply(status=[503, 503, 200])) as url:
        machine.healthy(stream(units=(stream_unit(checks=(health(url),)),)))
        assert verified(machine).result is Result.OK


def test_an_answer_of_another_commit_has_failed(machine: Machine) -> None:
    with answering(Reply(body={"commit": "f" * 40})) as url:
        machine.healthy(stream(units=(stream_unit(checks=(health(url),)),)))
        found = failure(machine)
    assert COMMIT in found.expected
    assert found.got == "f" * 40


def test_what_is_merely_wanted_degrades_after_one_more_attempt(machine: Machine) -> None:
    reply = Reply(status=503)
    with answering(reply) as url:
        check = health(url, name="feed", required=False)
        machine.healthy(stream(units=(stream_unit(checks=(check,)),)))
        found = verify(machine.server, read_inventory(machine.paths))
    assert (found.result, found.exit_code) == (Result.DEGRADED, 0)
    assert found.units[0].findings[0].check == "feed check"
    assert reply.asked == 2


def test_a_unit_that_is_not_required_degrades_instead_of_failing(machine: Machine) -> None:
    machine.healthy(stream(units=(stream_unit(required=False),)))
    states(machine, {"ActiveState": "failed", "MainPID": "0"})
    assert verified(machine).result is Result.DEGRADED


def test_without_root_what_cannot_be_seen_is_noted_and_not_failed(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.healthy(stream())
    readlink, iterdir = Path.readlink, Path.iterdir

    def closed_link(self: Path) -> Path:
        if self.name == "cwd":
            raise PermissionError
        return readlink(self)

    def closed_folder(self: Path) -> object:
        if self.name == "fd":
            raise PermissionError
        return iterdir(self)

    monkeypatch.setattr(Path, "readlink", closed_link)
    monkeypatch.setattr(Path, "iterdir", closed_folder)
    unit = verified(machine)
    assert unit.result is Result.OK
    assert unit.notes == (
        "not checked, needs root: which code process 4711 runs",
        f"not checked, needs root: who holds port {PORT}",
    )


def test_a_tree_without_a_running_systemd_is_skipped(machine: Machine) -> None:
    machine.healthy(stream())
    machine.paths.systemd_running.rmdir()
    found = verify(machine.server, read_inventory(machine.paths))
    assert (found.exit_code, found.reason) == (4, "systemd is not running")


def test_a_chroot_is_skipped_although_its_ports_answer(machine: Machine) -> None:
    machine.healthy(stream())
    machine.system.codes["systemd-detect-virt -r"] = 0
    assert verify(machine.server, read_inventory(machine.paths)).reason == "in a chroot"


def test_a_policy_against_starting_services_is_a_reason_to_skip(machine: Machine) -> None:
    machine.healthy(stream())
    policy = machine.write("usr/sbin/policy-rc.d", "")
    machine.system.codes[str(policy)] = 101
    found = verify(machine.server, read_inventory(machine.paths))
    assert found.reason == "policy-rc.d forbids to start services"


def test_an_unknown_name_is_refused_with_the_known_ones(machine: Machine) -> None:
    machine.healthy(stream())
    with pytest.raises(TradingError, match="there are: marketdata-stream"):
        verify(machine.server, read_inventory(machine.paths), ["nonsense"])


def test_the_report_has_one_aligned_line_per_unit_and_a_summary(machine: Machine) -> None:
    machine.healthy(stream())
    text = verification_text(verify(machine.server, read_inventory(machine.paths)))
    assert text.splitlines() == [
        "OK       marketdata-stream   8090   0.0 s  commit 7817388",
        "release 2026.11.23.1: OK (1 OK) in 0.0 s",
    ]


@pytest.mark.parametrize("active", ["active", "activating"])
def test_a_disabled_unit_that_runs_is_judged_as_the_others(machine: Machine, active: str) -> None:
    with answering(Reply(status=500)) as url:
        machine.healthy(stream(units=(stream_unit(checks=(health(url),)),)))
        states(machine, {"UnitFileState": "disabled", "ActiveState": active})
        found = verify(machine.server, read_inventory(machine.paths))
    assert (found.result, found.exit_code) == (Result.FAILED, 3)
    assert found.units[0].findings[0].check == "health check"


@pytest.mark.parametrize("active", ["inactive", "failed"])
def test_a_disabled_unit_that_ran_before_has_to_run_afterwards(
    machine: Machine, active: str
) -> None:
    machine.healthy(stream())
    states(machine, {"UnitFileState": "disabled", "ActiveState": active})
    beforehand.note(machine.paths, {NAME})
    found = verify(machine.server, read_inventory(machine.paths))
    assert (found.result, found.exit_code) == (Result.FAILED, 3)
    assert found.units[0].findings[0].check == "unit state"


def test_one_failure_fails_the_release_and_skipped_ones_do_not_count() -> None:
    def unit(result: Result) -> UnitVerdict:
        return UnitVerdict("u", "c", 0, COMMIT, True, result)

    def overall(*results: Result) -> Result:
        return Verification("1", tuple(unit(each) for each in results)).result

    assert overall(Result.OK, Result.FAILED, Result.SKIPPED) is Result.FAILED
    assert overall(Result.OK, Result.DEGRADED) is Result.DEGRADED
    assert overall(Result.OK, Result.SKIPPED) is Result.OK
    assert overall(Result.SKIPPED) is Result.SKIPPED
    assert overall() is Result.SKIPPED


def test_a_component_without_code_of_its_own_needs_no_generation(machine: Machine) -> None:
    component = stream(commit="", units=(stream_unit(port=0),))
    machine.healthy(component)
    machine.paths.link(NAME).unlink()
    assert verified(machine).result is Result.OK
