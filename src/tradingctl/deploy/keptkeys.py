"""The signatures of kept releases: who signed each package, and the keys to verify it by later.

The keys of today need not be those of a release that is gone back to, so its own stay with it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from tradingctl.deploy.signature import installed_keys, keys_in, signer
from tradingctl.errors import RollbackError, UntrustedError
from tradingctl.files import sync_directory, sync_file, write_whole
from tradingctl.server import Server

SIGNERS = "signers.json"
KEYS = "keys"


def keep_signers(server: Server, folder: Path, files: dict[str, str]) -> None:
    """Write down who signed the packages in ``folder``, by name and file, with their keys.

    One that is not signed, which only ``dpkg -i`` can have brought, is noted without a signer.
    Raises UntrustedError when the installed keys cannot be read, OSError.
    """
    keys = installed_keys(server.paths)
    if not keys.files:
        return
    (folder / KEYS).mkdir()
    for file in keys.files:
        copy = folder / KEYS / f"{file.parent.name}.pgp"
        shutil.copy(file, copy)
        sync_file(copy)
    sync_directory(folder / KEYS)
    signers = {}
    for package, name in files.items():
        try:
            signers[package] = signer(server.runner, folder / name, keys)
        except UntrustedError as error:
            server.warn(f"warning: {error.message}")
            signers[package] = ""
    write_whole(folder / SIGNERS, json.dumps(signers, indent=2) + "\n", 0o600)


def require_kept(server: Server, folder: Path, files: Sequence[tuple[str, str]]) -> None:
    """Raise RollbackError unless each package is signed as it was when its release was verified.

    ``files`` are packages of the release in ``folder`` with their files. Without any key, or for
    a package that was not signed then, the checksums have to do.
    """
    keys = keys_in([*installed_keys(server.paths).files, *sorted(folder.glob(f"{KEYS}/*.pgp"))])
    if not keys.files:
        return
    signers = _signers(folder)
    for package, name in files:
        if signers.get(package) == "":
            server.warn(f"warning: {package} was not signed when its release was verified")
            continue
        try:
            signer(server.runner, folder / name, keys)
        except UntrustedError as error:
            raise RollbackError(
                f"release {folder.name} cannot be installed again: {error.message}",
                f"tradingctl rollback --dry-run; if you know better: dpkg -i {folder}/*.deb",
            ) from error


def _signers(folder: Path) -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads((folder / SIGNERS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise RollbackError(
            f"{folder / SIGNERS} cannot be read: {error}", f"dpkg -i {folder}/*.deb"
        ) from error
    return found
