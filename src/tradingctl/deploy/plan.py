"""What a rollback is going to do, and why: read from the server, changing nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tradingctl.deploy.blocks import Block
from tradingctl.deploy.store import Kept, inventory_of
from tradingctl.generations import Generations
from tradingctl.inventory import package_states
from tradingctl.report import table
from tradingctl.server import Server


class Step(StrEnum):
    """What is done; the order is the one in which it is done."""

    SWITCH = "switch"
    INSTALL = "install"
    REMOVE = "remove"
    VERIFY = "verify"
    BLOCK = "block"


@dataclass(frozen=True)
class Action:
    """One step of a rollback: of what, to which version, and why."""

    step: Step
    subject: str
    version: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """The way back to ``target``. ``blocks`` are what apt shall not install again by itself."""

    target: Kept
    actions: tuple[Action, ...]
    blocks: tuple[Block, ...] = ()

    def of(self, step: Step) -> list[str]:
        """Return the subjects of one kind of step."""
        return [action.subject for action in self.actions if action.step is step]


def plan_rollback(
    server: Server,
    target: Kept,
    before: Mapping[str, str],
    blocked: Sequence[Block] = (),
    removed: Collection[str] = (),
) -> Plan:
    """Return what has to be done to get to ``target``.

    ``before`` are the packages that were there before the installation that failed: what it added
    goes again. ``removed`` are those of the target that are not brought back if they are not there:
    the administrator removed them. Raises TradingError.
    """
    inventory = inventory_of(server.paths, target)
    actions = []
    for component in inventory.components:
        generations = Generations(server.paths, component.name)
        active = generations.active
        if generations.hand_made:
            continue  # it is in service because the administrator wanted it back
        if active != component.version and generations.complete(component.version):
            why = f"{server.paths.link(component.name)} points to {active or 'nothing'}"
            actions.append(Action(Step.SWITCH, component.name, component.version, why))
    states = package_states(server.runner, sorted({*target.packages, *before}))
    for package, kept in sorted(target.packages.items()):
        state = states.get(package)
        if state is None or not state.unpacked:
            if package in removed:
                continue
            why = "is not installed"
        elif not state.complete:
            why = f"is in state {state.status.strip()!r} at {state.version}"
        elif state.version != kept.version:
            why = f"is at {state.version}"
        else:
            continue
        actions.append(Action(Step.INSTALL, package, kept.version, why))
    for package, version in sorted(before.items()):
        state = states.get(package)
        if not version and package not in target.packages and state and state.unpacked:
            why = "came with the release that is left"
            actions.append(Action(Step.REMOVE, package, state.version, why))
    actions.append(
        Action(
            Step.VERIFY,
            target.release,
            target.version or "-",
            f"last good at {target.verified_at}",
        )
    )
    actions += [Action(Step.BLOCK, each.package, each.version, each.reason) for each in blocked]
    return Plan(target, tuple(actions), tuple(blocked))


def plan_text(plan: Plan) -> str:
    """Return the plan for people."""
    rows = [("STEP", "WHAT", "VERSION", "WHY")]
    rows += [(each.step.value, each.subject, each.version, each.reason) for each in plan.actions]
    return f"to release {plan.target.release}:\n{table(rows)}"
