"""When something is taken over or given back: at installation, by the gate, at boot, on demand."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from dataclasses import replace

from tradingctl.adopt import apply, undo
from tradingctl.adopt.plan import Plan, plan
from tradingctl.adopt.record import (
    IN_FORCE,
    UNDER_WAY,
    Adoption,
    Kind,
    OldUnit,
    State,
    current,
    read,
    save,
    set_state,
)
from tradingctl.adopt.report import plan_text
from tradingctl.adopt.survey import survey
from tradingctl.adopt.undo import GivenBack
from tradingctl.adopt.unitfiles import is_mask
from tradingctl.deploy import history, transaction
from tradingctl.deploy.actor import dpkg_run
from tradingctl.deploy.transaction import Transaction
from tradingctl.description import Component
from tradingctl.errors import AdoptionError, TradingError
from tradingctl.generations import Generations
from tradingctl.inventory import Inventory, read_inventory, service
from tradingctl.server import Server

CONFIGURE = "dpkg --configure -a"
ADOPT = "tradingctl adopt"
GAVE_BACK = (State.REVERSED, State.UNDONE)


def take_over(server: Server, component: Component) -> str:
    """Take over what was installed by hand where ``component`` belongs; empty when it is done.

    All components are taken over together, at the first of them. Returns why what was installed by
    hand stays in service instead, such as because the administrator wanted it back. Raises
    AdoptionError; then it is, or is again, in service.
    """
    resume(server, forward=True)
    if not component.commit or not _in_the_way(server, component):
        return ""
    if reason := declined(server, component, read_inventory(server.paths).release):
        return reason
    _refuse_again(server, component)
    wanted = planned(server, read_inventory(server.paths))
    if wanted.adoption.components or wanted.refusals:
        adopt(server, wanted)
    return ""


def _refuse_again(server: Server, component: Component) -> None:
    """Raise AdoptionError when the same run of dpkg tried it for another component, and failed.

    Everything would be stopped and given back once for each component.
    """
    last = current(server.paths)
    if last is None or last.state is not State.REVERSED or component.name not in last.components:
        return
    if last.dpkg_run and last.dpkg_run == dpkg_run(server.paths.proc):
        raise AdoptionError(
            f"what was installed by hand is not taken over for {component.name} either:"
            f" {last.detail}; nothing was changed",
            CONFIGURE,
        )


def _in_the_way(server: Server, component: Component) -> bool:
    generations = Generations(server.paths, component.name)
    if generations.hand_made or generations.active:
        return generations.hand_made
    files = [server.paths.local_units / service(unit.name) for unit in component.units]
    return any(os.path.lexists(file) and not is_mask(file) for file in files)


def declined(server: Server, component: Component, release: str) -> str:
    """Return why ``component`` is not taken over by itself, empty when it is."""
    known = [each for each in read(server.paths) if component.name in each.components]
    if not known:
        return ""
    last = known[-1]
    if last.state is State.UNDONE:
        return (
            "what was installed by hand is in service, as the administrator wanted;"
            " to take it over: tradingctl adopt"
        )
    if last.state is State.REVERSED and last.check and last.release == release:
        return (
            f"what was installed by hand is in service, because release {release} failed"
            f" ({last.check}); to try again: tradingctl adopt"
        )
    return ""


def by_hand(server: Server, component: Component) -> bool:
    """Return whether the component's services are those installed by hand, given back to be so."""
    known = [each for each in read(server.paths) if component.name in each.components]
    if not known or known[-1].state not in GAVE_BACK:
        return False
    return _in_the_way(server, component)


def planned(server: Server, inventory: Inventory, again: bool = False) -> Plan:
    """Return what is to be done; with ``again`` also of what was given back. Changes nothing."""
    wanted = [
        each
        for each in inventory.components
        if again or not declined(server, each, inventory.release)
    ]
    chosen = replace(inventory, components=tuple(wanted))
    # Once the packages are configured dpkg has nothing to do for it.
    return plan(server, survey(server, chosen), ADOPT if again else CONFIGURE)


def adopt(server: Server, wanted: Plan) -> Adoption:
    """Do what is planned. Raises AdoptionError; then what was installed by hand is in service."""
    release = wanted.adoption.release
    if wanted.refusals:
        reasons = "\n  ".join(each.reason for each in wanted.refusals)
        history.record(server, "adoption-refused", release, wanted.refusals[0].reason)
        raise AdoptionError(
            f"what was installed by hand is not taken over; nothing was changed:\n  {reasons}",
            wanted.refusals[0].next_command,
        )
    server.warn("what was installed by hand is taken over")
    server.warn(plan_text(server.paths, wanted))
    for earlier in read(server.paths):
        if earlier.state in GAVE_BACK and earlier.masked:
            undo.unmask(server, earlier)
            save(server, replace(earlier, masked=()))
    pending = transaction.current(server.paths)
    began = replace(
        wanted.adoption,
        transaction=pending.began_at if pending else "",
        dpkg_run=dpkg_run(server.paths.proc),
    )
    adoption = apply.begin(server, wanted.survey, began)
    return _carry_out(server, wanted.survey.inventory, adoption)


def _carry_out(server: Server, inventory: Inventory, adoption: Adoption) -> Adoption:
    with given_back_on_failure(server, inventory):
        adoption = apply.carry_out(server, inventory, adoption)
    counted = "; ".join(f"{step.target}: {step.note}" for step in adoption.of(Kind.DATABASE))
    names = ", ".join(adoption.components)
    history.record(server, "adopted", adoption.release, f"{names}; {counted or 'no database'}")
    return adoption


@contextlib.contextmanager
def given_back_on_failure(server: Server, inventory: Inventory) -> Iterator[None]:
    """Give back what is taken over and not accepted if something fails, whatever it is.

    A full disk is one, and an administrator who presses Ctrl-C: no service may be left stopped.
    Raises AdoptionError for a failure of which there is something to say.
    """
    try:
        yield
    except BaseException as error:
        last = current(server.paths)
        if last is None or last.state not in (*UNDER_WAY, State.ADOPTED):
            raise
        why = error.message if isinstance(error, TradingError) else str(error) or repr(error)
        _give_back(server, inventory, why)
        if not isinstance(error, (TradingError, OSError)):
            raise
        next_command = getattr(error, "next_command", "") or "tradingctl adopt --dry-run"
        raise AdoptionError(
            f"{why}; what was installed by hand is in service again", next_command
        ) from error


def _give_back(
    server: Server, inventory: Inventory, why: str, check: str = "", start: bool = True
) -> GivenBack:
    last = current(server.paths)
    if last is None:
        return GivenBack(())
    last = save(server, replace(last, check=check, detail=why))
    try:
        given = undo.give_back(server, inventory, last, State.REVERSING, start)
    except (TradingError, OSError) as error:
        said = getattr(error, "message", str(error))
        undo_again = "tradingctl adopt --undo"
        first = getattr(error, "next_command", "")
        history.record(server, "adoption-stuck", last.release, said)
        raise AdoptionError(
            f"{why}; and what was installed by hand could not be put back: {said}",
            f"{first}  # then: {undo_again}" if first else undo_again,
        ) from error
    detail = "; ".join([why, *(f"{name} does not run" for name in given.failed)])
    history.record(server, "adoption-reversed", last.release, detail, check)
    _say_failed(server, given)
    return given


def forced(server: Server, component: Component) -> set[str]:
    """Leave disabled what was; return the names of units to be started although they are.

    Only until the release is accepted: afterwards what the administrator says counts.
    """
    for unit in _not_enabled(server, component):
        server.runner.run(["systemctl", "disable", unit.name])
        server.warn(f"note: {unit.name} was not enabled before and is not now")
    return ran_disabled(server, component)


def ran_disabled(server: Server, component: Component) -> set[str]:
    """Return the disabled units that ran by hand and are to run as packaged, until accepted."""
    names = {service(unit.name): unit.name for unit in component.units}
    return {names[unit.name] for unit in _not_enabled(server, component) if unit.active}


def _not_enabled(server: Server, component: Component) -> list[OldUnit]:
    last = current(server.paths)
    if last is None or last.state is not State.ADOPTED or component.name not in last.components:
        return []
    names = {service(unit.name) for unit in component.units}
    return [unit for unit in last.units if unit.name in names and not unit.enabled]


def accepted(server: Server) -> None:
    """Note that the release that took over is in service; raises AdoptionError, OSError."""
    last = current(server.paths)
    if last and last.state is State.ADOPTED:
        set_state(server, last, State.KEPT)
        apply.release(server, last)
        server.warn(
            "what was installed by hand is in /opt/trading/adopted, its data taken over; to go back"
            " to it, with the data written since: tradingctl adopt --undo"
        )


def failed(server: Server, inventory: Inventory, why: str, check: str) -> bool:
    """Give back what the release took over that is not accepted; whether there was something."""
    last = current(server.paths)
    if last is None or last.state not in (*UNDER_WAY, State.ADOPTED):
        return False
    given = _give_back(server, inventory, why, check)
    server.warn("\nwhat was installed by hand is in service again:")
    for line in given.lines:
        server.warn(f"  {line}")
    return True


def _say_failed(server: Server, given: GivenBack) -> None:
    for name in given.failed:
        server.warn(f"WARNING: {name} does not run; next: journalctl -u {name} -n 50")


def given_back_by(server: Server, pending: Transaction) -> bool:
    """Return whether an installation gave back what it had taken over."""
    last = current(server.paths)
    return last is not None and last.state in GAVE_BACK and last.transaction == pending.began_at


def resume(server: Server, forward: bool = False) -> bool:
    """Bring to an end what was cut short, and say whether there was something.

    An adoption is gone on with if ``forward``, else reversed. Raises AdoptionError.
    """
    last = current(server.paths)
    if last is None or last.state not in UNDER_WAY:
        return False
    inventory = read_inventory(server.paths)
    server.warn(f"what was cut short is gone on with: {last.state}")
    if last.state is State.ADOPTING and forward:
        _carry_out(server, inventory, last)
    elif last.state is State.UNDOING:
        given = undo.give_back(server, inventory, last, State.UNDOING)
        history.record(server, "adoption-undone", last.release, "finished")
        _say_failed(server, given)
    else:
        why = last.detail or "the adoption was cut short"
        _give_back(server, inventory, why, last.check)
    return True


def at_boot(server: Server, unverified: bool) -> bool:
    """Put back, before services start, what was cut short; ``unverified`` also what was not.

    Nothing is waited for: systemd starts the services next.
    """
    last = current(server.paths)
    states: Collection[State] = (*UNDER_WAY, *([State.ADOPTED] if unverified else []))
    if last is None or last.state not in states:
        return False
    inventory = read_inventory(server.paths)
    if last.state is State.UNDOING:
        undo.give_back(server, inventory, last, State.UNDOING, start=False)
    else:
        why = last.detail or "the installation was cut short"
        _give_back(server, inventory, why, last.check, start=False)
    return True


def undoable(server: Server) -> list[Adoption]:
    """Return what is to be given back: what was cut short, then what is in force, latest first."""
    known = list(reversed(read(server.paths)))
    cut_short = [each for each in known if each.state in UNDER_WAY]
    return cut_short + [each for each in known if each.state in IN_FORCE]


def left_aside(server: Server, name: str) -> str:
    """Return what to know when a component is removed that was taken over, empty if it was not."""
    try:
        known = undoable(server)
    except AdoptionError as error:
        return error.message  # a removal succeeds nevertheless
    for each in known:
        if name in each.components:
            return (
                f"what was installed by hand of {name} stays in /opt/trading/adopted, and nothing"
                f" of it is started; to go back to it: apt-get install {name} && tradingctl adopt"
                " --undo"
            )
    return ""


def adoption_notes(server: Server) -> list[str]:
    """Return a sentence about each adoption that is not simply in force; raises AdoptionError."""
    notes = []
    for each in read(server.paths):
        names = ", ".join(each.components)
        if each.state in UNDER_WAY:
            notes.append(
                f"taking over or giving back what was installed by hand ({names}) was cut short"
                f" ({each.state}); next: tradingctl adopt; to put it back: tradingctl adopt --undo"
            )
        elif each.state is State.ADOPTED:
            notes.append(
                f"what was installed by hand ({names}) is taken over, and the packaged services are"
                " not verified yet; next: tradingctl adopt"
            )
    back = sorted(_given_back(server))
    if back:
        notes.append(
            f"of {', '.join(back)} what was installed by hand is in service; to take it over:"
            " tradingctl adopt"
        )
    if found := not_backed_up(server):
        notes.append(found)
    return notes


def _given_back(server: Server) -> dict[str, Adoption]:
    """Return the components whose services are those installed by hand again, with the record."""
    components = {name: each for each in read(server.paths) for name in each.components}
    back = {name: each for name, each in components.items() if each.state in GAVE_BACK}
    if not back:
        return {}
    # Of a package that was removed since nobody knows the units; what it took over is in service.
    installed = {each.name: each for each in read_inventory(server.paths).components}
    return {
        name: each
        for name, each in back.items()
        if name not in installed or by_hand(server, installed[name])
    }


def databases_by_hand(server: Server) -> dict[str, list[str]]:
    """Return the databases that services installed by hand use again, by component."""
    return {
        name: [step.source for step in each.of(Kind.DATABASE) if step.component == name]
        for name, each in _given_back(server).items()
    }


def not_backed_up(server: Server) -> str:
    """Return a sentence about databases in use that no backup has; empty for none.

    They are where they were by hand, and what is declared, and backed up, is in the state of the
    packages. Raises AdoptionError.
    """
    files = sorted(file for each in databases_by_hand(server).values() for file in each)
    if not files:
        return ""
    return (
        f"NOT BACKED UP, because what was installed by hand uses them again: {', '.join(files)};"
        f" next: sqlite3 {files[0]} \"VACUUM INTO 'COPY'\", or tradingctl adopt"
    )
