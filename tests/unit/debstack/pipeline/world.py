"""Repositories and an index that exist in memory only, for tests of locking."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from tests.unit.debstack.model import project

from debstack.errors import DependencyError, SourceError
from debstack.model.definition import Definition, Target
from debstack.model.lock import Lock, LockedComponent, read_lock
from debstack.model.places import lock_file
from debstack.model.reading import load
from debstack.model.requirement_inputs import RequirementInputs
from debstack.model.requirements import BuiltFrom, LockedWheel, Sdist
from debstack.pipeline.lock import LockPlan, apply, plan
from debstack.pipeline.pin import Tools
from debstack.steps.fetch import Exported, Wanted
from debstack.trust import Vouched

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
FEED_URL, WEB_URL = "build/feed.git", "git@git.example.org:demo/web.git"
PYPROJECT = (
    '[project]\nname = "feed"\ndependencies = ["idna"]\n[build-system]\nrequires = ["hatchling"]\n'
)


def sha(text: str) -> str:
    """Return a digest that stands for ``text``."""
    return hashlib.sha256(text.encode()).hexdigest()


def wheel(name: str, version: str) -> LockedWheel:
    """Return a wheel that needs no index."""
    return LockedWheel(
        name, version, f"{name}-{version}-py3-none-any.whl", sha(name + version), 100
    )


def sdist(name: str, version: str) -> Sdist:
    """Return a source distribution that needs no index."""
    return Sdist(name, version, f"{name}-{version}.tar.gz", sha(f"source {name}{version}"), 50)


@dataclass
class World:
    """A project with two repositories; ``asked`` records every question to the outside."""

    folder: Path
    refs: dict[tuple[str, str], str] = field(default_factory=dict)
    trees: dict[str, dict[str, str]] = field(default_factory=dict)
    index: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    wanted: list[Wanted] = field(default_factory=list)
    excluded: list[str] = field(default_factory=list)

    def commit(self, url: str, ref: str, files: dict[str, str]) -> str:
        """Let ``ref`` of ``url`` mean a commit with ``files``."""
        commit = hashlib.sha1(json.dumps([url, files]).encode()).hexdigest()  # noqa: S324
        self.refs[url, ref] = commit
        self.trees[commit] = files
        return commit

    def resolve_ref(self, url: str, ref: str) -> str:
        """Return what ``ref`` means now."""
        self.asked.append(f"ref {url}")
        if (url, ref) not in self.refs:
            raise SourceError(f"{url} has no {ref}")
        return self.refs[url, ref]

    def export(self, wanted: Wanted) -> Exported:
        """Return the commit's files; its refs vouch for everything."""
        url, commit = wanted.url, wanted.commit
        self.wanted.append(wanted)
        tar = self.folder / f"{commit}.tar"
        with tarfile.open(tar, "w") as archive:
            for name, text in self.trees[commit].items():
                info = tarfile.TarInfo(name)
                info.size = len(text.encode())
                archive.addfile(info, io.BytesIO(text.encode()))
        tree = sha(json.dumps(self.trees[commit]))
        if wanted.tree not in (None, tree):
            raise SourceError(f"{url} is not what the lock says")
        name = next(iter(wanted.policy.refs))
        return Exported(commit, tree, tar, Vouched(wanted.refs or {name: commit}))

    def resolve(
        self,
        subject: str,
        inputs: RequirementInputs,
        target: Target,
        *,
        previous: Sequence[LockedWheel],
        upgrade: bool,
        exclude_newer: str,
    ) -> tuple[LockedWheel | Sdist, ...]:
        """Return each requirement at the index's version, or at the previous one."""
        self.excluded.append(exclude_newer)
        self.asked.append(f"resolve {subject} {target.name}")
        before = {} if upgrade else {each.name: each.version for each in previous}
        lines = [*inputs.requirements, *"\n".join(inputs.files.values()).split("\n")]
        names = {line.partition(">")[0].partition("[")[0] for line in lines if line}
        missing = names - self.index.keys()
        if missing:
            raise DependencyError(f"{subject}: no {missing}")
        versions = {name: before.get(name, self.index[name]) for name in names}
        return tuple(
            sdist(name, version) if name in inputs.sdists else wheel(name, version)
            for name, version in versions.items()
        )

    def build_sdist(self, subject: str, source: Sdist, target: Target) -> LockedWheel:
        """Return a wheel that was built from ``source``."""
        self.asked.append(f"build {source.filename}")
        built = BuiltFrom(source.filename, source.sha256, source.size, (wheel("setuptools", "80"),))
        return replace(wheel(source.name, source.version), built=built)

    def input_digest(
        self, package: str, definition: Definition, locked: LockedComponent | None, target: Target
    ) -> str:
        """Return the digest of what enters ``package``."""
        content: list[object] = [package, asdict(target)]
        if locked:
            content += [asdict(definition.component(package)), locked.commit, locked.tree]
            content += [locked.requirements.get(target.name)]
        return sha(json.dumps(content))

    @property
    def tools(self) -> Tools:
        """The questions of a plan, answered by this world."""
        return Tools(
            self.resolve_ref, self.export, self.resolve, self.input_digest, self.build_sdist
        )

    def definition(self) -> Definition:
        """Return what the project's files define now."""
        return load(self.folder)

    def previous(self) -> Lock | None:
        """Return the lock that is written, if any."""
        path = lock_file(self.folder)
        return read_lock(path) if path.exists() else None

    def plan(
        self,
        now: datetime = NOON,
        *,
        components: Sequence[str] | None = None,
        upgrade: Collection[str] = (),
        exclude_newer: str = "",
    ) -> LockPlan:
        """Plan the next release of the project as it is."""
        return plan(
            self.definition(), self.folder, self.previous(), self.tools,
            now=now, components=components, upgrade=upgrade, exclude_newer=exclude_newer,
        )  # fmt: skip

    def lock(
        self,
        now: datetime = NOON,
        *,
        components: Sequence[str] | None = None,
        upgrade: Collection[str] = (),
    ) -> LockPlan:
        """Plan and apply."""
        self.asked.clear()
        planned = self.plan(now, components=components, upgrade=upgrade)
        apply(planned, self.folder)
        return planned

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace a piece of one of the project's files."""
        path = self.folder / "packaging" / file
        text = path.read_text("utf-8")
        assert old in text
        path.write_text(text.replace(old, new), "utf-8")


def world(folder: Path) -> World:
    """Return a world whose project was never locked."""
    made = World(project.write(folder))
    made.index = {"idna": "3.7", "hatchling": "1.2", "gunicorn": "22", "dash": "2", "uvicorn": "1"}
    made.commit(FEED_URL, "main", {"pyproject.toml": PYPROJECT})
    made.commit(WEB_URL, "v1.2", {"requirements.txt": "dash\n"})
    return made


def snapshot(folder: Path) -> dict[str, bytes]:
    """Return every file below packaging with its content."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted((folder / "packaging").rglob("*"))
        if path.is_file()
    }
