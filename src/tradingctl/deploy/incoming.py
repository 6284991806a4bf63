"""Before an installation changes anything: may it happen, can it be undone, what comes in.

Called with the whole transaction by apt (``DPkg::Pre-Install-Pkgs``, apt.conf(5)), and by the
preinst of each package for what dpkg does without apt.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tradingctl.backup.snapshot import take
from tradingctl.backup.unfinished import refuse_unfinished
from tradingctl.deploy import store, transaction
from tradingctl.deploy.admission import Arrival, require_signed
from tradingctl.deploy.debs import Deb, read_deb, stack_of
from tradingctl.deploy.history import record
from tradingctl.deploy.rollback import is_rollback
from tradingctl.deploy.space import require_space
from tradingctl.deploy.transaction import APT, DPKG, UNFINISHED, State, new_transaction, untouched
from tradingctl.errors import NothingInstalledError, TradingError, VetoError
from tradingctl.generations import Generations
from tradingctl.inventory import STACK, package_states, read_inventory
from tradingctl.market.window import require_open
from tradingctl.server import Server

REMOVE = "**REMOVE**"


@dataclass(frozen=True)
class Item:
    """One line of apt's transaction: a package, and the file to unpack or a word for what else."""

    package: str
    version: str
    action: str

    @property
    def file(self) -> Path | None:
        """The package file to be unpacked, None when none is."""
        return Path(self.action) if self.action.startswith("/") else None


def parse_items(text: str) -> list[Item]:
    """Return what apt says on standard input in version 3 of its protocol; raises VetoError."""
    head, _, rest = text.partition("\n\n")
    if head.partition("\n")[0] != "VERSION 3":
        raise VetoError(
            f"apt speaks {head.splitlines()[0] if head else 'nothing'!r} and not version 3 of"
            " its protocol; see DPkg::Tools::Options in /etc/apt/apt.conf.d/80traderunner",
            "apt-config dump DPkg::Tools::Options",
        )
    items = []
    for line in rest.splitlines():
        # Package, then version, architecture and kind of the old and of the new one around the
        # direction; the file may hold blanks.
        fields = line.split(" ", 8)
        if len(fields) == 9:
            items.append(Item(fields[0], fields[5], fields[8]))
    return items


def before_apt(server: Server, items: Sequence[Item]) -> None:
    """Open a transaction if the items concern the stack, or veto it.

    Raises VetoError, UntrustedError, WindowError, NoSpaceError, BackupError, RestoreError,
    StoreError, OSError; nothing is changed then.
    """
    stack, ours = _installed(server)
    files = {item.package: item.file for item in items if item.file}
    _require_signed(server, items, stack or STACK, ours)
    if any(item.package == stack and item.action == REMOVE for item in items):
        if apart := sorted(ours & files.keys()):
            raise VetoError(
                f"this would remove {stack}, which holds the release together, and change"
                f" {', '.join(apart)}; nothing was changed",
                "tradingctl upgrade --dry-run",
            )
        _is_open(server, {})
        return
    _begin(server, APT, files, {})


def _require_signed(
    server: Server, items: Sequence[Item], stack: str, ours: Collection[str]
) -> None:
    arrivals = [Arrival(each.package, each.version, each.file) for each in items if each.file]
    try:
        require_signed(server, arrivals, stack, ours)
    except TradingError as error:
        coming = {each.package: each.version for each in arrivals if each.package in ours}
        record(server, "vetoed", "", error.message, versions=coming)
        raise


def before_unpack(server: Server, package: str, version: str) -> None:
    """Note that dpkg is about to unpack a package; opens a transaction unless apt has done it.

    Raises as ``before_apt`` does.
    """
    if is_rollback(server):
        return
    pending = transaction.current(server.paths)
    if pending and pending.state in UNFINISHED:
        incoming = {**pending.incoming, package: version}
        if pending.state is not State.ROLLING_BACK and incoming != pending.incoming:
            again = replace(pending, state=State.OPEN, incoming=incoming)
            transaction.save(server.paths, again)
        return
    files = {deb.package: deb.path for deb in _debs_of_dpkg(server)}
    _begin(server, DPKG, files, {package: version})


def _begin(
    server: Server, origin: str, files: Mapping[str, Path], incoming: Mapping[str, str]
) -> None:
    """Open a transaction for those of the files that are ours, and for what else is incoming.

    Also where the stack was removed and its components run on. Not for a component that is
    installed where there never was a release: there is nothing to go back to, and no gate.
    """
    stack, ours = _installed(server)
    runs = bool(stack) or (bool(ours) and _activated(server))
    coming = stack or STACK
    described = None
    if coming in files:
        described = stack_of(server.runner, read_deb(server.runner, files[coming]))
        ours |= {described.package, *described.packages}
    debs = [read_deb(server.runner, path) for name, path in files.items() if name in ours]
    incoming = {**incoming, **{deb.package: deb.version for deb in debs}}
    if not incoming or not (stack or described or (runs and store.kept_releases(server.paths))):
        return
    release = described.release if described else ""
    states = package_states(server.runner, sorted({*ours, *incoming}))
    before = {
        name: states[name].version if name in states and states[name].unpacked else ""
        for name in sorted({*ours, *incoming})
    }
    try:
        if _is_open(server, incoming):
            return
        _require(server, release, debs, upgrade=runs)
    except TradingError as error:
        record(server, "vetoed", release, error.message, versions=incoming)
        raise
    store.keep_incoming(server.paths, {deb.name: deb.path for deb in debs})
    begun = new_transaction(server, origin, release, before, incoming)
    transaction.begin(server, replace(begun, without_stack=runs and not stack))
    record(server, "install", release, versions=incoming)


def _activated(server: Server) -> bool:
    """Return whether a component is in service: not so in a first installation that was cut short.

    It may be that not even the services' account exists then.
    """
    folders = server.paths.generations("x").parent.glob("*")
    return any(Generations(server.paths, each.name).active for each in folders)


def _require(server: Server, release: str, debs: Sequence[Deb], upgrade: bool) -> None:
    refuse_unfinished(server.paths)
    if upgrade:
        require_open(server)
    require_space(server.paths, debs)
    if upgrade:
        take(server, store.declared(server), "upgrade", release)
        require_space(server.paths, debs)  # also beside the backup


def _is_open(server: Server, incoming: Mapping[str, str]) -> bool:
    """Return whether the transaction is open already: unattended-upgrades calls every hook twice.

    One that has changed nothing gives way. Raises VetoError for one that is yet to be recovered.
    """
    pending = transaction.current(server.paths)
    if pending is None or pending.state not in UNFINISHED:
        return False
    states = package_states(server.runner, sorted({*pending.before, *pending.incoming}))
    if pending.state is State.OPEN and untouched(pending, states):
        return pending.incoming == incoming
    raise VetoError(
        f"an earlier installation, of release {pending.release or '?'}, was cut short and is"
        " not recovered yet; nothing was changed",
        "tradingctl recover",
    )


def _installed(server: Server) -> tuple[str, set[str]]:
    """Return the installed package of the stack, empty if none is, and the names of all of ours.

    Without a component there are none.
    """
    try:
        inventory = read_inventory(server.paths)
    except NothingInstalledError:
        return "", set()
    except TradingError:
        # Descriptions that cannot be read are an obstacle to what is ours, not to all of apt.
        names = {file.stem for file in server.paths.components.glob("*.json")}
        return STACK, {STACK, *names}
    names = {component.package for component in inventory.components}
    if inventory.stack is None:
        # Removed on purpose; what came with it is still there.
        last = store.kept_releases(server.paths)[:1]
        return "", names.union(*(kept.packages for kept in last))
    return inventory.stack.package, {*names, *inventory.stack.packages, inventory.stack.package}


def _debs_of_dpkg(server: Server) -> list[Deb]:
    """Return the package files that the dpkg above this program was called with."""
    proc = server.paths.proc
    folder = proc / "self"
    while True:
        try:
            parent = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1]
            folder = proc / parent
            name = (folder / "comm").read_text(encoding="utf-8").strip()
            if name == "dpkg":
                words = (folder / "cmdline").read_bytes().split(b"\0")
                return list(_readable(server, (folder / "cwd").readlink(), words))
        except (OSError, IndexError):
            return []


def _readable(server: Server, start: Path, words: Iterable[bytes]) -> Iterable[Deb]:
    for word in words:
        path = start / word.decode("utf-8", "surrogateescape")
        if path.suffix == ".deb" and path.is_file():
            yield read_deb(server.runner, path)
