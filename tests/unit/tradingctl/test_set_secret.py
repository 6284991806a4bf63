"""Setting a secret: in every component that knows it, where it belongs, and never on a screen."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from tests.unit.tradingctl.fakes import Machine, stream, stream_unit

from tradingctl import files
from tradingctl.cli import main
from tradingctl.deploy.history import read_events
from tradingctl.description import Component, Secret
from tradingctl.envfile import read_variables

VALUE = "s3cr3t and \"quoted\" 'value' $x"
API, WEB = "etc/trading/secrets/api.env", "etc/trading/secrets/web.env"
FEED = "etc/trading/secrets/feed.env"
KEY_FILE = "etc/trading/secrets/feed/KEY"


def component(name: str, *secrets: Secret) -> Component:
    return stream(name=name, package=name, secrets=secrets, units=(stream_unit(name=name),))


@pytest.fixture
def stack(machine: Machine) -> Machine:
    """Give a machine whose API and dashboard share a token, and whose feed has a credential."""
    machine.describe(
        component("api", Secret("TOKEN", generate=False)),
        component("web", Secret("TOKEN", 40), Secret("PASS")),
        component("feed", Secret("KEY", generate=False, credential=True)),
    )
    return machine


def given(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def variables(machine: Machine, relative: str) -> dict[str, str]:
    return dict(read_variables(machine.root / relative))


def test_a_value_from_standard_input_goes_to_all_who_share_it(
    stack: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = stack.write(API, "# mine\nA=1\nTOKEN='old' \nexport TOKEN=older\nB='x\ny'\n")
    api.chmod(0o644)
    given(monkeypatch, f"{VALUE}\n")
    assert main(["secret", "TOKEN"], stack.server) == 0
    assert variables(stack, API) == {"A": "1", "B": "x\ny", "TOKEN": VALUE}
    assert api.read_text().startswith("# mine\nA=1\nB='x\ny'\nTOKEN=")
    assert variables(stack, WEB)["TOKEN"] == VALUE
    for file in (API, WEB):
        assert (stack.root / file).stat().st_mode & 0o777 == 0o640
    said = stack.out.getvalue() + stack.err.getvalue()
    assert "TOKEN is in /etc/trading/secrets/api.env" in said
    assert "systemctl restart api.service web.service" in said
    assert "s3cr3t" not in said
    (event,) = read_events(stack.server)
    assert (event.event, event.detail) == ("secret", "TOKEN set for api, web")


def test_a_generated_one_is_the_same_and_long_enough_for_both(stack: Machine) -> None:
    assert main(["secret", "TOKEN", "--generate"], stack.server) == 0
    value = variables(stack, API)["TOKEN"]
    assert len(value) == 40
    assert variables(stack, WEB)["TOKEN"] == value
    assert value not in stack.out.getvalue() + stack.err.getvalue()


def test_one_component_alone(stack: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, "abc\n")
    assert main(["secret", "TOKEN", "--component", "web"], stack.server) == 0
    assert not (stack.root / API).exists()
    assert variables(stack, WEB)["TOKEN"] == "abc"


def test_a_credential_is_a_file_for_root_and_no_variable_beside_it(
    stack: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.write(FEED, "KEY=old\nA=1\n")
    given(monkeypatch, "new\n")
    assert main(["secret", "KEY"], stack.server) == 0
    assert (stack.root / KEY_FILE).read_text() == "new"
    assert (stack.root / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert (stack.root / KEY_FILE).parent.stat().st_mode & 0o777 == 0o700
    assert (stack.root / FEED).read_text() == "A=1\n"


@pytest.mark.parametrize("origin", [FEED, "etc/trading/feed.env"])
def test_moving_keeps_the_value_that_is_in_force(stack: Machine, origin: str) -> None:
    stack.write(origin, "KEY='the one'\nA=1\n")
    assert main(["secret", "KEY", "--move"], stack.server) == 0
    assert (stack.root / KEY_FILE).read_text() == "the one"
    assert (stack.root / origin).read_text() == "A=1\n"
    before = (stack.root / KEY_FILE).read_text()
    assert main(["secret", "KEY", "--move"], stack.server) == 0
    assert (stack.root / KEY_FILE).read_text() == before


def test_moving_out_of_the_settings_keeps_their_rights(stack: Machine) -> None:
    settings = stack.write("etc/trading/api.env", "TOKEN=abc\nA=1\n")
    settings.chmod(0o644)
    assert main(["secret", "TOKEN", "--move", "--component", "api"], stack.server) == 0
    assert settings.read_text() == "A=1\n"
    assert settings.stat().st_mode & 0o777 == 0o644
    assert variables(stack, API)["TOKEN"] == "abc"


@pytest.mark.parametrize("typed", ["", "\n", "a\tb\n", "a\x1bb\n"])
def test_what_is_no_secret_changes_nothing(
    stack: Machine, monkeypatch: pytest.MonkeyPatch, typed: str
) -> None:
    stack.write(API, "TOKEN=old\n")
    given(monkeypatch, typed)
    assert main(["secret", "TOKEN"], stack.server) == 5
    assert variables(stack, API) == {"TOKEN": "old"}
    assert not (stack.root / WEB).exists()


def test_a_file_that_is_not_understood_is_left_with_all_others(
    stack: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "A='it begins\nTOKEN=in the middle\n'\nTOKEN=abc\n"
    stack.write(WEB, text)
    stack.write(API, "TOKEN=old\n")
    given(monkeypatch, "new\n")
    assert main(["secret", "TOKEN"], stack.server) == 5
    assert "is not understood; nothing was changed" in stack.err.getvalue()
    assert (stack.root / WEB).read_text() == text
    assert variables(stack, API) == {"TOKEN": "old"}


def test_an_undeclared_one_is_refused_with_those_there_are(stack: Machine) -> None:
    assert main(["secret", "OTHER", "--generate"], stack.server) == 5
    assert "OTHER is no declared secret; there are: KEY, PASS, TOKEN" in stack.err.getvalue()


def test_moving_what_is_not_there_is_refused(stack: Machine) -> None:
    assert main(["secret", "KEY", "--move"], stack.server) == 5
    assert "feed has no KEY yet" in stack.err.getvalue()


SHARED = "etc/trading/environment"


@pytest.mark.parametrize("move", [True, False])
def test_a_credential_leaves_the_file_of_all_components(
    stack: Machine, monkeypatch: pytest.MonkeyPatch, move: bool
) -> None:
    stack.write(SHARED, "TRADING_ENVIRONMENT=staging\nKEY=old\n")
    given(monkeypatch, "new\n")
    assert main(["secret", "KEY", *["--move"] * move], stack.server) == 0
    assert (stack.root / KEY_FILE).read_text() == ("old" if move else "new")
    assert (stack.root / SHARED).read_text() == "TRADING_ENVIRONMENT=staging\n"


def test_what_all_read_is_moved_for_all_or_not_at_all(stack: Machine) -> None:
    stack.write(SHARED, "TOKEN=abc\n")
    assert main(["secret", "TOKEN", "--move", "--component", "web"], stack.server) == 5
    assert "which is read by api as well; nothing was changed" in stack.err.getvalue()
    assert "next: tradingctl secret TOKEN --move" in stack.err.getvalue()
    assert (stack.root / SHARED).read_text() == "TOKEN=abc\n"
    assert not (stack.root / WEB).exists()
    assert main(["secret", "TOKEN", "--move"], stack.server) == 0
    assert (stack.root / SHARED).read_text() == ""
    assert variables(stack, API)["TOKEN"] == variables(stack, WEB)["TOKEN"] == "abc"


def test_one_that_nobody_declares_is_moved_as_a_line_of_its_own(stack: Machine) -> None:
    stack.write(API, "TOKEN=abc")  # the last line does not end
    stack.write("etc/trading/api.env", "IB_PASSWORD=hush\nA=1\n")
    assert main(["secret", "IB_PASSWORD", "--move", "--component", "api"], stack.server) == 0
    assert variables(stack, API) == {"TOKEN": "abc", "IB_PASSWORD": "hush"}
    assert (stack.root / "etc/trading/api.env").read_text() == "A=1\n"
    assert not (stack.root / WEB).exists()
    assert "hush" not in stack.out.getvalue() + stack.err.getvalue()


def test_one_that_nobody_declares_stays_with_all_who_read_it(stack: Machine) -> None:
    stack.write(SHARED, "IB_PASSWORD=hush\nTRADING_ENVIRONMENT=staging\n")
    assert main(["secret", "IB_PASSWORD", "--move", "--component", "api"], stack.server) == 5
    assert main(["secret", "IB_PASSWORD", "--move"], stack.server) == 0
    for file in (API, WEB, FEED):
        assert variables(stack, file)["IB_PASSWORD"] == "hush"
    assert main(["secret", "TRADING_ENVIRONMENT", "--move"], stack.server) == 5
    assert (stack.root / SHARED).read_text() == "TRADING_ENVIRONMENT=staging\n"


def test_what_is_moved_is_at_no_moment_nowhere(
    stack: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.write("etc/trading/api.env", "TOKEN=abc\n")
    stack.write("etc/trading/web.env", "TOKEN=abc\n")
    write_whole = files.write_whole

    def watched(*given: Any, **named: Any) -> None:
        write_whole(*given, **named)
        for name in ("api", "web"):
            places = (f"etc/trading/{name}.env", f"etc/trading/secrets/{name}.env")
            assert any("TOKEN" in variables(stack, each) for each in places)

    monkeypatch.setattr("tradingctl.set_secret.write_whole", watched)
    assert main(["secret", "TOKEN", "--move"], stack.server) == 0
    assert variables(stack, "etc/trading/api.env") == {}


def test_a_link_of_the_administrators_is_followed(stack: Machine) -> None:
    real = stack.write("srv/api.env", "A=1\n")
    stack.paths.secrets.mkdir(parents=True)
    (stack.root / API).symlink_to(real)
    command = ["secret", "TOKEN", "--generate", "--component", "api"]
    assert main(command, stack.server) == 0
    assert (stack.root / API).is_symlink()
    assert "TOKEN" in dict(read_variables(real))


def test_only_root_may(stack: Machine, tmp_path: Path) -> None:
    stack.euid = 1000
    assert main(["secret", "TOKEN", "--generate"], stack.server) == 5
    assert "sudo tradingctl secret TOKEN" in stack.err.getvalue()
