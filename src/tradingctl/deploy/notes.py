"""What there is to know of releases at a glance: one that is stuck, those kept away."""

from __future__ import annotations

from tradingctl.adopt.installation import adoption_notes
from tradingctl.deploy import transaction
from tradingctl.deploy.blocks import blocks
from tradingctl.deploy.transaction import State
from tradingctl.deploy.wayout import named, way_out
from tradingctl.errors import TradingError
from tradingctl.server import Server


def deploy_notes(server: Server) -> list[str]:
    """Return a sentence for each; what cannot be read is one as well."""
    notes = []
    try:
        pending = transaction.current(server.paths)
    except TradingError as error:
        pending = None
        notes.append(f"{error.message}; next: {error.next_command}")
    if pending and pending.state is State.STUCK:
        what = f"a rollback from {named(pending)} failed"
        if pending.check:
            what = f"{named(pending)} failed ({pending.check}) and could not be taken back"
        notes.append(f"{what}: {pending.detail}; next: {way_out(server, pending)}")
    elif pending:
        notes.append(
            f"an installation of release {pending.release or '?'} is under way since"
            f" {pending.began_at} ({pending.state})"
        )
    if server.paths.skip_verify.exists():
        path = server.paths.shown(server.paths.skip_verify)
        notes.append(f"{path} exists: no release is verified or taken back; next: rm {path}")
    try:
        notes += adoption_notes(server)
    except TradingError as error:
        notes.append(f"{error.message}; next: {error.next_command}")
    try:
        notes += [f"apt keeps away from {each.version}: {each.reason}" for each in blocks(server)]
    except OSError as error:
        notes.append(str(error))
    return notes
