"""Working on the services' directories: without following links, with the services' own rights."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import PurePosixPath

from tradingctl.account import Account
from tradingctl.errors import BackupError
from tradingctl.paths import Paths
from tradingctl.state import DIRECTORY


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


@contextmanager
def open_state(paths: Paths, relative: PurePosixPath) -> Iterator[int | None]:
    """Give an opened directory below that of all state, None when it does not exist.

    Raises BackupError when a part of the path is a link or a file.
    """
    with ExitStack() as opened:
        path, folder = paths.state, None
        for part in ("", *relative.parts):
            path = path / part if part else path
            try:
                folder = os.open(part or path, DIRECTORY, dir_fd=folder if part else None)
            except FileNotFoundError:
                folder = None
                break
            except OSError as error:
                raise BackupError(
                    f"{path} is not a directory: {error.strerror}",
                    f"ls -ld {path}  # to have it on another disk, use a bind mount, not a link",
                ) from error
            opened.callback(os.close, folder)
        yield folder
