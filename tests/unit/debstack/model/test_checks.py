"""Every rule of the definitions: what breaks it, where it is reported, and what is suggested."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.debstack.model import project

from debstack.errors import DefinitionError
from debstack.model.reading import load
from debstack.model.rules_component import RESERVED_SETTINGS
from debstack.model.rules_stack import STACK_NAME
from debstack.model.rules_unit import RESERVED_UNITS
from debstack.render import templates_folder
from tradingctl.deploy.signature import KEYRING

FEED, WEB, STACK = "components/feed.toml", "components/web.toml", "stack.toml"
TARGET = project.STACK[project.STACK.index("[[targets]]") : project.STACK.index("[[channels]]")]
UNIT = project.FEED[project.FEED.index("[[units]]") :]
NAME = 'name = "traderunner"'
TRUST = "[python]"
ENV = 'environment = { WEB_ROOT = "{root}", WEB_PORT = "{port}", SHELL = "${HOME}" }'

Case = tuple[str, str, str, str, str, str]

STACK_CASES: list[Case] = [
    (STACK, NAME, 'name = "De_mo"', "name", "not a Debian package name", "de-mo would be one"),
    (STACK, NAME, 'name = "D"', "name", "not a Debian package name", "at least two"),
    (STACK, NAME, 'name = "demo"', "name", "another name than tradingctl knows", "traderunner"),
    (STACK, "Operations <ops@example.org>", "ops@example.org", "maintainer", "not a name and an",
     "Name <mail@example.org>"),
    (STACK, "https://demo", "demo", "homepage", "not a web address", "https://"),
    (STACK, '"feed", "web"', "", "components", "no component", "name one"),
    (STACK, '"feed", "web"', '"feed", "web", "web"', "components[2]", "same as components[1]", ""),
    (STACK, '"feed", "web"', '"feed", "web", "Web"', "components[2]", "not a Debian", "web would"),
    (STACK, '"feed", "web"', '"feed", "web", "traderunner-stack"', "components[2]", "taken by",
     "another"),
    (STACK, '"feed", "web"', '"feed", "web", "releases"', "components[2]", "taken by", "another"),
    (STACK, '"feed", "web"', '"feed", "web", "trading-ibgateway"', "components[2]", "taken by",
     "another"),
    (STACK, '"demo stack"', '""', "archive.label", "is empty", "one line"),
    (STACK, '"file:///srv/demo/apt"', '"/srv/demo"', "archive.uri", "not an address", "file:///"),
    (STACK, '"file:///srv', '"https://me:pw@host/srv', "archive.uri", "password", "auth.conf.d"),
    (STACK, "valid_for_days = 30", "valid_for_days = 0", "archive.valid_for_days", "below 1", "30"),
    (STACK, "valid_for_days = 30", "valid_for_days = 99999999", "archive.valid_for_days",
     "above 365000", "30"),
    (STACK, "grace_days = 30", "grace_days = 99999999", "archive.grace_days", "above 365000", "30"),
    (STACK, "production = true", "production = true\n[audit]\nmax_age_days = 99999999",
     "audit.max_age_days", "above 365000", "14"),
    (STACK, "Operations <ops", "Opera\\ntions <ops", "maintainer", "not a name and an",
     "Name <mail@example.org>"),
    (STACK, "grace_days = 30", "grace_days = 29", "archive.grace_days", "below valid_for_days",
     "30"),
    (STACK, TARGET, TARGET * 2, "targets[1].name", "same as targets[0].name", "once"),
    (STACK, TARGET, TARGET * 2, "targets[1].suffix", "same as targets[0].suffix", "once"),
    (STACK, '"bookworm"', '"Book worm"', "targets[0].name", "part of a suite", "book-worm"),
    (STACK, '"deb12"', '"~deb12"', "targets[0].suffix", "cannot end a version", "deb12"),
    (STACK, '"deb12"', '"deb-12"', "targets[0].suffix", "cannot end a version", "deb12"),
    (STACK, '"3.11"', '"3.11.2"', "targets[0].python", "minor version", "3.11"),
    (STACK, '"amd64"', '"amd46"', "targets[0].architecture", "unknown", "did you mean amd64?"),
    (STACK, '"x86_64-manylinux_2_36"', '""', "targets[0].platform", "not a platform",
     "x86_64-manylinux_2_36"),
    (STACK, "x86_64-", "aarch64-", "targets[0].platform", "does not run on amd64",
     "x86_64-manylinux_2_36"),
    (STACK, '"prod"', '"staging"', "channels[1].name", "same as channels[0].name", "once"),
    (STACK, '"prod"', '"prod/eu"', "channels[1].name", "part of a suite", "prod-eu"),
    (STACK, '"prod"', '"tools"', "channels[1].name", "debstack's own package", "another"),
    (STACK, "production = true", 'production = true\n[retention]\nkeep = 0',
     "retention.keep", "below 1", "10"),
    (STACK, "production = true", 'production = true\n[retention]\npinned = ["1.0"]',
     "retention.pinned[0]", "not a release id", "such as"),
]  # fmt: skip

COMPONENT_CASES: list[Case] = [
    (FEED, '"the feed"', f'"{"x" * 80}"', "summary", "has 80 characters", "at most 79"),
    (FEED, '"the feed"', r'"a\nb"', "summary", "line break", "one line"),
    (FEED, '"Feeds."', '" "', "description", "is empty", "paragraph"),
    (FEED, '"build/feed.git"', '""', "source.url", "is empty", "one line"),
    (FEED, '"build/feed.git"', '"https://me:pw@h/x"', "source.url", "credentials", "ssh key"),
    (FEED, '"build/feed.git"', '"https://token@h/x"', "source.url", "credentials", "ssh key"),
    (FEED, '"build/feed.git"', '"--upload-pack=x"', "source.url", "option of git", "without -"),
    (FEED, '"build/feed.git"', '"http://h/x"', "source.url", "http does not prove", "signers"),
    (FEED, '"build/feed.git"', '"git://h/x"', "source.url", "git does not prove", "https or ssh"),
    (FEED, '"main"', f'"{"a" * 40}"', "source.ref", "a commit vouches for nothing",
     "source.trust.branches"),
    (FEED, TRUST, '[source.trust]\nurls = ["git@h:x"]\n' + TRUST, "source.trust.urls",
     "does not allow source.url", "add it"),
    (FEED, TRUST, '[source.trust]\nurls = ["build/feed.git", "-u"]\n' + TRUST,
     "source.trust.urls[1]", "option of git", "without -"),
    (FEED, TRUST, '[source.trust]\nbranches = ["*"]\n' + TRUST, "source.trust.branches[0]",
     "not the name of some branches", "release/*"),
    (FEED, TRUST, '[source.trust]\ntags = ["refs/tags/v1"]\n' + TRUST, "source.trust.tags[0]",
     "not the name of some tags", "v*"),
    (FEED, TRUST, '[source.trust]\nsigners = ["alice"]\n' + TRUST, "source.trust.signers[0]",
     "not below packaging/keys", "keys/signers/alice"),
    (FEED, TRUST, '[source.trust]\nsigners = ["keys/alice.asc"]\n' + TRUST,
     "source.trust.signers[0]", "among the keys that sign", "keys/signers/alice.asc"),
    (FEED, TRUST, '[source.trust]\nsigners = ["keys/alice"]\n' + TRUST,
     "source.trust.signers[0]", "not a regular file", "create it"),
    (FEED, '"main"', '""', "source.ref", "is empty", ""),
    (FEED, '"main"', '"-f"', "source.ref", "option of git", "without -"),
    (FEED, '"main"', '"a..b"', "source.ref", "not the name of a branch", "main"),
    (WEB, '"tests/"', '"/tests/"', "source.exclude[0]", "is absolute",
     "relative to the root: tests/"),
    (WEB, '"tests/"', '"../x"', "source.exclude[0]", "leads out", "stay below"),
    (WEB, '"requirements.txt"', '"/etc/r.txt"', "python.requirements[0]", "absolute", "etc/r.txt"),
    (WEB, '"requirements.txt"', '"a/../../r"', "python.requirements[0]", "leads out", "below"),
    (WEB, '"gunicorn>=22,<24"', '"gunicorn >> 2"', "python.extra_requirements[0]",
     "not a requirement", "gunicorn>=22"),
    (WEB, '"gunicorn>=22,<24"', '"x @ https://h/x.whl"', "python.extra_requirements[0]",
     "direct address", "gunicorn>=22"),
    (WEB, '"gunicorn>=22,<24"', '"-e ."', "python.extra_requirements[0]", "is an option", ""),
    (WEB, '"libfoo1 (>= 1.2) | libfoo2"', '"libfoo>=1.2"', "depends[0]", "not a dependency",
     "libfoo1 (>= 1.2)"),
    (WEB, 'path = "data"', 'path = "/data"', "state[0].path", "is absolute", "to the root: data"),
    (WEB, 'path = "data"', 'path = "a/../../b"', "state[0].path", "leads out", "stay below"),
    (WEB, 'path = "data"', 'path = ""', "state[0].path", "names no path", "below the root"),
    (WEB, 'path = "data"', 'path = "."', "state[0].path", "names no path", "below the root"),
    (WEB, 'path = "data"', 'path = ".venv/x"', "state[0].path", "belongs to the package", ""),
    (WEB, 'path = "data"', 'path = ".tracked"', "state[0].path", "belongs to the package", ""),
    (WEB, 'path = "data"', 'path = "RELEASE.json"', "state[0].path", "belongs to the", "another"),
    (WEB, '["logs"]', '["data"]', "logs[0]", "'data' of state[0].path", "name it once"),
    (WEB, '["logs"]', '["./data/"]', "logs[0]", "'data' of state[0].path", "name it once"),
    (WEB, '["logs"]', '["data/logs"]', "logs[0]", "lies in, or holds", "only the outer one"),
    (WEB, 'path = "data"', 'path = "logs/x"', "logs[0]", "'logs/x' of state[0].path", "outer"),
    (WEB, '"web.db"', '"../web.db"', "state[0].databases[0]", "leads out", "stay below"),
    (WEB, '["web.db"]', '["web.db"]\nartifacts = true', "state[0].artifacts", "as files",
     "another"),
    (WEB, '["web.db"]', '["a.db", "a.db"]', "state[0].databases[1]", "same as", "once"),
    (WEB, 'name = "web.env"', 'name = "sub/web.env"', "config[0].name", "plain file", "web.env"),
    (WEB, 'name = "web.env"', 'name = "secrets"', "config[0].name", "belongs to the stack", ""),
    (WEB, 'name = "web.env"', 'name = "environment"', "config[0].name", "belongs to the", ""),
    (WEB, 'name = "web.env"', 'name = "ibgateway.env"', "config[0].name", "belongs to the", ""),
    (WEB, 'name = "web.env"', 'name = "feed.env"', "config[0].name", "read by the services of feed",
     "name it web.env"),
    (WEB, '"conf/web.env"', '"conf/wbe.env"', "config[0].source", "not a regular file",
     "did you mean conf/web.env?"),
    (WEB, '"conf/web.env"', '"conf"', "config[0].source", "not a regular file", ""),
    (WEB, '"conf/web.env"', '"../x.env"', "config[0].source", "leads out", "stay below"),
    (WEB, '"WEB_PASS"', '"web-pass"', "secrets[0].variable", "in capitals", "WEB_PASS"),
    (WEB, '"WEB_PASS"', '"WEB_PASS"\nlength = 8', "secrets[0].length", "8 characters", "12"),
    (WEB, '"WEB_PASS"', '"WEB_PASS"\nneeded_if = { "a b" = "1" }', "secrets[0].needed_if.a b",
     "not the name of a setting", "A_B"),
    (WEB, '[[secrets]]', '[environments]\nstagin = "test"\n[[secrets]]', "environments.stagin",
     "not what a machine can be", "did you mean staging?"),
    (WEB, '[[secrets]]', '[environments]\nstaging = "a b"\n[[secrets]]', "environments.staging",
     "not one word", "test"),
]  # fmt: skip

UNIT_CASES: list[Case] = [
    (FEED, 'name = "feed"\ndescription', 'name = "trading-restore"\ndescription', "units[0].name",
     "a unit of the stack's own", "another name"),
    (FEED, 'name = "feed"\ndescription', 'name = "feed.service"\ndescription', "units[0].name",
     "without .service", "feed"),
    (FEED, 'name = "feed"\ndescription', 'name = "the feed"\ndescription', "units[0].name",
     "not a unit's name", "the-feed"),
    (WEB, ENV, 'environment = { AT_WORKER_MODE = "paper-send" }',
     "units[0].environment.AT_WORKER_MODE", "let the worker send orders", "plan-only"),
    (FEED, "port = 8090", "port = 65536", "units[0].port", "not a port", "65535"),
    (FEED, "port = 8090", "port = -1", "units[0].port", "not a port", "65535"),
    (WEB, "port = 9001", "port = 8090", "units[0].port", "already that of units[0].port of feed",
     "free port"),
    (WEB, '"web-server"', '"feed"', "units[0].name", "already that of units[0].name of feed",
     "once"),
    (FEED, UNIT[UNIT.index("[[units.checks]]") :], "", "units[0].checks", "no required check",
     "[[units.checks]]"),
    (FEED, 'json = {', 'required = false\njson = {', "units[0].checks", "no required check", ""),
    (FEED, '".venv/bin/python -m feed"', '"/usr/bin/python3"', "units[0].exec", "is absolute",
     "usr/bin/python3"),
    (FEED, '".venv/bin/python -m feed"', '"../python"', "units[0].exec", "leads out", "below"),
    (FEED, '".venv/bin/python -m feed"', '"{root}/x"', "units[0].exec", "begins with a", "root"),
    (FEED, '".venv/bin/python -m feed"', '"x \'y"', "units[0].exec", "command line", "close"),
    (FEED, '".venv/bin/python -m feed"', '""', "units[0].exec", "is empty", ""),
    (FEED, '".venv/bin/python -m feed"', '"x {ports}"', "units[0].exec", "placeholder {ports}",
     "did you mean {port}?"),
    (WEB, ENV, 'environment = { A = "{rot}" }', "units[0].environment.A", "placeholder {rot}",
     "did you mean {root}?"),
    (WEB, ENV, 'environment = { A = "{zzz}" }', "units[0].environment.A", "placeholder {zzz}",
     "{port}, {root}, {etc}, {state}, {log}"),
    (WEB, ENV, 'environment = { "A-B" = "x" }', "units[0].environment.A-B", "not the name", "A_B"),
    (WEB, ENV, r'environment = { A = "x\ny" }', "units[0].environment.A", "line break", ""),
    *[
        (WEB, ENV, f'environment = {{ {name} = "x" }}', f"units[0].environment.{name}",
         "looks like a secret", f"[[secrets]] with variable = '{name}'")
        for name in ("DB_PASS", "DB_PASSWORD", "API_TOKEN", "API_KEY", "APIKEY", "APP_SECRET")
    ],
    (FEED, "port = 8090", "", "units[0].checks[0].url", "unit without a port", "set its port"),
    (FEED, "http://127.0.0.1:", "https://127.0.0.1:", "units[0].checks[0].url",
     "not an address of this server", "http://127.0.0.1:{port}/"),
    (FEED, "http://127.0.0.1:", "http://example.org:", "units[0].checks[0].url",
     "not an address of this server", "http://127.0.0.1:{port}/"),
    (FEED, "http://127.0.0.1:", "http://me@127.0.0.1:", "units[0].checks[0].url", "not an", ""),
    (FEED, "{port}/health", "{port}x/health", "units[0].checks[0].url", "not an address", ""),
    (FEED, "{port}/health", "{ports}/health", "units[0].checks[0].url", "{ports}", "{port}"),
    (WEB, "[200, 401]", "[200, 600]", "units[0].checks[0].status[1]", "not a status", "100 to 599"),
    (WEB, "[200, 401]", "[]", "units[0].checks[0].status", "no answer", "[200]"),
    (FEED, '"database.ok"', '"database..ok"', "units[0].checks[0].json.database..ok",
     "dotted path", "status"),
    (WEB, "deadline = 60", "deadline = 0", "units[0].deadline", "not above 0", "30"),
    (WEB, "deadline = 60", "deadline = inf", "units[0].deadline", "above 86400", "30"),
    (WEB, "deadline = 60", "deadline = nan", "units[0].deadline", "not above 0", "30"),
    (WEB, "deadline = 60", "stability = 1e300", "units[0].stability", "above 86400", "30"),
    (WEB, "deadline = 60", "stability = nan", "units[0].stability", "below 0", "3"),
    (WEB, "deadline = 60", "stability = -1", "units[0].stability", "below 0", "3"),
    (WEB, '"feed.service"', '"feeed.service"', "units[0].after[1]", "no component has a unit",
     "did you mean feed.service?"),
    (WEB, '"feed.service"', '"feed"', "units[0].after[1]", "full name", "write feed.service"),
    (WEB, '"feed.service"', '"web-server.service"', "units[0].after[1]", "the unit itself",
     "remove it"),
    (WEB, '"feed.service"', '"network.target"', "units[0].after[1]", "same as", "once"),
    (WEB, '"MemoryDenyWriteExecute"', '"MemoryDenyWriteExec"',
     "units[0].sandbox_exceptions[0].directive", "not part of the sandbox",
     "did you mean MemoryDenyWriteExecute?"),
    (WEB, '"compiles at run time"', '""', "units[0].sandbox_exceptions[0].reason", "is empty", ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("file", "old", "new", "key", "message", "suggestion"),
    [*STACK_CASES, *COMPONENT_CASES, *UNIT_CASES],
)
def test_a_broken_rule_is_reported_where_it_is(
    tmp_path: Path, file: str, old: str, new: str, key: str, message: str, suggestion: str
) -> None:
    folder = project.spoil(tmp_path, file, old, new)
    before = sorted(folder.rglob("*"))
    with pytest.raises(DefinitionError) as raised:
        load(folder)
    match = [
        each
        for each in raised.value.problems
        if (each.file, each.key) == (f"packaging/{file}", key) and message in each.message
    ]
    assert len(match) == 1, raised.value.details
    assert suggestion in match[0].suggestion
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("link", ["/etc/hostname", "../stack.toml"])
def test_settings_are_not_a_link(tmp_path: Path, link: str) -> None:
    folder = project.write(tmp_path, {"packaging/conf/web.env": None})
    (folder / "packaging/conf").mkdir()
    (folder / "packaging/conf/web.env").symlink_to(link)
    with pytest.raises(DefinitionError) as raised:
        load(folder)
    assert [each.key for each in raised.value.problems] == ["config[0].source"]


def test_two_components_cannot_ship_one_file_of_settings(tmp_path: Path) -> None:
    shared = '\n[[config]]\nname = "trading.yaml"\nsource = "conf/web.env"\n'
    folder = project.write(
        tmp_path,
        {
            "packaging/components/feed.toml": project.FEED + shared,
            "packaging/components/web.toml": project.WEB + shared,
        },
    )
    with pytest.raises(DefinitionError) as raised:
        load(folder)
    (problem,) = raised.value.problems
    assert (problem.file, problem.key) == ("packaging/components/web.toml", "config[1].name")
    assert "config[0].name of feed" in problem.message


def test_equal_order_numbers_foreign_services_and_targets_are_fine(tmp_path: Path) -> None:
    load(project.spoil(tmp_path, WEB, "order = 20", "order = 10"))


def test_a_stack_without_targets_and_channels(tmp_path: Path) -> None:
    tables = project.STACK[project.STACK.index("[[targets]]") :]
    text = "targets = []\nchannels = []\n" + project.STACK.replace(tables, "")
    with pytest.raises(DefinitionError) as raised:
        load(project.write(tmp_path, {"packaging/stack.toml": text}))
    assert [each.key for each in raised.value.problems] == ["channels", "targets"]


@pytest.mark.parametrize("value", ["paper-send", "'live'", ""])
def test_settings_that_would_let_a_worker_send_orders_are_refused(
    tmp_path: Path, value: str
) -> None:
    text = f"A=1\nAT_WORKER_MODE={value}\n"
    with pytest.raises(DefinitionError) as raised:
        load(project.write(tmp_path / "bad", {"packaging/conf/web.env": text}))
    problem, _ = raised.value.problems
    assert problem.key == "config[0].source"
    assert "would let the worker send orders" in problem.message


def test_of_a_component_with_a_worker_a_unit_is_known_to_send_orders(tmp_path: Path) -> None:
    settings: dict[str, str | None] = {
        "packaging/conf/web.env": "# AT_WORKER_MODE=paper-send\nAT_WORKER_MODE=plan-only\n"
    }
    with pytest.raises(DefinitionError) as raised:
        load(project.write(tmp_path / "bad", settings))
    (problem,) = raised.value.problems
    assert (problem.key, problem.suggestion) == (
        "units",
        "sends_orders = true in the worker's [[units]]",
    )
    web = project.WEB.replace('type = "notify"', 'type = "notify"\nsends_orders = true')
    load(project.write(tmp_path / "good", {**settings, "packaging/components/web.toml": web}))


def test_a_unit_does_not_say_itself_where_a_credential_lies(tmp_path: Path) -> None:
    web = project.WEB.replace("SHELL =", "WEB_PASS_FILE =").replace(
        '"WEB_PASS"', '"WEB_PASS"\ncredential = true'
    )
    with pytest.raises(DefinitionError) as raised:
        load(project.write(tmp_path, {"packaging/components/web.toml": web}))
    (problem,) = raised.value.problems
    assert problem.key == "secrets[0].credential"
    assert "WEB_PASS_FILE" in problem.message


@pytest.mark.parametrize(
    ("name", "text", "mistakes"),
    [
        ("allowed", "alice@example.org ssh-ed25519 AAAA\n", 0),
        ("allowed", "alice@example.org\n", 1),
        ("signers/alice.asc", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n", 0),
        ("signers/alice.asc", f"-----BEGIN PGP {'PRIVATE'} KEY BLOCK-----\n", 1),
    ],
)
def test_files_of_signers_hold_public_keys(
    tmp_path: Path, name: str, text: str, mistakes: int
) -> None:
    trust = f'[source.trust]\nsigners = ["keys/{name}"]\n[python]'
    folder = project.spoil(tmp_path, FEED, "[python]", trust)
    file = folder / "packaging/keys" / name
    file.parent.mkdir(parents=True)
    file.write_text(text)
    if not mistakes:
        assert load(folder).component("feed").source.trust.signers == (f"keys/{name}",)
        return
    with pytest.raises(DefinitionError) as caught:
        load(folder)
    assert [each.key for each in caught.value.problems] == ["source.trust.signers[0]"]
    assert "holds no public key" in caught.value.problems[0].message


def test_what_the_templates_ship_is_not_shipped_by_a_component() -> None:
    units = templates_folder().glob("*/payload/lib/systemd/system/*")
    assert {path.stem for path in units} == set(RESERVED_UNITS)
    settings = templates_folder().glob("*/payload/usr/share/trading/settings/*")
    assert {path.name for path in settings} <= set(RESERVED_SETTINGS)


def test_the_stack_is_called_as_tradingctl_knows_it() -> None:
    assert f"{STACK_NAME}-archive-keyring" == KEYRING
