"""``debstack source``: Debian source packages that build farms make the same packages from.

A component is in format "3.0 (quilt)", for its version has a Debian revision: the commit's files,
the wheels and debstack are upstream tarballs, debian/ is ours. The others are "3.0 (native)", one
tarball. debian/ has what a farm reads; the debian/ that debhelper works on is made by debstack,
there as here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from debian.deb822 import Deb822

from debstack.model.uv import uv_lock
from debstack.pipeline import accounting, contents
from debstack.pipeline.assemble import Parts, assemble
from debstack.pipeline.carried import SOURCE, carried, project_folder, wheelhouse_folder
from debstack.pipeline.contents import Release, Workshop
from debstack.pipeline.dependencies import dependencies
from debstack.pipeline.packages import kind_of
from debstack.process import require
from debstack.render import render
from debstack.steps import stage
from debstack.steps.source_package import Member, dsc, tarball, tree, within
from debstack.steps.wheels import cached, collect

_NEEDED = (
    *("python3-build", "python3-click", "python3-debian", "python3-jinja2", "python3-packaging"),
    *("python3-pathspec", "python3-tomli-w", "python3-zstandard"),
)
"""What debstack imports, by the names of Debian's packages."""

_INCOMING = ".incoming-"


@dataclass(frozen=True)
class SourcePackage:
    """A source package that was written: its .dsc, and the size of all its files in bytes."""

    package: str
    version: str
    dsc: Path
    size: int


def discard_unfinished(folder: Path) -> None:
    """Remove what runs that were killed left in ``folder``, which has RELEASE/TARGET folders.

    The caller holds the project's lock: nobody else is at work there.
    """
    for abandoned in folder.glob(f"*/*/{_INCOMING}*/"):
        stage.discard(abandoned)


def source(release: Release, parts: Parts, destination: Path, workshop: Workshop) -> SourcePackage:
    """Write the source package of one package into ``destination``.

    ``parts.tar`` and the wheels are in the cache, proven. Raises BuildError or DependencyError;
    nothing is left then.
    """
    require("dpkg-source")
    destination.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=_INCOMING, dir=destination) as name:
        folder = Path(name)
        debian = _debian(release, parts, folder / "unpacked", workshop)
        files = folder / "files"
        files.mkdir()
        source_format = (debian / "debian/source/format").read_text("utf-8").strip()
        write = _native if source_format.endswith("(native)") else _quilt
        tarballs = write(release, parts, debian, files, workshop)
        described = dsc(debian, tarballs, source_format, workshop.runner)
        size = sum(each.stat().st_size for each in files.iterdir())
        # The .dsc last: whoever finds one finds what it names.
        for file in [*tarballs, described]:
            file.replace(destination / file.name)
    return SourcePackage(parts.package, parts.version, destination / described.name, size)


def _native(
    release: Release, parts: Parts, debian: Path, files: Path, workshop: Workshop
) -> list[Path]:
    top = f"{parts.package}-{parts.version}"
    inside = within(top, [*tree(debian), *carried(release, parts)])
    file = files / f"{parts.package}_{parts.version}.tar.xz"
    return [tarball(file, inside, release.lock.packages[parts.package].timestamp)]


def _quilt(
    release: Release, parts: Parts, debian: Path, files: Path, workshop: Workshop
) -> list[Path]:
    name, version, target = parts.package, parts.version, release.target.name
    upstream = version.rpartition("-")[0]
    epoch = release.lock.packages[name].timestamp
    assert parts.tar is not None  # noqa: S101  (only components have a revision)
    commit = debian / SOURCE
    stage.unpack(parts.tar, commit)
    # In a folder of its own, where nothing that a farm or dpkg-source adds can be taken for a file
    # of the commit, and a debian/ of the repository is one.
    of_commit = within(f"{name}-{upstream}", tree(commit, f"{SOURCE}/"))
    wheels = _wheelhouse(release, name, workshop)
    own, ours = carried(release, parts), tree(debian / "debian", "debian/")
    orig = f"{name}_{upstream}.orig"
    return [
        tarball(files / f"{orig}.tar.xz", of_commit, epoch),
        tarball(files / f"{orig}-{wheelhouse_folder(target)}.tar.gz", wheels, epoch),
        tarball(files / f"{orig}-{project_folder(target)}.tar.xz", own, epoch),
        tarball(files / f"{name}_{version}.debian.tar.xz", ours, epoch),
    ]


def _wheelhouse(release: Release, component: str, workshop: Workshop) -> list[Member]:
    """Return the wheels of a component and uv's, laid out as in the cache."""
    uv = uv_lock(release.target)
    collect(
        uv, workshop.cache, release.target, workshop.runner,
        offline=workshop.offline, vendor=workshop.vendor,
    )  # fmt: skip
    wheels = {each for lock in (uv, *dependencies(release, component)) for each in lock.wheels}
    inside = Path(wheelhouse_folder(release.target.name))
    return [
        Member(cached(inside, each).as_posix(), cached(workshop.cache, each)) for each in wheels
    ]


def _debian(release: Release, parts: Parts, folder: Path, workshop: Workshop) -> Path:
    """Write the debian/ of the source package below ``folder`` and return ``folder``."""
    made, name = folder.parent / "made", parts.package
    kind = kind_of(name, release.definition)
    values: dict[str, object] = {"url": "", "own_licences": (), "licence_texts": ()}
    depends: Sequence[str] = ("dh-python",) if kind == "common" else ()
    if kind == "component":
        assert parts.tar is not None  # noqa: S101  (components are fetched before they are made)
        component = release.definition.component(name)
        credits = accounting.own_credits(accounting.own_licences(parts.tar))
        contents.write_component_debian(release, component, credits, made)
        values |= {**credits, "url": release.lock.components[name].url}
        # dpkg-shlibdeps finds the packages of libraries that are installed.
        depends = (f"python{release.target.python}", *component.depends)
    else:
        assemble(release, parts, made, workshop)
    control = _control(made / "debian/control", [*_NEEDED, *depends])
    values |= {
        "source": name,
        "version": parts.version,
        "quilt": kind == "component",
        "project": project_folder(release.target.name),
        "wheelhouse": wheelhouse_folder(release.target.name),
        "year": release.changelog(name, parts.version, "").values()["year"],
        "architecture": control["Architecture"],
    }
    render("source", values, folder)
    (made / "debian/changelog").rename(folder / "debian/changelog")
    (made / "debian/control").rename(folder / "debian/control")
    return folder


def _control(file: Path, needed: Sequence[str]) -> Mapping[str, str]:
    """Add to what the source package in a control file needs; return its binary package."""
    with file.open(encoding="utf-8") as stream:
        of_source, of_binary = Deb822.iter_paragraphs(stream)
    of_source["Build-Depends"] = ", ".join([of_source["Build-Depends"], *needed])
    file.write_text(f"{of_source.dump()}\n{of_binary.dump()}", encoding="utf-8")
    binary: Mapping[str, str] = of_binary
    return binary
