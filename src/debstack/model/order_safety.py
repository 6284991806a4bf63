"""No release makes a worker send orders: that is for the administrator of each server to write."""

from __future__ import annotations

import re

from debstack.model.findings import Findings

VARIABLE = "AT_WORKER_MODE"
SAFE = "plan-only"
_ASSIGNMENT = re.compile(rf"^\s*(?:export\s+)?{VARIABLE}\s*=\s*(.*?)\s*$", re.MULTILINE)


def assigns_mode(text: str) -> bool:
    """Whether a file of settings says which mode the worker has."""
    return _ASSIGNMENT.search(text) is not None


def demand_plan_only(text: str, key: str, found: Findings) -> None:
    """Report every assignment in ``text`` that would let the worker send orders."""
    for value in _ASSIGNMENT.findall(text):
        found.require(
            value.strip("\"'") == SAFE,
            key,
            f"{VARIABLE}={value} would let the worker send orders on every server",
            f"{SAFE}; an administrator who wants it writes it to /etc/trading/secrets",
        )
