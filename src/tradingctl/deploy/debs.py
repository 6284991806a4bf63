"""What a .deb says of itself, asked of dpkg-deb."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from tradingctl.description import DescriptionError, Stack, parse_stack
from tradingctl.errors import ProgramFailedError, TradingError
from tradingctl.process import Runner

FIELDS = ("Package", "Version", "Architecture", "Installed-Size")


@dataclass(frozen=True)
class Deb:
    """A package file; ``installed_size`` is in bytes, as its control file estimates it."""

    path: Path
    package: str
    version: str
    architecture: str
    installed_size: int

    @property
    def name(self) -> str:
        """The file name by which the release store keeps it, the one of the archive's pool."""
        version = self.version.partition(":")[2] or self.version
        return f"{self.package}_{version}_{self.architecture}.deb"


def read_deb(runner: Runner, path: Path) -> Deb:
    """Return what the package file says. Raises ProgramFailedError when it is no package."""
    outcome = runner.run(["dpkg-deb", "--field", str(path), *FIELDS])
    fields = dict(line.split(": ", 1) for line in outcome.output.splitlines() if ": " in line)
    if outcome.code != 0 or not {"Package", "Version", "Architecture"} <= fields.keys():
        raise ProgramFailedError(f"{path} is not a package: {outcome.said}", f"dpkg-deb -I {path}")
    return Deb(
        path,
        fields["Package"],
        fields["Version"],
        fields["Architecture"],
        int(fields.get("Installed-Size", "0")) * 1024,
    )


def stack_of(runner: Runner, deb: Deb) -> Stack:
    """Return the release that a package of the stack is. Raises TradingError."""
    with tempfile.TemporaryDirectory(prefix="tradingctl-") as folder:
        outcome = runner.run(["dpkg-deb", "--extract", str(deb.path), folder])
        description = Path(folder) / "usr/share/trading/stack.json"
        if outcome.code != 0 or not description.is_file():
            raise ProgramFailedError(
                f"{deb.path} holds no release: {outcome.said}", f"dpkg-deb -c {deb.path}"
            )
        try:
            return parse_stack(description.read_text(encoding="utf-8"), str(deb.path))
        except DescriptionError as error:
            raise TradingError(f"bad description: {error}", f"dpkg-deb -c {deb.path}") from error
