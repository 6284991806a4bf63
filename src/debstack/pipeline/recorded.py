"""A dependency lock of a project, read and compared with what repos.lock says of it."""

from __future__ import annotations

from pathlib import Path

from debstack.errors import LockError
from debstack.model.places import locks_folder
from debstack.model.requirements import RequirementsLock, parse_requirements


def read_recorded(project: Path, path: str, digest: str | None) -> RequirementsLock:
    """Return the dependency lock at ``path``, below packaging/locks, if it has ``digest``.

    None stands for any. It is compared each time that it is read: a build reads it more than once,
    and another command may write it meanwhile. Raises LockError, DependencyError.
    """
    file = locks_folder(project) / path
    if not file.is_file():
        raise LockError(f"packaging/locks/{path} does not exist", hint="run: debstack lock")
    lock = parse_requirements(file.read_text("utf-8"), f"packaging/locks/{path}")
    if digest not in (None, lock.digest()):
        raise LockError(
            f"packaging/locks/{path}: the dependencies of {lock.component} ({lock.purpose}) are not"
            " those in repos.lock",
            hint="restore the file with git, or run: debstack lock",
            details=[f"in repos.lock: sha256 {digest}",
                     f"in the file:   sha256 {lock.digest()}"],
        )  # fmt: skip
    return lock
