"""The gate of a release: start the stack, verify it, record it as good or say what is wrong.

Run by the postinst of traderunner-stack, the one package that may fail for a service. Speaks on
standard error alone, for debconf may own standard output.
"""

from __future__ import annotations

import shlex
from datetime import UTC, datetime

from tradingctl import systemd
from tradingctl.errors import TradingError
from tradingctl.inventory import Inventory, service
from tradingctl.lastgood import LastGood, read_last_good, write_last_good
from tradingctl.report import finding_lines, verification_text
from tradingctl.server import Server
from tradingctl.verdict import Result, UnitVerdict, Verification
from tradingctl.verify import skip_reason, verify

JOURNAL_LINES = 20


def gate(server: Server, inventory: Inventory) -> int:
    """Return 0 when the release is good or cannot be verified here, 1 when it failed.

    Raises TradingError when the descriptions, systemd or dpkg are of no use.
    """
    if reason := _override(server):
        command = ["logger", "-t", "tradingctl", "-p", "user.warning"]
        server.runner.run([*command, f"release {inventory.release} not verified: {reason}"])
        server.warn(f"WARNING: release {inventory.release} is not verified")
        return _skipped(server, reason)
    units = [unit for _, unit in inventory.units()]
    if reason := skip_reason(server, units):
        return _skipped(server, reason)
    systemd.start(server, units)
    found = verify(server, inventory)
    if found.reason:
        return _skipped(server, found.reason)
    # Plain, for apt gives dpkg a terminal of its own and the text ends up in logs.
    server.warn(verification_text(found))
    if found.result is Result.SKIPPED:
        return _skipped(server, "the administrator put every service aside")
    if found.result is Result.FAILED:
        _explain(server, inventory, found)
        return 1
    write_last_good(server.paths, _record(inventory, found))
    return 0


def _override(server: Server) -> str:
    if server.environ.get("TRADING_SKIP_VERIFY") == "1":
        return "TRADING_SKIP_VERIFY=1 is set"
    if server.paths.skip_verify.exists():
        return f"{server.paths.skip_verify} exists"
    return ""


def _skipped(server: Server, reason: str) -> int:
    server.warn(f"SKIPPED: {reason}; run 'tradingctl verify' when the services run")
    return 0


def _record(inventory: Inventory, found: Verification) -> LastGood:
    stack = inventory.stack
    packages = {component.package: component.version for component in inventory.components}
    return LastGood(
        release=inventory.release,
        version=stack.version if stack else inventory.release,
        packages={**packages, **(stack.packages if stack else {})},
        verified_at=datetime.now(UTC).isoformat(timespec="seconds"),
        units={unit.unit: unit.result.value for unit in found.units},
    )


def _explain(server: Server, inventory: Inventory, found: Verification) -> None:
    failed = [unit for unit in found.units if unit.result is Result.FAILED]
    for unit in failed:
        server.warn(f"\n{service(unit.unit)} FAILED")
        for finding in unit.findings:
            server.warn("\n".join(finding_lines(finding)))
        server.warn(f"         the last {JOURNAL_LINES} lines of its journal")
        server.warn("\n".join(f"           {line}" for line in _journal(server, unit)))
    server.warn(f"\nnext: {_next(server, inventory, failed[0])}")
    server.warn("to verify again: dpkg --configure -a")


def _journal(server: Server, unit: UnitVerdict) -> list[str]:
    """Return the end of the unit's journal, of this start of it when that says anything."""
    form = ["-n", str(JOURNAL_LINES), "--no-pager", "-o", "short-iso", "-q"]
    named = ["-u", service(unit.unit)]
    # What the service says bears the first field, what systemd says of it the second.
    this = [f"_SYSTEMD_INVOCATION_ID={unit.invocation}", "+", f"INVOCATION_ID={unit.invocation}"]
    for match in ([this] if unit.invocation else []) + [named]:
        outcome = server.runner.run(["journalctl", *form, *match], timeout=10.0)
        lines = outcome.output.splitlines()[-JOURNAL_LINES:]
        if outcome.code == 0 and lines:
            return lines
    return [f"none: {outcome.said}"]


def _next(server: Server, inventory: Inventory, unit: UnitVerdict) -> str:
    """Return the one command to type: back to the release verified last, else look."""
    try:
        record = read_last_good(server.paths)
    except TradingError as error:
        server.warn(f"warning: {error.message}")
        record = None
    if record is None or record.release == inventory.release:
        return f"journalctl -u {service(unit.unit)} -n 100"
    packages = dict(record.packages)
    if inventory.stack:
        packages.setdefault(inventory.stack.package, record.version)
    # Each with its version: of the stack alone apt would not take the dependencies back.
    pinned = [f"{package}={version}" for package, version in sorted(packages.items())]
    return shlex.join(["apt-get", "install", "--allow-downgrades", *pinned])
