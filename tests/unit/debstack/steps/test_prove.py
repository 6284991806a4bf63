"""What a trial starts and asks, and what its failure advises; the trial itself on tiny services."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.debstack.model import project

from debstack.describe import describe
from debstack.errors import StartError
from debstack.isolation import can_isolate
from debstack.model.definition import (
    Component,
    HealthCheck,
    SecretDefinition,
    StateDirectory,
    UnitDefinition,
)
from debstack.model.reading import load
from debstack.process import Runner
from debstack.steps.prove import Place, prove, trial_plan

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
PLACE = Place(
    Path("/t/tree"), Path("/t/etc"), Path("/t/state/web"), Path("/t/log/web"), {9001: 4567}
)


@pytest.fixture
def web(tmp_path: Path) -> Component:
    return load(project.write(tmp_path / "project")).component("web")


@pytest.fixture
def payload(tmp_path: Path) -> Path:
    etc = tmp_path / "payload/usr/share/trading/settings"
    etc.mkdir(parents=True)
    (etc / "web.env").write_text(
        "# comment\n; comment\n\nWEB_THEME = light\nWEB_PORT=1\nWEB_BIND='127.0.0.1'\nnonsense\n"
    )
    (etc / "other.env").write_text("OTHER=1\n")
    return tmp_path / "payload"


def planned(component: Component, payload: Path) -> list[dict[str, object]]:
    described = describe(component, "1", "2026.11.23.1", "c" * 40)
    plan = trial_plan(component, described, payload, PLACE)
    assert plan["commit"] == "c" * 40
    units = plan["units"]
    assert isinstance(units, list)
    return units


def environment(unit: dict[str, object]) -> dict[str, str]:
    env = unit["env"]
    assert isinstance(env, dict)
    return env


def test_settings_win_over_the_unit_and_secrets_are_generated(
    web: Component, payload: Path
) -> None:
    (unit,) = planned(web, payload)
    env = environment(unit)
    assert env["WEB_ROOT"] == "/t/tree"
    assert env["WEB_PORT"] == "1"
    assert env["WEB_THEME"] == "light"
    assert env["WEB_BIND"] == "127.0.0.1"
    assert len(env["WEB_PASS"]) >= 24
    assert env["HOME"] == "/t/state/web"
    assert not env.keys() & {"nonsense", "OTHER", "# comment"}
    assert environment(planned(web, payload)[0])["WEB_PASS"] != env["WEB_PASS"]


def test_the_environment_of_the_build_does_not_help(
    web: Component, payload: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEB_HELP", "1")
    monkeypatch.setenv("PYTHONPATH", "/here")
    env = environment(planned(web, payload)[0])
    assert not env.keys() & {"WEB_HELP", "PYTHONPATH"}


def test_the_command_line_has_places_ports_and_variables(web: Component, payload: Path) -> None:
    unit = replace(
        web.units[0], exec=".venv/bin/web --at ${WEB_BIND}:{port} $WEB_THEME {state} ${UNSET} {log}"
    )
    (found,) = planned(replace(web, units=(unit,)), payload)
    assert found["argv"] == [
        "/t/tree/.venv/bin/web", "--at", "127.0.0.1:4567", "light", "/t/state/web", "${UNSET}",
        "/t/log/web",
    ]  # fmt: skip
    assert (found["cwd"], found["name"], found["deadline"]) == ("/t/tree", "web-server", 60.0)


def test_what_is_quoted_in_a_command_line_is_one_word(web: Component, payload: Path) -> None:
    unit = replace(
        web.units[0], exec=""".venv/bin/web --format '%a %s' "at {state} ${WEB_BIND}" --log ''"""
    )
    (found,) = planned(replace(web, units=(unit,)), payload)
    assert found["argv"] == [
        "/t/tree/.venv/bin/web", "--format", "%a %s", "at /t/state/web 127.0.0.1", "--log", "",
    ]  # fmt: skip


def test_checks_ask_the_ports_of_the_trial_and_only_what_is_required(
    web: Component, payload: Path
) -> None:
    wanted = HealthCheck("feed", "http://localhost:{port}/feed", required=False)
    elsewhere = HealthCheck("other", "http://localhost:90/9001")
    unit = replace(web.units[0], checks=(*web.units[0].checks, wanted, elsewhere))
    (found,) = planned(replace(web, units=(unit,)), payload)
    checks = found["checks"]
    assert isinstance(checks, list)
    assert [(check["name"], check["url"]) for check in checks] == [
        ("login", "http://localhost:4567/"),
        ("other", "http://localhost:90/9001"),
    ]


def test_units_start_in_order_and_stability_is_bounded(web: Component, payload: Path) -> None:
    late = replace(web.units[0], name="late", order=90, stability=20.0)
    early = replace(web.units[0], name="early", order=1, stability=0.5)
    units = planned(replace(web, units=(late, early)), payload)
    assert [(unit["name"], unit["stability"]) for unit in units] == [("early", 0.5), ("late", 1.0)]


SERVICE = """\
import http.server, json, os, pathlib
state = pathlib.Path("data/seen")
state.write_text("x")
pathlib.Path("logs/log").write_text("x")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        known = pathlib.Path("data/known.txt").read_text()
        self.wfile.write(json.dumps({"status": "healthy", "known": known}).encode())
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def service(folder: Path, code: str) -> tuple[Component, Path]:
    """Return a component of one service that runs ``code``, and its payload."""
    payload = folder / "payload"
    tree = payload / "usr/lib/trading/tiny"
    (tree / ".tracked/data").mkdir(parents=True)
    (tree / ".tracked/data/known.txt").write_text("shipped")
    (tree / "data").symlink_to("/var/lib/trading/tiny/data")
    (tree / "logs").symlink_to("/var/log/trading/tiny")
    (tree / "service.py").write_text(code)
    (tree / "python").symlink_to(f"/usr/bin/python{PYTHON}")
    check = HealthCheck(
        "health", "http://127.0.0.1:{port}/", json={"status": "healthy", "known": "shipped"}
    )
    unit = UnitDefinition(
        "tiny", "tiny", "python service.py", "simple", 10, 8099, {"PORT": "{port}"},
        deadline=20.0, checks=(check,),
    )  # fmt: skip
    base = load(project.write(folder / "project")).component("feed")
    component = replace(
        base, name="tiny", units=(unit,), logs=("logs",),
        state=(StateDirectory("data", tracked=True),),
    )  # fmt: skip
    return component, payload


def attempt(folder: Path, code: str, *, isolate: bool = False) -> None:
    if not Path(f"/usr/bin/python{PYTHON}").exists():
        pytest.skip(f"/usr/bin/python{PYTHON} is not installed")
    component, payload = service(folder, code)
    described = describe(component, "1", "2026.11.23.1", "c" * 40)
    prove(component, described, payload, PYTHON, isolate=isolate, runner=Runner())


@pytest.mark.parametrize("isolate", [True, False])
def test_a_service_finds_its_state_its_logs_and_its_tracked_files(
    tmp_path: Path, isolate: bool
) -> None:
    if isolate and not can_isolate(Runner()):
        pytest.skip("bubblewrap is not installed, or may not make namespaces here")
    attempt(tmp_path, SERVICE, isolate=isolate)
    tree = tmp_path / "payload/usr/lib/trading/tiny"
    assert (tree / "data").readlink() == Path("/var/lib/trading/tiny/data")
    assert not list(tree.rglob("seen"))


def test_a_service_cannot_reach_the_network_when_isolated(tmp_path: Path) -> None:
    if not can_isolate(Runner()):
        pytest.skip("bubblewrap is not installed, or may not make namespaces here")
    code = (
        "import pathlib\n"
        "print('interfaces:', pathlib.Path('/proc/net/dev').read_text().count(':'))\n"
        "pathlib.Path('service.py').write_text('x')\n"
    )
    with pytest.raises(StartError) as caught:
        attempt(tmp_path, code, isolate=True)
    said = "\n".join(caught.value.details)
    assert "interfaces: 1" in said
    assert "Read-only file system: 'service.py'" in said


@pytest.mark.parametrize(
    ("code", "said", "advice"),
    [
        ("import no_such_module", "No module named 'no_such_module'",
         "packaging/components/tiny.toml, [python] requirements or extra_requirements"),
        ("raise SystemExit(5)", "tiny: ended with exit code 5",
         "see the unit and its checks in packaging/components/tiny.toml"),
        (SERVICE.replace("healthy", "ill"), "expected value healthy at status, got ill",
         "see the unit and its checks in packaging/components/tiny.toml"),
    ],
)  # fmt: skip
def test_failure_shows_what_was_printed_and_names_the_key(
    tmp_path: Path, code: str, said: str, advice: str
) -> None:
    component, payload = service(tmp_path, code)
    unit = replace(component.units[0], deadline=2.0)
    component = replace(component, units=(unit,))
    described = describe(component, "1", "2026.11.23.1", "c" * 40)
    with pytest.raises(StartError, match="tiny does not start") as caught:
        prove(component, described, payload, PYTHON, isolate=False, runner=Runner())
    assert said in "\n".join(caught.value.details)
    assert advice in caught.value.hint


def test_a_program_that_the_environment_lacks_is_a_requirement_that_is_missing(
    tmp_path: Path,
) -> None:
    component, payload = service(tmp_path, "")
    unit = replace(component.units[0], exec=".venv/bin/gunicorn app")
    described = describe(component, "1", "2026.11.23.1", "c" * 40)
    with pytest.raises(StartError) as caught:
        prove(replace(component, units=(unit,)), described, payload, PYTHON,
              isolate=False, runner=Runner())  # fmt: skip
    assert "extra_requirements" in caught.value.hint
    assert "debstack lock --component tiny" in caught.value.hint
    assert ".venv/bin/gunicorn" in "\n".join(caught.value.details)


def test_a_trial_is_a_staging_machine_in_the_words_of_the_component(
    web: Component, payload: Path
) -> None:
    assert environment(planned(web, payload)[0])["TRADING_ENVIRONMENT"] == "staging"
    other = replace(web, environments={"staging": "test", "production": "live"})
    assert environment(planned(other, payload)[0])["TRADING_ENVIRONMENT"] == "test"


def test_secrets_are_given_as_on_the_server(web: Component, payload: Path) -> None:
    brought = SecretDefinition("WEB_TOKEN", generate=False)
    in_a_file = SecretDefinition("WEB_KEY", credential=True)
    env = environment(planned(replace(web, secrets=(brought, in_a_file)), payload)[0])
    assert env["WEB_KEY_FILE"] == "/t/etc/secrets/web/WEB_KEY"
    assert not env.keys() & {"WEB_TOKEN", "WEB_KEY", "WEB_TOKEN_FILE"}
