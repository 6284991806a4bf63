"""Settings follow the release until the administrator edits them; then they are his."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from tests.unit.tradingctl.fakes import FakeSystem, Machine, stream

from tradingctl.cli import main
from tradingctl.process import NOTHING, Outcome

NAME = "feed.env"
FILE = "/etc/trading/feed.env"
BESIDE = "etc/trading/feed.env.ucf-dist"
DEFAULT = "usr/share/trading/settings/feed.env"


@dataclass
class Ucf(FakeSystem):
    """ucf as it behaves: UCF_FORCE_CONFFOLD keeps any file and puts a changed default beside it.

    ``made_from`` is its record, ``owners`` that of ucfr.
    """

    machine: Machine | None = None
    made_from: dict[str, str] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)

    def run(
        self, command: Sequence[str], timeout: float = 60.0, extra: Mapping[str, str] = NOTHING
    ) -> Outcome:
        """Answer as ucf, ucfq and ucfr would."""
        outcome = super().run(command, timeout, extra)
        words = [word for word in command if "=" not in word and not word.startswith("--")]
        program = words[1] if words[0] == "env" else words[0]
        if outcome.code or program not in ("ucf", "ucfq", "ucfr"):
            return outcome
        assert self.machine
        path = self.machine.root / words[-1].lstrip("/")
        if program == "ucfr":
            if self.owners.get(words[-1], words[-2]) != words[-2] and "--force" not in command:
                return Outcome(tuple(command), 4, "", "ucfr: Aborting.")
            self.owners[words[-1]] = words[-2]
        elif program == "ucf":
            new = (self.machine.root / words[-2].lstrip("/")).read_text()
            changed = self.made_from.get(words[-1]) != new
            if changed and "UCF_FORCE_CONFFOLD=1" in command:
                path.with_name(path.name + ".ucf-dist").write_text(new)
            elif changed:
                assert path.read_text() == new, "ucf would ask"
            self.made_from[words[-1]] = new
        else:
            made_from = self.made_from.get(words[-1])
            exists = "Yes" if path.exists() else ""
            edited = ""
            if exists and made_from is not None:
                edited = "No" if path.read_text() == made_from else "Yes"
            said = ":".join((words[-1], self.owners.get(words[-1], ""), exists, edited))
            return Outcome(tuple(command), 0, said + "\n")
        return outcome


@pytest.fixture
def ucf(machine: Machine) -> Ucf:
    """Give the machine a ucf, and a directory for settings."""
    system = Ucf(machine=machine)
    machine.system = system
    (machine.root / "etc/trading").mkdir(parents=True, exist_ok=True)
    return system


def release(machine: Machine, default: str) -> None:
    """Install a release with this default, as its postinst does."""
    machine.write(DEFAULT, default)
    assert main(["settings", "feed", NAME], machine.server) == 0, machine.err.getvalue()


@pytest.mark.parametrize(
    ("default", "text"), [("ONE=1\n", "ONE=1\n"), ("ONE=2\n", "ONE=1\n"), ("ONE=1\n", "MINE=1\n")]
)
def test_settings_of_another_package_go_over_to_the_one_that_brings_them_now(
    machine: Machine, ucf: Ucf, default: str, text: str
) -> None:
    release(machine, "ONE=1\n")
    machine.write(FILE.lstrip("/"), text)
    ucf.owners[FILE] = "gone"
    release(machine, default)
    assert ucf.owners[FILE] == "feed"
    assert "ucfr does not record" not in machine.err.getvalue()


def test_new_settings_are_made_for_everybody_to_read(machine: Machine, ucf: Ucf) -> None:
    release(machine, "ONE=1\n")
    file = machine.root / "etc/trading/feed.env"
    assert (file.read_text(), file.stat().st_mode) == ("ONE=1\n", 0o100644)
    assert ucf.owners == {FILE: "feed"}
    assert ucf.made_from == {FILE: "ONE=1\n"}
    assert f"settings: {FILE} follows the release: it is new" in machine.err.getvalue()


def test_unedited_settings_follow_the_release_forwards_and_back(machine: Machine, ucf: Ucf) -> None:
    file = machine.root / "etc/trading/feed.env"
    release(machine, "ONE=1\n")
    file.chmod(0o600)
    for default in ("TWO=2\n", "THREE=3\n", "ONE=1\n"):
        release(machine, default)
        assert file.read_text() == default
    assert file.stat().st_mode == 0o100600, "a mode is not a setting"
    assert not (machine.root / BESIDE).exists()


def test_edited_settings_stay_to_the_letter_and_the_new_default_lies_beside(
    machine: Machine, ucf: Ucf
) -> None:
    release(machine, "MODE=plan-only\n")
    file = machine.write("etc/trading/feed.env", "MODE=paper-send")
    before = file.stat()
    release(machine, "MODE=plan-only\n")
    assert not (machine.root / BESIDE).exists(), "there is nothing new to tell"
    for default in ("MODE=plan-only\nNEW=1\n", "MODE=plan-only\n"):
        release(machine, default)
        assert file.stat() == before, "not touched at all"
        assert (machine.root / BESIDE).read_text() == default
    assert f"{FILE} is the administrator's and stays" in machine.err.getvalue()


def test_the_default_beside_goes_when_the_administrator_takes_it(
    machine: Machine, ucf: Ucf
) -> None:
    release(machine, "ONE=1\n")
    machine.write("etc/trading/feed.env", "MINE=1\n")
    release(machine, "TWO=2\n")
    machine.write("etc/trading/feed.env", "TWO=2\n")
    release(machine, "TWO=2\n")
    assert not (machine.root / BESIDE).exists()
    release(machine, "THREE=3\n")
    assert (machine.root / "etc/trading/feed.env").read_text() == "THREE=3\n", "it follows again"


def test_deleted_settings_stay_deleted(machine: Machine, ucf: Ucf) -> None:
    release(machine, "ONE=1\n")
    (machine.root / "etc/trading/feed.env").unlink()
    release(machine, "TWO=2\n")
    assert list((machine.root / "etc/trading").iterdir()) == []


def test_settings_written_before_the_first_installation_stay(machine: Machine, ucf: Ucf) -> None:
    file = machine.write("etc/trading/feed.env", "MINE=1\n")
    release(machine, "ONE=1\n")
    assert file.read_text() == "MINE=1\n"
    assert (machine.root / BESIDE).read_text() == "ONE=1\n"


def test_a_link_is_the_administrators(machine: Machine, ucf: Ucf) -> None:
    elsewhere = machine.write("srv/feed.env", "ONE=1\n")
    (machine.root / "etc/trading/feed.env").symlink_to(elsewhere)
    release(machine, "ONE=1\n")
    release(machine, "TWO=2\n")
    assert elsewhere.read_text() == "ONE=1\n"
    assert (machine.root / "etc/trading/feed.env").is_symlink()


def test_an_installation_cut_short_is_finished_by_the_next(machine: Machine, ucf: Ucf) -> None:
    release(machine, "ONE=1\n")
    # The file was written, and the power failed before ucf was told.
    machine.write("etc/trading/feed.env", "TWO=2\n")
    release(machine, "TWO=2\n")
    assert ucf.made_from == {FILE: "TWO=2\n"}
    release(machine, "THREE=3\n")
    assert (machine.root / "etc/trading/feed.env").read_text() == "THREE=3\n"


def test_ucf_is_told_to_keep_edited_files_only(machine: Machine, ucf: Ucf) -> None:
    release(machine, "ONE=1\n")
    assert ucf.ran("env") == [
        f"env DEBIAN_FRONTEND=noninteractive ucf --debconf-ok /{DEFAULT} {FILE}"
    ]
    release(machine, "ONE=1\n")
    assert len(ucf.ran("env")) == 1, "nothing has changed"
    machine.write("etc/trading/feed.env", "MINE=1\n")
    release(machine, "TWO=2\n")
    assert "UCF_FORCE_CONFFOLD=1 ucf" in ucf.ran("env")[-1]


def test_a_record_that_cannot_be_written_is_a_warning(machine: Machine, ucf: Ucf) -> None:
    ucf.codes = {"env DEBIAN_FRONTEND": 1, "ucfr": 1}
    release(machine, "ONE=1\n")
    assert (machine.root / "etc/trading/feed.env").read_text() == "ONE=1\n"
    assert f"warning: ucf does not record {FILE}: env refused" in machine.err.getvalue()
    assert f"warning: ucfr does not record {FILE}: ucfr refused" in machine.err.getvalue()


def test_without_the_record_nothing_is_touched(machine: Machine, ucf: Ucf) -> None:
    machine.write(DEFAULT, "ONE=1\n")
    file = machine.write("etc/trading/feed.env", "MINE=1\n")
    ucf.codes = {"ucfq": 2}
    assert main(["settings", "feed", NAME], machine.server) == 5
    assert "ucfq says: ucfq refused" in machine.err.getvalue()
    assert file.read_text() == "MINE=1\n"


def test_a_dry_run_tells_what_and_why(machine: Machine, ucf: Ucf) -> None:
    machine.euid = 1000
    machine.write(DEFAULT, "ONE=1\n")
    assert main(["settings", "--dry-run", "feed", NAME], machine.server) == 0
    assert machine.out.getvalue() == f"follow   {FILE}: it is new\n"
    assert not (machine.root / "etc/trading/feed.env").exists()
    assert main(["settings", "feed", NAME], machine.server) == 5
    assert f"sudo tradingctl settings feed {NAME}" in machine.err.getvalue()


@pytest.mark.parametrize("name", ["../passwd", "/etc/passwd", ".env", "a b"])
def test_only_files_of_settings_are_settings(machine: Machine, ucf: Ucf, name: str) -> None:
    assert main(["settings", "feed", name], machine.server) == 5
    assert "is not the name of a file of settings" in machine.err.getvalue()


def test_a_missing_default_is_named(machine: Machine, ucf: Ucf) -> None:
    assert main(["settings", "feed", NAME], machine.server) == 5
    assert f"/{DEFAULT} is missing" in machine.err.getvalue()


def test_the_status_tells_what_lies_beside_the_settings(machine: Machine, ucf: Ucf) -> None:
    machine.describe(stream())
    for suffix in ("", ".ucf-dist"):
        machine.write(f"etc/trading/same.env{suffix}", "ONE=1\n")
    for name in ("feed.env", "feed.env.ucf-dist", "web.env", "web.env.dpkg-old"):
        machine.write(f"etc/trading/{name}", f"{name}\n")
    machine.write("etc/trading/orphan.env.ucf-dist", "the file itself is gone\n")
    machine.write("usr/share/trading/settings/gone.env", "ONE=1\n")
    assert main(["status", "--json"], machine.server) == 0
    assert json.loads(machine.out.getvalue())["settings"] == [
        {
            "file": FILE,
            "beside": f"{FILE}.ucf-dist",
            "text": f"{FILE} is the administrator's; the release's new default lies in"
            " feed.env.ucf-dist, to be removed when merged",
            "next_command": f"diff -u {FILE} {FILE}.ucf-dist",
        },
        {
            "file": "/etc/trading/web.env",
            "beside": "/etc/trading/web.env.dpkg-old",
            "text": "/etc/trading/web.env was replaced; the administrator's earlier one lies in"
            " web.env.dpkg-old, to be removed when merged",
            "next_command": "diff -u /etc/trading/web.env /etc/trading/web.env.dpkg-old",
        },
        {
            "file": "/etc/trading/gone.env",
            "beside": "/usr/share/trading/settings/gone.env",
            "text": "/etc/trading/gone.env does not exist; the release's default is"
            " /usr/share/trading/settings/gone.env",
            "next_command": "cp /usr/share/trading/settings/gone.env /etc/trading/gone.env",
        },
    ]
    assert main(["status"], machine.server) == 0
    assert f"settings     {FILE} is the administrator's; the release's" in machine.out.getvalue()
    assert f"             next: diff -u {FILE} {FILE}.ucf-dist" in machine.out.getvalue()
