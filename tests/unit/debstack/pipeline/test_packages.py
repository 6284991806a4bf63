"""What enters a package changes its digest, and nothing else does."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.debstack.pipeline.release import release

import tradingctl
from debstack.model.definition import Channel, Definition, Trust
from debstack.model.lock import LockedComponent
from debstack.model.rules_stack import RESERVED_COMPONENTS
from debstack.pipeline import packages
from debstack.pipeline.contents import Release
from debstack.pipeline.packages import (
    IBGATEWAY,
    Names,
    input_digest,
    kind_of,
    release_packages,
    tradingctl_files,
)
from debstack.render import templates_folder

WEB = "web"
ALL = (
    WEB,
    "feed",
    "traderunner-common",
    "traderunner-stack",
    "traderunner-archive-keyring",
    IBGATEWAY,
)


@pytest.fixture
def demo(tmp_path: Path) -> Release:
    return release(tmp_path)


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the digests be taken of a copy of the code and the templates, and return it."""
    source = Path(packages.__file__).parents[1]
    copy = tmp_path / "code"
    shutil.copytree(source, copy / "debstack", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(templates_folder(), copy / "debian-templates")
    modules = copy / "tradingctl"
    modules.mkdir()
    for relative, path in tradingctl_files().items():
        (modules / relative).parent.mkdir(exist_ok=True)
        shutil.copyfile(path, modules / relative)
    monkeypatch.setattr(packages, "__file__", str(copy / "debstack/pipeline/packages.py"))
    monkeypatch.setattr(packages, "templates_folder", lambda: copy / "debian-templates")
    monkeypatch.setattr(tradingctl, "__path__", [str(modules)])
    return copy


def digests(demo: Release) -> dict[str, str]:
    return {
        name: input_digest(
            demo.project, name, demo.definition, demo.lock.components.get(name), demo.target
        )
        for name in ALL
    }


def changed(before: dict[str, str], demo: Release) -> set[str]:
    """Return the packages whose digest is another one than before."""
    after = digests(demo)
    return {name for name in ALL if after[name] != before[name]}


def relocked(demo: Release, **changes: object) -> Release:
    component: LockedComponent = replace(demo.lock.components[WEB], **changes)  # type: ignore[arg-type]
    return replace(
        demo, lock=replace(demo.lock, components={**demo.lock.components, WEB: component})
    )


def redefined(demo: Release, change: Callable[[Definition], Definition]) -> Release:
    return replace(demo, definition=change(demo.definition))


def web_with(definition: Definition, **changes: object) -> Definition:
    components = tuple(
        replace(each, **changes) if each.name == WEB else each  # type: ignore[arg-type]
        for each in definition.components
    )
    return replace(definition, components=components)


def stack_with(definition: Definition, **changes: object) -> Definition:
    return replace(definition, stack=replace(definition.stack, **changes))  # type: ignore[arg-type]


def test_the_same_inputs_have_the_same_digest(demo: Release) -> None:
    assert digests(demo) == digests(demo)
    assert len(set(digests(demo).values())) == len(ALL)


def test_every_channel_is_named_by_the_keyring(demo: Release) -> None:
    more = (*demo.definition.stack.channels, Channel("canary", production=False))
    with_another = redefined(demo, lambda each: stack_with(each, channels=more))
    assert changed(digests(demo), with_another) == {"traderunner-archive-keyring"}


def test_the_keys_of_the_signers_count(demo: Release) -> None:
    signers = demo.project / "packaging/keys/allowed"
    signers.parent.mkdir()
    signers.write_text("alice\n")
    source = replace(demo.definition.component(WEB).source, trust=Trust(signers=("keys/allowed",)))
    trusting = redefined(demo, lambda each: web_with(each, source=source))
    before = digests(trusting)
    signers.write_text("mallory\n")
    assert changed(before, trusting) == {WEB}


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "git@elsewhere.example.org:web.git"},
        {"commit": "1" * 40},
        {"tree": "2" * 64},
        {"requirements": {"bookworm": "3" * 64}},
        {"build_requirements": {"bookworm": "4" * 64}},
        # The package carries its part of the lock, which names them.
        {"ref": "v9"},
        {"url": "https://git.example.org/web.git"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_the_lock_pins_counts_for_the_component_alone(
    demo: Release, changes: dict[str, object]
) -> None:
    before = digests(demo)
    assert changed(before, relocked(demo, **changes)) == {WEB}


def test_other_targets_do_not_count(demo: Release) -> None:
    before = digests(demo)
    locked = demo.lock.components[WEB].requirements
    assert changed(before, relocked(demo, requirements={**locked, "trixie": "5" * 64})) == set()


def test_the_content_of_settings_counts(demo: Release) -> None:
    before = digests(demo)
    (demo.project / "packaging/conf/web.env").write_text("WEB_THEME=dark\n")
    assert changed(before, demo) == {WEB}


@pytest.mark.parametrize(
    "changes",
    [
        {"summary": "another"}, {"description": "another"}, {"logs": ()}, {"depends": ("bash",)},
        {"units": ()}, {"state": ()}, {"config": ()}, {"secrets": ()},
    ],
    ids=lambda changes: next(iter(changes)),
)  # fmt: skip
def test_the_definition_counts(demo: Release, changes: dict[str, object]) -> None:
    before = digests(demo)
    assert changed(before, redefined(demo, lambda d: web_with(d, **changes))) == {WEB}


@pytest.mark.parametrize("key", ["python", "architecture", "suffix", "platform"])
def test_the_target_counts_for_everything(demo: Release, key: str) -> None:
    before = digests(demo)
    target = replace(demo.target, **{key: "3.13"})
    assert changed(before, replace(demo, target=target)) == set(ALL)


def test_the_stack_counts_where_it_is_written(demo: Release) -> None:
    before = digests(demo)
    assert changed(before, redefined(demo, lambda d: stack_with(d, maintainer="X <x@x>"))) == set(
        ALL
    )
    other = replace(demo.definition.stack.archive, uri="https://apt.example.org")
    assert changed(before, redefined(demo, lambda d: stack_with(d, archive=other))) == {
        "traderunner-archive-keyring"
    }
    assert changed(
        before, redefined(demo, lambda d: stack_with(d, components=("web", "feed")))
    ) == {"traderunner-common", "traderunner-stack"}


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        ("repository", {"traderunner-archive-keyring"}),
        # Its signature is in every package.
        ("package", set(ALL)),
    ],
)
def test_committed_keys_count(demo: Release, role: str, expected: set[str]) -> None:
    before = digests(demo)
    keys = demo.project / "packaging/keys"
    keys.mkdir()
    (keys / f"{role}.asc").write_text("armor")
    assert changed(before, demo) == expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("component/debian/postinst", {WEB, "feed"}),
        ("common/debian/sysusers", {"traderunner-common"}),
        ("stack/debian/control", {"traderunner-stack"}),
        ("ibgateway/payload/usr/lib/trading-ibgateway/run", {IBGATEWAY}),
        ("_rules", set(ALL)),
    ],
)
def test_templates_count_for_their_kind(
    demo: Release, code: Path, template: str, expected: set[str]
) -> None:
    before = digests(demo)
    path = code / "debian-templates" / template
    path.write_text(path.read_text() + "\n")
    assert changed(before, demo) == expected


def test_a_new_template_counts(demo: Release, code: Path) -> None:
    before = digests(demo)
    (code / "debian-templates/stack/debian/NEWS").write_text("news\n")
    assert changed(before, demo) == {"traderunner-stack"}


@pytest.mark.parametrize(
    "module", ["steps/venv.py", "steps/sign.py", "steps/stage.py", "steps/package.py",
               "pipeline/contents.py", "pipeline/keyring.py",
               "render.py", "describe.py", "model/sandbox.py", "model/placeholders.py",
               "model/lock.py", "model/requirements.py"],
)  # fmt: skip
def test_code_that_shapes_packages_counts(demo: Release, code: Path, module: str) -> None:
    before = digests(demo)
    path = code / "debstack" / module
    path.write_text(path.read_text() + "# changed\n")
    assert changed(before, demo) == set(ALL)


@pytest.mark.parametrize(
    "module", ["cli/build.py", "log.py", "errors.py", "process.py", "archive/publish.py",
               "pipeline/build.py", "steps/prove.py", "trial.py"],
)  # fmt: skip
def test_other_code_does_not_count(demo: Release, code: Path, module: str) -> None:
    before = digests(demo)
    path = code / "debstack" / module
    path.write_text(path.read_text() + "# changed\n")
    assert changed(before, demo) == set()


def test_tradingctl_counts_for_the_package_that_ships_it(demo: Release, code: Path) -> None:
    before = digests(demo)
    (code / "tradingctl/verify.py").write_text("changed")
    assert changed(before, demo) == {"traderunner-common"}
    (code / "tradingctl/description.py").write_text("changed")
    assert changed(before, demo) == set(ALL)


def test_names_and_kinds(demo: Release) -> None:
    assert Names.of(demo.definition) == Names(
        "traderunner-archive-keyring", "traderunner-common", "traderunner-stack"
    )
    assert release_packages(demo.definition) == (
        "feed", "web", "traderunner-archive-keyring", "traderunner-common", "traderunner-stack",
        IBGATEWAY,
    )  # fmt: skip
    kinds = {name: kind_of(name, demo.definition) for name in ALL}
    assert kinds == {
        "web": "component", "feed": "component", "traderunner-archive-keyring": "keyring",
        "traderunner-common": "common", "traderunner-stack": "stack", IBGATEWAY: "ibgateway",
    }  # fmt: skip


def test_no_component_is_called_as_the_package_that_no_release_depends_on() -> None:
    assert IBGATEWAY in RESERVED_COMPONENTS
