"""Installed distributions, made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

SITE_PACKAGES = "usr/lib/trading/web/.venv/lib/python3.11/site-packages"


def install(
    site_packages: Path,
    name: str,
    version: str,
    headers: str = "",
    files: Mapping[str, bytes] | None = None,
    record: str = "",
) -> Path:
    """Install a distribution with ``files`` (by path, all in RECORD) and return its folder."""
    folder = site_packages / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    metadata = f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{headers}\n"
    (folder / "METADATA").write_text(metadata, encoding="utf-8")
    for path, content in (files or {}).items():
        file = site_packages / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    lines = [f"{path},," for path in (f"{folder.name}/METADATA", f"{folder.name}/RECORD")]
    lines += [f"{path}," + "," for path in files or {}]
    (folder / "RECORD").write_text("\n".join(lines) + f"\n{record}", encoding="utf-8")
    return folder
