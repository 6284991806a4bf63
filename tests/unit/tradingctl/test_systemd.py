"""Whether systemd is on its way out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from tests.unit.tradingctl.fakes import FakeSystem, Machine

from tradingctl import systemd
from tradingctl.process import NOTHING, Outcome


@dataclass
class Answering(FakeSystem):
    """A system whose systemd gives these answers, and the last for ever."""

    answers: list[str] = field(default_factory=list)

    def run(
        self,
        command: Sequence[str],
        timeout: float = 60.0,
        extra: Mapping[str, str] = NOTHING,
    ) -> Outcome:
        """Answer as the program would."""
        if list(command) == ["systemctl", "is-system-running"]:
            self.running = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return super().run(command, timeout, extra)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["running"], False),
        (["degraded"], False),
        (["starting"], False),
        (["stopping"], True),
        (["", "unknown", "running"], False),
        (["", "stopping"], True),
        (["unknown"], True),
        ([""], True),
    ],
)
def test_a_machine_goes_down_when_systemd_says_so_or_answers_no_more(
    machine: Machine, answers: list[str], expected: bool
) -> None:
    machine.system = Answering(answers=answers)
    assert systemd.going_down(machine.server) is expected


def test_in_a_chroot_nothing_goes_down(machine: Machine) -> None:
    machine.system = Answering(answers=[""])
    machine.system.codes["systemd-detect-virt"] = 0
    assert not systemd.going_down(machine.server)
