"""Everything that is wrong with the secrets of this server, the worst first."""

from __future__ import annotations

from collections.abc import Sequence

from tradingctl.account import find_account
from tradingctl.doctor.complaint import Complaint, Severity
from tradingctl.doctor.exposure import exposure_complaints
from tradingctl.doctor.holdings import holdings, values_looked_for
from tradingctl.doctor.machine import environment_complaints, undeclared_complaints
from tradingctl.doctor.rights import rights_complaints
from tradingctl.doctor.values import value_complaints
from tradingctl.inventory import Inventory
from tradingctl.server import Server


def diagnosis(server: Server, inventory: Inventory) -> list[Complaint]:
    """Return what is wrong. Raises NoAccountError, and OSError for what root cannot read either."""
    held = holdings(server, inventory)
    found = [
        *value_complaints(server, inventory, held),
        *undeclared_complaints(server, inventory, held),
        *rights_complaints(server, find_account(server.paths)),
        *exposure_complaints(server, inventory, values_looked_for(held)),
        *environment_complaints(server, inventory),
    ]
    rank = list(Severity)
    return sorted(dict.fromkeys(found), key=lambda each: (rank.index(each.severity), each.where))


def diagnosis_text(found: Sequence[Complaint]) -> str:
    """Return the complaints for people, and how many there are."""
    lines = []
    for each in found:
        place = f"{each.where}: {each.key}" if each.key else each.where
        lines += [
            f"{each.severity.upper():<7} {each.what}: {place}",
            f"        why   {each.why}",
            f"        fix   {each.fix}",
        ]
    counts = [
        f"{count} {severity}"
        for severity in Severity
        if (count := sum(each.severity is severity for each in found))
    ]
    return "\n".join([*lines, f"found: {', '.join(counts)}" if counts else "nothing found"])
