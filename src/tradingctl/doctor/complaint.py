"""One thing that is wrong with the secrets of this server."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad it is: others know the secret, may come to know it, or it could be kept better."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


@dataclass(frozen=True)
class Complaint:
    """What is wrong, in which file (or process) and about which key, why, and the remedy.

    Never holds a value. ``key`` is empty where it is about the file as a whole.
    """

    severity: Severity
    what: str
    where: str
    key: str
    why: str
    fix: str
