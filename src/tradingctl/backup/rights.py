"""Working on the services' directories with the services' own rights."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from tradingctl.account import Account


@contextmanager
def rights_of(account: Account) -> Iterator[None]:
    """Give up root's rights for those of ``account``; without root nothing changes.

    The services could lay a link in root's way; with their rights it leads nowhere that they could
    not go themselves, and what SQLite makes beside a database belongs to them. It holds for the
    whole process: no other thread may be at work.
    """
    if os.geteuid() != 0 or account.uid == 0:
        yield
        return
    groups, group = os.getgroups(), os.getegid()
    try:
        os.setgroups([account.gid])
        os.setegid(account.gid)
        os.seteuid(account.uid)
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)
