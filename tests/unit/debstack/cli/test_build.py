"""`debstack build`: it builds the lock that is there when it may begin."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.unit.debstack.pipeline.release import KEYS, release

from debstack.cli.project import Project
from debstack.cli.root import debstack
from debstack.pipeline import build


def test_a_lock_that_was_written_while_another_build_was_waited_for_is_the_one_to_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo = release(tmp_path)
    web = replace(demo.lock.packages["web"], changed_in="2026.11.23.2")
    packages = {**demo.lock.packages, "web": web}
    newer = replace(demo.lock, release="2026.11.23.2", packages=packages)

    @contextmanager
    def waiting(*_: object) -> Iterator[None]:
        newer.write(tmp_path / "packaging/repos.lock")
        yield

    monkeypatch.setattr(build, "locked", waiting)
    monkeypatch.setattr(Project, "keys", KEYS)
    arguments = ["--project", str(tmp_path), "build", "--dry-run", "--target", "bookworm", "web"]
    result = CliRunner().invoke(debstack, arguments)
    assert result.exit_code == 0, result.output
    assert result.output.startswith("build  web 2026.11.23.2+g")
