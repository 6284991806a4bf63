"""What is published where, and what is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.unit.debstack.model import project
from tests.unit.debstack.pipeline.release import DEVELOPMENT, KEYS

from debstack.errors import ArchiveError
from debstack.keys import Keys
from debstack.log import Log
from debstack.model.definition import Definition
from debstack.model.reading import load
from debstack.pipeline.packages import release_packages
from debstack.pipeline.publish import publish, release_files, suite_of
from debstack.process import Runner


@pytest.fixture
def definition(tmp_path: Path) -> Definition:
    return load(project.write(tmp_path / "project"))


def test_a_channel_is_a_suite_per_target(definition: Definition) -> None:
    target, (staging, prod) = definition.stack.targets[0], definition.stack.channels
    suite = suite_of(definition, target, staging)
    assert (suite.name, suite.codename) == ("bookworm-staging", "bookworm-staging")
    assert (suite.origin, suite.label) == ("demo", "demo stack")
    assert suite.architectures == ("amd64",)
    assert suite.valid_for == timedelta(days=30)
    assert not suite.production
    assert suite_of(definition, target, prod).name == "bookworm-prod"
    assert suite_of(definition, target, prod).production


@pytest.mark.parametrize(
    "keys", [DEVELOPMENT, Keys(KEYS.package, DEVELOPMENT.repository),
             Keys(DEVELOPMENT.package, KEYS.repository)],
)  # fmt: skip
def test_production_refuses_development_keys(
    definition: Definition, tmp_path: Path, keys: Keys
) -> None:
    target, prod = definition.stack.targets[0], definition.stack.channels[1]
    with pytest.raises(ArchiveError, match="bookworm-prod is a production channel") as caught:
        publish(tmp_path / "apt", definition, target, prod, [], keys,
                now=datetime(2026, 11, 23, tzinfo=UTC), runner=Runner(), log=Log())  # fmt: skip
    assert "DEBSTACK_PACKAGE_KEY=" in caught.value.hint
    assert not (tmp_path / "apt").exists()


def test_only_what_the_manifest_names_is_published(definition: Definition, tmp_path: Path) -> None:
    target = definition.stack.targets[0]
    names = release_packages(definition)
    entries = [{"package": name, "file": f"{name}.deb"} for name in names]
    (tmp_path / "bookworm.json").write_text(json.dumps({"packages": entries}))
    (tmp_path / "stranger.deb").write_text("")
    files = release_files(tmp_path, definition, target)
    assert files == [tmp_path / f"{name}.deb" for name in names]


def test_a_part_of_a_release_is_not_published(definition: Definition, tmp_path: Path) -> None:
    entries = [{"package": "demo-stack", "file": "demo-stack.deb"}]
    (tmp_path / "bookworm.json").write_text(json.dumps({"packages": entries}))
    with pytest.raises(ArchiveError, match="lacks feed, web, ") as caught:
        release_files(tmp_path, definition, definition.stack.targets[0])
    assert caught.value.hint == "run: debstack build"


def test_a_release_that_was_not_built_is_told(definition: Definition, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="holds no release built for bookworm") as caught:
        release_files(tmp_path, definition, definition.stack.targets[0])
    assert caught.value.hint == "run: debstack build"
