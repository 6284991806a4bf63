"""What somebody does who has stolen the repository's key and not the packages'.

His archive is validly signed, offers a release that exists, and has exchanged one of its packages.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.system.project import Project
from tests.unit.tradingctl.deploy.debfile import ar

from debstack import gpg
from debstack.keys import load
from debstack.process import Runner
from debstack.steps.sign import sign

MARKER = "/root/owned"
"""What appears on a server on which a script of a forged package has run."""

Stanza = Mapping[str, str]


def members(deb: Path) -> list[tuple[str, bytes]]:
    """Return name and content of each member of a package file."""
    names = _output("ar", "t", str(deb)).decode().split()
    return [(name, _output("ar", "p", str(deb), name)) for name in names]


def evil_control(package: str, version: str) -> bytes:
    """Return control.tar.gz of a package whose preinst leaves the marker."""
    control = (
        f"Package: {package}\nVersion: {version}\nArchitecture: all\n"
        "Maintainer: Ops <ops@example.org>\nDescription: forged\n"
    )
    files = {"control": (control, 0o644), "preinst": (f"#!/bin/sh\ntouch {MARKER}\n", 0o755)}
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:gz") as tar:
        for name, (text, mode) in files.items():
            entry = tarfile.TarInfo(f"./{name}")
            entry.size, entry.mode = len(text), mode
            tar.addfile(entry, io.BytesIO(text.encode()))
    return written.getvalue()


def repacked(deb: Path) -> list[tuple[str, bytes]]:
    """Return the members of a package with another preinst and the signature of before."""
    package, version = deb.name.split("_")[:2]
    binary, _, data, signature = members(deb)
    return [binary, ("control.tar.gz", evil_control(package, version)), data, signature]


class Forgery:
    """The archive of a project in the hands of somebody who can sign it."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.suite = f"{project.target}-staging"
        self.dist = project.archive / "dists" / self.suite
        self.folder = project.archive / "forged"
        (self.release,) = (self._stanza(each) for each in [project.deb("traderunner-stack")])

    def _stanza(self, deb: Path) -> dict[str, str]:
        text = _output("dpkg-deb", "--field", str(deb)).decode()
        stanza: dict[str, str] = {}
        for line in text.splitlines():
            if not line.startswith(" "):
                name, _, stanza[name] = line.partition(": ")
        return stanza

    @contextlib.contextmanager
    def offering(
        self, files: Mapping[str, bytes], changed: Mapping[str, Stanza] = {},
        more: Mapping[str, Stanza] = {},
    ) -> Iterator[None]:  # fmt: skip
        """Offer the locked release for the duration, with other files for some packages.

        ``changed`` are fields of packages, and ``more`` are packages besides, as the index has
        them.
        """
        honest = self.dist.readlink()
        self.folder.mkdir()
        stanzas: dict[str, Stanza] = {}
        for deb in self.project.debs():
            stanza = self._stanza(deb)
            content = files.get(stanza["Package"]) or deb.read_bytes()
            stanza |= self._put(stanza["Package"], content)
            stanzas[stanza["Package"]] = {**stanza, **changed.get(stanza["Package"], {})}
        for name, fields in more.items():
            stanzas[name] = {"Package": name, **fields, **self._put(name, files[name])}
        self.dist.unlink()
        self._write("\n".join(map(_text, stanzas.values())).encode())
        try:
            yield
        finally:
            shutil.rmtree(self.dist)
            self.dist.symlink_to(honest)
            shutil.rmtree(self.folder)

    def _put(self, package: str, content: bytes) -> dict[str, str]:
        path = self.folder / f"{package}.deb"
        path.write_bytes(content)
        return {
            "Filename": str(path.relative_to(self.project.archive)),
            "Size": str(len(content)),
            "SHA256": hashlib.sha256(content).hexdigest(),
        }

    def _write(self, index: bytes) -> None:
        component = "main/binary-amd64/Packages"
        lines = []
        for name, content in ((component, index), (f"{component}.gz", gzip.compress(index))):
            path = self.dist / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            lines.append(f" {hashlib.sha256(content).hexdigest()} {len(content)} {name}")
        now = datetime.now(UTC)
        form = "%a, %d %b %Y %H:%M:%S UTC"
        release = (
            f"Origin: traderunner\nLabel: traderunner trading stack\nSuite: {self.suite}\n"
            f"Codename: {self.suite}\nDate: {now.strftime(form)}\n"
            f"Valid-Until: {(now + timedelta(days=30)).strftime(form)}\n"
            "Architectures: amd64\nComponents: main\nSHA256:\n" + "\n".join(lines) + "\n"
        )
        runner = Runner()
        stolen = load(self.project.root / "build", {}, runner).repository
        with gpg.signing([stolen], runner) as ring:
            (self.dist / "InRelease").write_bytes(ring.clear(release.encode()))


def unsigned(deb: Path) -> bytes:
    """Return a package without its signature."""
    return ar(*members(deb)[:3])


def signed_by_repository(project: Project, deb: Path, folder: Path) -> bytes:
    """Return a package signed with the key of the repository."""
    runner = Runner()
    signed = folder / deb.name
    sign(deb, signed, load(project.root / "build", {}, runner).repository, runner)
    return signed.read_bytes()


def _text(stanza: Stanza) -> str:
    return "".join(f"{name}: {value}\n" for name, value in stanza.items())


def _output(*command: str) -> bytes:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
