"""Make the unpacked release of a component the one that runs, and the reverse at removal."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tradingctl import credentials, state, systemd
from tradingctl.account import find_account
from tradingctl.adopt import installation
from tradingctl.deploy import beforehand
from tradingctl.deploy.store import dropped_units
from tradingctl.description import Component, Unit
from tradingctl.generations import Generations
from tradingctl.inventory import read_inventory, service
from tradingctl.market.resting import resting_units
from tradingctl.server import Server


def activate(server: Server, component: Component) -> None:
    """Make the generation of ``component``'s version, point the link at it, start its units.

    Stop, flip and start are one step, so the services are down for no longer than that. A unit
    that does not start is a warning: whether the release is good is decided for the whole stack.
    What was installed by hand is taken over first, or left in service where that is wanted. Raises
    TradingError before anything is touched, OSError when a file cannot be written.
    """
    if reason := installation.take_over(server, component):
        server.warn(f"note: {component.name}: {reason}")
        return
    generations = Generations(server.paths, component.name)
    generations.refuse_hand_made()
    account = find_account(server.paths)
    with generations.locked():
        previous = generations.active
        staged = generations.stage(component.version)
        code = staged or server.paths.generation(component.name, component.version)
        everything = read_inventory(server.paths).components
        # Another one may be in service by hand, or be refused to be taken over.
        if not any(Generations(server.paths, each.name).hand_made for each in everything):
            state.take_places(server.paths)
        state.make_directories(server.paths, component, account)
        credentials.ensure(server, component, account)
        for kept in state.link_tracked(server.paths, component, code, account):
            server.warn(f"note: {kept}")
        running = not systemd.absence(server)
        if running:
            systemd.reload(server)
        forced = installation.forced(server, component) if running else set[str]()
        if staged is None and previous == component.version:
            if running:
                start_units(server, component, forced)
            return
        active = stop_units(server, component) | forced if running else set()
        if running:
            # Of a unit whose file is gone dpkg's scripts know nothing, and its process ran on.
            stop_active(server, dropped_units(server.paths, component))
        try:
            going = runs_on(server, [component]) if running else ""
            if not going:
                if staged:
                    generations.install(staged, component.version)
                generations.flip(component.version)
        finally:
            # Also after a failure: the release that ran until now is still whole.
            if running:
                start_units(server, component, active)
        if going:
            again = f"{way_to_stop(server, going)} && tradingctl activate {component.name}"
            server.warn(
                f"WARNING: {going} did not stop, so {component.name} {component.version} is not in"
                f" service: what runs would have the code of two releases\n  next: {again}"
            )
            return
        code = server.paths.generation(component.name, component.version)
        state.prune_tracked(server.paths, component, code)


def stop_units(server: Server, component: Component) -> set[str]:
    """Stop a component's units, last first; return the disabled ones that ran nevertheless."""
    states = systemd.show(server.runner, [unit.name for unit in component.units])
    ran = {name for name, each in states.items() if each.active in ("active", "activating")}
    for unit in reversed(_in_order(component)):
        if states[unit.name].load not in ("not-found", "masked") or unit.name in ran:
            systemd.stop(server, unit)
    return {name for name in ran if states[name].put_aside}


def runs_on(server: Server, components: Sequence[Component]) -> str:
    """Return the units that run although they were just stopped, for a command; empty for none.

    As where policy-rc.d forbids it: deb-systemd-invoke does nothing then, and calls it success.
    """
    names = [unit.name for component in components for unit in component.units]
    states = systemd.show(server.runner, names)
    return " ".join(
        service(name) for name in names if states[name].active not in ("inactive", "failed")
    )


def way_to_stop(server: Server, names: str) -> str:
    """Return the command after which units can be stopped that did not."""
    policy = server.paths.policy
    if policy.is_file():
        return f"mv {policy} {policy}.off"
    return f"systemctl kill -s KILL {names}"


def stop_active(server: Server, units: Sequence[Unit]) -> None:
    """Stop those of the units that run, last first."""
    states = systemd.show(server.runner, [unit.name for unit in units])
    for unit in sorted(units, key=lambda each: each.order, reverse=True):
        if states[unit.name].active in ("active", "activating"):
            systemd.stop(server, unit)


def start_units(server: Server, component: Component, active: Collection[str] = ()) -> None:
    """Start a component's units in order; ``active`` are disabled ones that are started as well.

    Those that rest until the market opens stay stopped: whoever verifies the release starts them,
    and stops them again. So do those that send orders and were stopped before the installation.
    """
    resting, stopped = resting_units(server), beforehand.stopped(server.paths)
    units = []
    for unit in _in_order(component):
        if unit.name in stopped:
            server.warn(
                f"note: {unit.name} was stopped before and is not started;"
                f" to start it: systemctl start {service(unit.name)}"
            )
        elif unit.name.removesuffix(".service") in resting:
            server.warn(f"note: {unit.name} rests until the market opens, not starting it")
        else:
            units.append(unit)
    systemd.start(server, units, forced=active)


def _in_order(component: Component) -> list[Unit]:
    return sorted(component.units, key=lambda unit: (unit.order, unit.name))


def deactivate(server: Server, name: str, component: Component | None) -> None:
    """Stop the units and remove the link, the generations and the links in the state directories.

    Data, logs and secrets stay. ``component`` is None when its description is gone already, then
    its units are left to systemd. May be repeated. Raises OSError.
    """
    generations = Generations(server.paths, name)
    if component:
        # Those of an installation by hand have the same names.
        if not systemd.absence(server) and not generations.hand_made:
            stop_units(server, component)
        state.prune_tracked(server.paths, component, None)
    else:
        server.warn(f"note: no description of {name} is installed; its units were not stopped")
    if note := installation.left_aside(server, name):
        server.warn(f"note: {note}")
    link = server.paths.link(name)
    if link.exists() and not generations.active:
        server.warn(f"note: {link} is not of the package and stays")
    generations.remove_all()
