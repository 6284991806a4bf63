"""Examine one unit until it is proven good, or its deadline is over, or waiting cannot help."""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from tradingctl import probe, sockets
from tradingctl.description import Check, Component, Unit
from tradingctl.inventory import service
from tradingctl.order_safety import order_finding
from tradingctl.server import Server
from tradingctl.systemd import Observer, UnitState
from tradingctl.verdict import Finding, Result, UnitVerdict

UNIT_FOLDERS = ("/lib/systemd/system/", "/usr/lib/systemd/system/")
UNIT_STATE = "unit state"
INTERVAL = 0.25  # seconds between two looks
ANSWERED_INTERVAL = 1.0  # the same for a unit whose answer was bad: it logs each time
SETTLED = 2.0  # seconds after which a process has certainly changed to its working directory
ORDERED_SECONDS = 2.0  # until systemd has surely begun what it was told to
# Exit statuses of a process that was sent SIGTERM: the signal itself, or a shell's way to say it.
ENDED_BY_SYSTEMD = (0, signal.SIGTERM, 128 + signal.SIGTERM)
ROOT_NEEDED = "not checked, needs root: "


class _BadError(Exception):
    """Ends the examination."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.check)
        self.finding = finding


@dataclass
class Examination:
    """The examination of ``unit``, begun at ``began`` on the server's clock.

    ``installed`` is the version dpkg has for the package, ``active`` the version the link points
    to, ``denied`` whether policy-rc.d forbids to start the unit, ``resting`` whether it is stopped
    while the market is closed, ``by_hand`` whether what was installed by hand is in service in its
    place, given back to be so, ``ran`` whether it ran before what is verified although it is
    disabled, ``stopped`` whether it was stopped before and is to stay so. ``refused`` is the result
    of a unit that is not to send orders on this machine.
    """

    server: Server
    observer: Observer
    component: Component
    unit: Unit
    installed: str
    active: str
    began: float
    denied: bool = False
    resting: bool = False
    by_hand: bool = False
    ran: bool = False
    stopped: bool = False
    refused: Result = Result.DEGRADED
    notes: list[str] = field(default_factory=list)
    _first: UnitState | None = None
    _answered: Finding | None = None

    def verdict(self) -> UnitVerdict:
        """Return the result. Raises ProgramFailedError when systemd does not answer."""
        state = self.observer.state(self.unit.name)
        if self.by_hand:
            reason = "what was installed by hand is in service; to take it over: tradingctl adopt"
            return self._verdict(Result.SKIPPED, reason=reason)
        # A disabled one that ran was started anew on the code of the release, and is judged by it.
        if state.put_aside == "masked" or (
            state.put_aside and state.active in ("inactive", "failed") and not self.ran
        ):
            return self._verdict(Result.SKIPPED, reason=f"{state.put_aside} by the administrator")
        # No release brings its code, so none is to be taken back for it.
        if not self.component.commit and _hidden(state):
            return self._verdict(Result.SKIPPED, reason=f"hidden by {state.fragment}")
        if self.denied and state.active == "inactive":
            return self._verdict(Result.SKIPPED, reason="policy-rc.d forbids to start it")
        # A service may end with an error when it is stopped.
        if self.resting and state.active in ("inactive", "failed"):
            return self._verdict(Result.SKIPPED, reason="stopped until the market opens")
        if finding := order_finding(self.server, self.component, self.unit, state):
            return self._verdict(self.refused, (finding,))
        if self.stopped and state.active in ("inactive", "failed"):
            start = f"systemctl start {service(self.unit.name)}"
            reason = f"was stopped before and is not started; to start it: {start}"
            return self._verdict(Result.SKIPPED, reason=reason)
        try:
            for finding in (*self._fragment(state), *self._versions()):
                raise _BadError(finding)
            self._wait_until_good()
            self._stay_up()
        except _BadError as bad:
            result = Result.FAILED if self.unit.required else Result.DEGRADED
            return self._verdict(result, (bad.finding,))
        wanted = tuple(self._wanted())
        return self._verdict(Result.DEGRADED if wanted else Result.OK, wanted)

    def _verdict(
        self, result: Result, findings: tuple[Finding, ...] = (), reason: str = ""
    ) -> UnitVerdict:
        return UnitVerdict(
            unit=self.unit.name,
            component=self.component.name,
            port=self.unit.port,
            commit=self.component.commit,
            required=self.unit.required,
            result=result,
            seconds=round(self.server.clock.now() - self.began, 3),
            reason=reason,
            findings=findings,
            notes=tuple(self.notes),
            invocation=self.observer.state(self.unit.name).invocation,
        )

    def _wait_until_good(self) -> None:
        deadline = self.began + self.unit.deadline
        while (finding := self._look()) is not None:
            left = deadline - self.server.clock.now()
            if finding.final or left <= 0:
                # Between two attempts only the state is bad; what it answered before says why.
                between = finding.check == UNIT_STATE and not finding.final
                raise _BadError((self._answered if between else None) or finding)
            interval = ANSWERED_INTERVAL if self._answered else INTERVAL
            self.server.clock.sleep(min(interval, left))

    def _look(self) -> Finding | None:
        """Return the first thing that is not good at this moment."""
        self.notes.clear()
        state = self.observer.state(self.unit.name)
        return next(self._troubles(state), None)

    def _troubles(self, state: UnitState) -> Iterator[Finding]:
        # The port comes before the unit's own state: a unit that cannot have its port fails, and
        # the process that holds it is the better explanation.
        holder = self._ownership(state)
        yield from self._stranger(holder)
        if state.active == "activating":
            yield from self._bad_answers(state)
        yield from self._activity(state)
        self._first = self._first or state
        yield from self._restarted(state)
        yield from self._running_code(state)
        yield from self._listening(holder)
        for check in self.unit.checks:
            if check.required:
                yield from self._answer(check, self._left())

    def _left(self) -> float:
        return self.began + self.unit.deadline - self.server.clock.now()

    def _fragment(self, state: UnitState) -> Iterator[Finding]:
        if state.load != "loaded":
            yield Finding(
                "unit file",
                "loaded",
                state.load or "nothing",
                f"systemctl daemon-reload && systemctl status {service(self.unit.name)}",
            )
        elif _hidden(state):
            yield Finding(
                "unit file",
                f"/lib/systemd/system/{service(self.unit.name)}",
                f"hidden by {state.fragment}",
                f"mv {state.fragment} /root/ && systemctl daemon-reload"
                f" && systemctl restart {service(self.unit.name)}",
            )

    def _versions(self) -> Iterator[Finding]:
        described = self.component.version
        package = self.component.package
        if self.installed != described:
            yield Finding(
                "installed version",
                f"{package} {described}, as its description says",
                self.installed or "not installed",
                f"apt-get install --reinstall {package}",
            )
        if self.component.commit and self.active != described:
            link = self.server.paths.link(self.component.name)
            yield Finding(
                "active generation",
                f"{link} -> releases/{self.component.name}/{described}",
                self.active or "no link of ours",
                f"tradingctl activate {self.component.name}",
            )

    def _bad_answers(self, state: UnitState) -> Iterator[Finding]:
        """Give what a unit answers that is waiting for its own health check to be good.

        It explains more than the state does. A second attempt that answers no better is the last.
        """
        again = state.restarts > 0 or state.result not in ("", "success")
        for check in self.unit.checks:
            if check.required:
                answer = probe.ask(check, self.component.commit, 2.0)
                if not answer.ok and answer.status:
                    self._answered = replace(self._unanswered(check, answer), final=again)
                    yield self._answered

    def _activity(self, state: UnitState) -> Iterator[Finding]:
        if state.active == "active":
            return
        # One that systemd ended because it did not become ready has not crashed: it is asked why.
        # What waits to be restarted in the first moments may have crashed before it was ordered to
        # start just now.
        crashed = (
            state.sub == "auto-restart"
            and state.exit_status not in ENDED_BY_SYSTEMD
            and self.server.clock.now() - self.began >= ORDERED_SECONDS
        )
        got = f"{state.active} ({state.sub})"
        if state.result not in ("", "success") or state.exit_status:
            got += f", result {state.result}, exit status {state.exit_status}"
        yield Finding(
            UNIT_STATE,
            "active",
            got,
            self._journal(),
            final=crashed or state.active == "failed",
        )

    def _journal(self) -> str:
        return f"journalctl -u {service(self.unit.name)} -n 50 --no-pager"

    def _restarted(self, state: UnitState) -> Iterator[Finding]:
        first = self._first or state
        if (state.restarts, state.invocation) != (first.restarts, first.invocation):
            restarts = state.restarts - first.restarts
            yield Finding(
                "stability",
                f"no restart for {self.unit.stability:g} s",
                f"restarted by systemd ({restarts} times)" if restarts > 0 else "started anew",
                self._journal(),
                final=True,
            )

    def _running_code(self, state: UnitState) -> Iterator[Finding]:
        if not state.main_pid or not self.component.commit:
            return
        paths = self.server.paths
        generation = paths.generation(self.component.name, self.component.version).resolve()
        try:
            folder = (paths.proc / str(state.main_pid) / "cwd").readlink()
        except PermissionError:
            self.notes.append(f"{ROOT_NEEDED}which code process {state.main_pid} runs")
            return
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ESRCH):
                raise
            folder = Path("a process that has ended")
        if folder != generation and generation not in folder.parents:
            age = self.server.clock.now() - state.since
            yield Finding(
                "running code",
                str(generation),
                f"process {state.main_pid} runs in {folder}",
                f"systemctl restart {service(self.unit.name)}",
                final=age > SETTLED,
            )

    def _ownership(self, state: UnitState) -> sockets.Ownership:
        if not self.unit.port:
            return sockets.Ownership(listening=True)
        # A unit that is not running has no group; it will get this one.
        cgroup = state.cgroup or f"/system.slice/{service(self.unit.name)}"
        return sockets.owner_of(self.server.paths.proc, self.unit.port, state.main_pid, cgroup)

    def _stranger(self, ownership: sockets.Ownership) -> Iterator[Finding]:
        holder = ownership.foreign
        if holder:
            known = f"process {holder.pid} ({holder.command})" if holder.pid else holder.command
            found = Finding(
                f"port {self.unit.port}",
                f"held by {service(self.unit.name)}",
                f"held by {known}",
                f"ps -fp {holder.pid}" if holder.pid else f"ss -ltnp sport = :{self.unit.port}",
                final=holder.pid != 0,
            )
            # Without a process it may be the unit's own, which ended while we looked: what that
            # answered before says why.
            yield found if holder.pid else self._answered or found

    def _listening(self, ownership: sockets.Ownership) -> Iterator[Finding]:
        if ownership.hidden:
            self.notes.append(f"{ROOT_NEEDED}who holds port {self.unit.port}")
        if not ownership.listening:
            yield Finding(
                f"port {self.unit.port}",
                f"held by {service(self.unit.name)}",
                "nothing listens there",
                self._journal(),
            )

    def _answer(self, check: Check, left: float) -> Iterator[Finding]:
        answer = probe.ask(check, self.component.commit, max(0.1, min(2.0, left)))
        if not answer.ok:
            yield self._unanswered(check, answer)

    def _unanswered(self, check: Check, answer: probe.Answer) -> Finding:
        return Finding(f"{check.name} check", answer.expected, answer.got, f"curl -si {check.url}")

    def _stay_up(self) -> None:
        while True:
            state = self.observer.state(self.unit.name)
            for finding in (*self._restarted(state), *self._activity(state)):
                raise _BadError(finding)
            left = state.since + self.unit.stability - self.server.clock.now()
            if left <= 0:
                return
            self.server.clock.sleep(min(INTERVAL, left))

    def _wanted(self) -> Iterator[Finding]:
        """Give what is wanted and not good; the release does not fail for it."""
        for check in self.unit.checks:
            if check.required:
                continue
            if any(self._answer(check, 2.0)):
                self.server.clock.sleep(INTERVAL)
                yield from self._answer(check, 2.0)


def _hidden(state: UnitState) -> bool:
    """Return whether a unit file of the administrator's is in force, not the packaged one."""
    return state.load == "loaded" and not state.fragment.startswith(UNIT_FOLDERS)
