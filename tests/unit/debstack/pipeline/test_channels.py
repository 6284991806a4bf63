"""What a channel refuses, before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from tests.unit.debstack.archive.suites import offering, put
from tests.unit.debstack.model import project
from tests.unit.debstack.pipeline.release import DEVELOPMENT, KEYS

from debstack.archive.content import About
from debstack.archive.publish import Publisher
from debstack.errors import ArchiveError
from debstack.gpg import Key
from debstack.keys import Keys
from debstack.log import Log
from debstack.model.definition import Channel, Definition
from debstack.model.reading import load
from debstack.pipeline.channels import Channels, Place, Trust
from debstack.pipeline.publish import BuiltRelease
from debstack.process import Runner

NOW = datetime(2026, 11, 23, 18, tzinfo=UTC)
MIXED = [DEVELOPMENT, Keys(KEYS.package, DEVELOPMENT.repository),
         Keys(DEVELOPMENT.package, KEYS.repository)]  # fmt: skip


def channels(
    folder: Path, keys: Keys = KEYS, change: Callable[[Definition], Definition] = lambda d: d
) -> Channels:
    definition = change(load(project.write(folder / "project")))
    publisher = Publisher(
        folder / "apt", lambda: NOW, timedelta(days=30), Runner(), Log(StringIO())
    )
    trust = Trust(lambda _: [keys.repository], lambda: b"", lambda: keys.package.development)
    return Channels(definition, publisher, trust)


def place(made: Channels, number: int) -> Place:
    stack = made.definition.stack
    return made.place(stack.targets[0], stack.channels[number])


def only_production(definition: Definition) -> Definition:
    stack = definition.stack
    return replace(definition, stack=replace(stack, channels=stack.channels[1:]))


@pytest.mark.parametrize("keys", MIXED)
def test_production_refuses_development_keys(tmp_path: Path, keys: Keys) -> None:
    made = channels(tmp_path, keys)
    for attempt in (made.promote, made.plan_promote):
        with pytest.raises(ArchiveError, match="bookworm-prod is a production channel") as caught:
            attempt("2026.11.23.1", place(made, 0), place(made, 1))
        assert "debstack key new package" in caught.value.hint
    alone = channels(tmp_path, keys, only_production)
    built = BuiltRelease(alone.definition.stack.targets[0], About("2026.11.23.1"), ())
    with pytest.raises(ArchiveError, match="these are development keys"):
        alone.publish(built, alone.definition.stack.channels[0])
    assert not (tmp_path / "apt").exists()


def test_nothing_is_published_where_it_has_to_be_promoted(tmp_path: Path) -> None:
    made = channels(tmp_path)
    target, (_, prod) = made.definition.stack.targets[0], made.definition.stack.channels
    built = BuiltRelease(target, About("2026.11.23.1"), ())
    for attempt in (made.publish, made.plan_publish):
        with pytest.raises(ArchiveError, match="has been elsewhere") as caught:
            attempt(built, prod)
        assert "debstack promote RELEASE --from staging --to prod" in caught.value.hint
    assert not (tmp_path / "apt").exists()


def test_what_was_never_published_cannot_be_promoted(tmp_path: Path) -> None:
    made = channels(tmp_path)
    for attempt in (made.promote, made.plan_promote):
        with pytest.raises(ArchiveError, match=r"2026\.11\.23\.9 is not in bookworm-staging"):
            attempt("2026.11.23.9", place(made, 0), place(made, 1))
    assert not (tmp_path / "apt").exists()


def test_what_is_retained_is_decided_again_when_no_other_publisher_is_at_work(
    tmp_path: Path,
) -> None:
    made = channels(tmp_path)
    staging = place(made, 0)
    tree, key = made.publisher.tree, KEYS.repository
    put(tree, staging.suite, key, offering("2026.11.23.1", "2026.11.23.2", "2026.11.23.3"))

    def unpublished_meanwhile(_: Channel) -> list[Key]:
        put(tree, staging.suite, key, offering("2026.11.23.1", "2026.11.23.2"))
        return [key]

    meanwhile = replace(made, trust=replace(made.trust, signers=unpublished_meanwhile))
    _, _, failures = meanwhile.retain(1)
    assert [each.suite for each in failures] == ["bookworm-staging"]
    assert "needs 2026.11.23.2 now" in failures[0].error.message
    assert failures[0].error.hint == "debstack retain"
