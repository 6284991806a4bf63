"""Which of the packages that apt is about to unpack are ours, and that each is what it claims.

An archive that is validly signed proves who publishes, not who builds: a package of ours must also
carry the package key's signature, and be the version that apt takes it for, since whoever can write
an index could offer an old release by a new number. What the administrator gives to ``dpkg -i`` is
not asked about: dpkg calls nothing of ours before it runs what is in the package.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tradingctl.deploy.debs import read_deb, stack_of
from tradingctl.deploy.offer import offered
from tradingctl.deploy.signature import KEYRING, PackageKeys, installed_keys, keys_in, signer
from tradingctl.errors import UntrustedError
from tradingctl.server import Server

OPTIONAL = ("trading-ibgateway",)
"""Packages of ours that no release depends on."""

_KEYS_IN_PACKAGE = "usr/share/debsig/keyrings"


@dataclass(frozen=True)
class Arrival:
    """A package that is about to be unpacked: what apt takes the file for."""

    package: str
    version: str
    path: Path


def require_signed(
    server: Server, arrivals: Sequence[Arrival], stack: str, ours: Collection[str]
) -> None:
    """Raise UntrustedError unless all packages of ours are signed and are what apt says.

    Ours are those named in ``ours``, the package of the ``stack`` and those that its incoming
    version names, the keyring, and all that our archive offers. Raises TradingError, OSError.
    """
    wanted = _wanted(server, arrivals, {*ours, stack, KEYRING, *OPTIONAL})
    if not wanted:
        return
    with _trusted(server, wanted) as keys:
        for arrival in wanted:
            if arrival.package != KEYRING:  # it was the first that had to prove itself
                _require(server, arrival, keys)
        # What the release names can be asked only when it is known to be one of ours.
        releases = [each.path for each in wanted if each.package == stack]
        for path in releases:
            named = stack_of(server.runner, read_deb(server.runner, path)).packages
            for arrival in arrivals:
                if arrival.package in named and arrival not in wanted:
                    _require(server, arrival, keys)


def _wanted(server: Server, arrivals: Sequence[Arrival], names: Collection[str]) -> list[Arrival]:
    if not arrivals:
        return []
    found = [each for each in arrivals if each.package in names]
    if others := [each for each in arrivals if each.package not in names]:
        offer = offered(server)
        found += [each for each in others if (each.package, each.version) in offer]
    return found


@contextmanager
def _trusted(server: Server, wanted: Sequence[Arrival]) -> Iterator[PackageKeys]:
    """Give the keys that packages may be signed by: the installed ones, and those that come.

    A keyring package that is signed itself introduces the next key, so that one upgrade can bring
    it together with the first packages that it has signed.
    """
    keys = installed_keys(server.paths)
    coming = [each for each in wanted if each.package == KEYRING]
    if not keys.files:
        if len(coming) < len(wanted):
            raise UntrustedError(
                f"{KEYRING} is not installed: nobody knows who may sign"
                f" {next(each.package for each in wanted if each.package != KEYRING)};"
                " nothing was changed",
                f"apt-get install {KEYRING}  # and compare the archive's fingerprint",
            )
        coming = []
    with tempfile.TemporaryDirectory(prefix="tradingctl-") as folder:
        for arrival in coming:
            _require(server, arrival, keys)
            server.runner.run(["dpkg-deb", "--extract", str(arrival.path), folder])
        brought = keys_in(sorted(Path(folder, _KEYS_IN_PACKAGE).glob("*/traderunner.pgp")))
        both = keys.fingerprints | brought.fingerprints
        yield PackageKeys((*keys.files, *brought.files), both)


def _require(server: Server, arrival: Arrival, keys: PackageKeys) -> None:
    try:
        signer(server.runner, arrival.path, keys)
    except UntrustedError as error:
        raise UntrustedError(
            f"{arrival.package} {arrival.version} is refused: {error.message}; nothing was changed",
            error.next_command or _next(arrival),
        ) from error
    deb = read_deb(server.runner, arrival.path)
    if (deb.package, deb.version) != (arrival.package, arrival.version):
        raise UntrustedError(
            f"{arrival.package} {arrival.version} is refused: {arrival.path} is"
            f" {deb.package} {deb.version}, signed for that; nothing was changed",
            _next(arrival),
        )


def _next(arrival: Arrival) -> str:
    if arrival.package == KEYRING:
        return f"apt-cache madison {KEYRING}  # an earlier version may introduce the new key"
    return f"apt-get install {KEYRING}  # and see apt-cache policy {arrival.package}"
