"""The systemd sandbox that every packaged unit gets, and that a definition may take exception to.

``@resources`` is deliberately not among the denied system calls: numpy's BLAS sets the affinity of
its threads and is killed without it.
"""

from __future__ import annotations

SANDBOX: dict[str, str] = {
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectControlGroups": "yes",
    "ProtectClock": "yes",
    "ProtectHostname": "yes",
    "ProtectProc": "invisible",
    "ProcSubset": "pid",
    "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
    "LockPersonality": "yes",
    "MemoryDenyWriteExecute": "yes",
    "SystemCallArchitectures": "native",
    # Both lists in one value: they become two lines of the unit, the second subtracts.
    "SystemCallFilter": "@system-service\n~@privileged",
    "SystemCallErrorNumber": "EPERM",
    "CapabilityBoundingSet": "",
    "AmbientCapabilities": "",
    "DevicePolicy": "closed",
    "RemoveIPC": "yes",
    "UMask": "0027",
    "KeyringMode": "private",
}


def directives(exceptions: dict[str, str] | None = None) -> tuple[tuple[str, str], ...]:
    """Return the (directive, value) lines of a unit, ``exceptions`` replacing values by name."""
    values = SANDBOX | (exceptions or {})
    return tuple((name, line) for name, value in values.items() for line in value.split("\n"))
