"""What debconf and the scripts of the common package make of a machine: staging or production.

They are run by debconf's own programs, with a database of their own and the tradingctl of here.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.golden.trees import rendered

FRONTEND = Path("/usr/share/debconf/frontend")
pytestmark = [
    pytest.mark.build,
    pytest.mark.skipif(not FRONTEND.exists(), reason="debconf is not installed"),
    pytest.mark.skipif(os.geteuid() != 0, reason="tradingctl environment is for root"),
]

SOURCE = Path(__file__).parents[2] / "src"
PACKAGE = "traderunner-common"
QUESTION = f"{PACKAGE}/environment"
FILE = "etc/trading/environment"
PRODUCTION = "TRADING_ENVIRONMENT=production\n"
RC = """\
Config: configdb
Templates: templatedb

Name: configdb
Driver: File
Mode: 600
Filename: {folder}/config.dat

Name: templatedb
Driver: File
Mode: 600
Filename: {folder}/templates.dat
"""


@dataclass(frozen=True)
class Server:
    """A tree that the scripts take for a server's, and the folder of scripts and database."""

    root: Path
    folder: Path

    def run(self, *words: str, answers: str = "", **more: str) -> None:
        """Run a program with this database; nobody is asked."""
        subprocess.run(
            words,
            env={
                "PATH": f"{self.folder}/programs:/usr/sbin:/usr/bin:/sbin:/bin",
                "DEBIAN_FRONTEND": "noninteractive",
                "DEBCONF_NONINTERACTIVE_SEEN": "true",
                "DEBCONF_SYSTEMRC": str(self.folder / "rc"),
                "DEBCONF_NOWARNINGS": "yes",
                **more,
            },
            input=answers,
            text=True,
            check=True,
        )

    def preseed(self, answer: str) -> None:
        """Answer the question before it is asked."""
        self.run("debconf-set-selections", answers=f"{PACKAGE} {QUESTION} select {answer}\n")

    def configure(self, before: str = "") -> None:
        """Do what dpkg does; ``before`` is the version that was configured last."""
        script = str(self.folder / f"{PACKAGE}.postinst")
        self.run("perl", str(FRONTEND), script, "configure", before)

    def reconfigure(self) -> None:
        """Do what dpkg-reconfigure does."""
        for script, action in (("config", "reconfigure"), ("postinst", "configure")):
            self.run(
                "perl", str(FRONTEND), str(self.folder / f"{PACKAGE}.{script}"), action, "1.0",
                DEBCONF_RECONFIGURE="1", DEBCONF_PACKAGE=PACKAGE,
            )  # fmt: skip

    @property
    def file(self) -> Path:
        """What says which of both the machine is."""
        return self.root / FILE

    def write(self, text: str) -> None:
        """Write it as an administrator does."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(text)

    def remembered(self) -> tuple[str, bool]:
        """Return debconf's answer, and whether it counts as given."""
        text = (self.folder / "config.dat").read_text()
        (entry,) = re.findall(rf"^Name: {QUESTION}\n(?:.+\n)*", text, re.MULTILINE)
        found = re.search(r"^Value: (.*)$", entry, re.MULTILINE)
        return found[1] if found else "", "Flags: seen" in entry


@pytest.fixture(scope="module")
def scripts() -> dict[str, str]:
    tree = rendered()[f"common/{PACKAGE}"]
    return {name: tree[f"debian/{name}"][0] for name in ("config", "postinst", "templates")}


@pytest.fixture
def server(tmp_path: Path, scripts: dict[str, str]) -> Server:
    made = Server(tmp_path / "root", tmp_path)
    (tmp_path / "programs").mkdir()
    made.root.mkdir()
    (tmp_path / "rc").write_text(RC.format(folder=tmp_path))
    program = tmp_path / "programs/tradingctl"
    program.write_text(
        f"#!/bin/sh\nexport DPKG_ROOT={made.root} PYTHONPATH={SOURCE}\n"
        f'exec {sys.executable} -B -m tradingctl "$@"\n'
    )
    program.chmod(0o755)
    for name, text in scripts.items():
        place = tmp_path / f"{PACKAGE}.{name}"
        place.write_text(re.sub(r"(?<!\w)/(?=(?:etc|opt|run)/)", f"{made.root}/", text))
        place.chmod(0o755)
    return made


def test_a_first_installation_writes_the_answer(server: Server) -> None:
    server.preseed("production")
    server.configure()
    assert server.file.read_text().endswith(PRODUCTION)


def test_a_first_installation_that_nobody_answers_is_staging(server: Server) -> None:
    server.configure()
    assert server.file.read_text().endswith("TRADING_ENVIRONMENT=staging\n")


def test_a_tree_by_hand_is_asked_at_the_first_installation_alone(server: Server) -> None:
    tree = server.root / "opt/trading/by-hand/.env"
    tree.parent.mkdir(parents=True)
    tree.write_text(f"export {PRODUCTION}")
    server.configure()
    assert server.file.read_text().endswith(PRODUCTION)
    server.file.unlink()
    server.configure("1.0")
    server.reconfigure()
    assert server.file.read_text().endswith("TRADING_ENVIRONMENT=staging\n")


def test_what_was_production_and_lost_its_file_is_production_no_more(server: Server) -> None:
    server.preseed("production")
    server.configure()
    server.file.unlink()
    server.configure("1.0")
    assert not server.file.exists()
    assert server.remembered() == ("staging", False)
    server.configure("1.1")
    assert not server.file.exists()
    server.reconfigure()
    assert server.file.read_text().endswith("TRADING_ENVIRONMENT=staging\n")


def test_reconfigured_it_is_production_no_more_either(server: Server) -> None:
    server.preseed("production")
    server.configure()
    server.file.unlink()
    server.reconfigure()
    assert server.file.read_text().endswith("TRADING_ENVIRONMENT=staging\n")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (PRODUCTION, "production"),
        ("# mine\nTRADING_ENVIRONMENT = 'staging'\n", "staging"),
        ("TRADING_ENVIRONMENT=dev\n", ""),
        ('TRADING_ENVIRONMENT="production\n', ""),
        ("TRADING_ENVIRONMENT=production (no)\n", ""),
        ("TRADING_ENVIRONMENT=production # since\n", ""),
        ('A="\nTRADING_ENVIRONMENT=production\n"\n', ""),
        ("A=1\n", ""),
    ],
)
@pytest.mark.parametrize("before", ["", "1.0"])
def test_what_is_written_stays_and_is_what_debconf_remembers(
    server: Server, text: str, answer: str, before: str
) -> None:
    server.preseed("production")
    server.write(text)
    server.configure(before)
    assert server.file.read_text() == text
    assert server.remembered()[0] == answer
    server.reconfigure()
    assert server.file.read_text() == text


def test_without_a_tradingctl_nothing_is_read(server: Server) -> None:
    server.preseed("production")
    server.write("TRADING_ENVIRONMENT=staging\n")
    (server.folder / "programs/tradingctl").unlink()
    server.configure("1.0")
    assert server.remembered()[0] == ""
