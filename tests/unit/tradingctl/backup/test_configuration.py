"""/etc/trading/backup.env."""

from __future__ import annotations

import subprocess

import pytest
from tests.unit.tradingctl.fakes import Machine

from tradingctl.backup.configuration import Configuration, Keep, read_configuration
from tradingctl.errors import BackupError

FILE = "etc/trading/backup.env"


def test_no_file_is_the_defaults(machine: Machine) -> None:
    assert read_configuration(machine.paths) == Configuration(Keep(12, 24, 14, 5, 7), {})


def test_what_is_written_counts(machine: Machine) -> None:
    machine.write(
        FILE,
        "# how long\n\nBACKUP_KEEP_LAST=3\nBACKUP_KEEP_UPGRADE=0\n"
        "RESTIC_REPOSITORY='s3:https://s3.example.org/b'\nexport RESTIC_PASSWORD=\"a b\"\n"
        "AWS_ACCESS_KEY_ID=key\n",
    )
    assert read_configuration(machine.paths) == Configuration(
        Keep(last=3, upgrade=0),
        {
            "RESTIC_REPOSITORY": "s3:https://s3.example.org/b",
            "RESTIC_PASSWORD": "a b",
            "AWS_ACCESS_KEY_ID": "key",
        },
    )


def test_without_a_repository_there_is_no_restic(machine: Machine) -> None:
    machine.write(FILE, "RESTIC_PASSWORD=x\nRESTIC_REPOSITORY=\n")
    assert read_configuration(machine.paths).restic == {}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("BACKUP_KEEP_LASST=3", "unknown key 'BACKUP_KEEP_LASST'"),
        ("BACKUP_LAST=3", "unknown key 'BACKUP_LAST'"),
        ("RESTC_REPOSITORY=/x", "unknown key 'RESTC_REPOSITORY'"),
        ("BACKUP_KEEP_LAST=0", "BACKUP_KEEP_LAST: expected a number, 1 or more, got '0'"),
        ("BACKUP_KEEP_DAILY=-1", "BACKUP_KEEP_DAILY: expected a number, 0 or more, got '-1'"),
        ("BACKUP_KEEP_DAILY=two", "BACKUP_KEEP_DAILY: expected a number, 0 or more, got 'two'"),
        ("BACKUP_KEEP_DAILY", "expected NAME=value"),
        ("RESTIC_PASSWORD=a b", "RESTIC_PASSWORD: a value with blanks needs quotes"),
        ("RESTIC_PASSWORD='a", "RESTIC_PASSWORD: No closing quotation"),
        ("RESTIC_PASSWORD= a", "RESTIC_PASSWORD: a blank after the = ends the value for a shell"),
    ],
)
def test_a_mistake_is_named_with_its_line(machine: Machine, line: str, said: str) -> None:
    file = machine.write(FILE, f"# first\n{line}\n")
    with pytest.raises(BackupError) as raised:
        read_configuration(machine.paths)
    assert raised.value.message.startswith(f"{file}: line 2: {said}")
    assert raised.value.next_command == f"editor +2 {file}"


def test_a_repository_needs_a_password(machine: Machine) -> None:
    file = machine.write(FILE, "RESTIC_REPOSITORY=/srv/restic\n")
    with pytest.raises(BackupError, match="RESTIC_REPOSITORY is set, and neither RESTIC_PASSWORD"):
        read_configuration(machine.paths)
    assert file.read_text() == "RESTIC_REPOSITORY=/srv/restic\n"


@pytest.mark.parametrize(
    ("value", "special"),
    [
        *((f"s3{char}cret", char) for char in "$`;&|<>()"),
        *((f'"s3{char}cret"', char) for char in "$`\\"),
        ("'s3'$cret", "$"),
        ("~/restic", "~"),
        ("sftp:~/restic", "~"),
    ],
)
def test_what_a_shell_would_read_otherwise_is_refused(
    machine: Machine, value: str, special: str
) -> None:
    file = machine.write(FILE, f"# first\nRESTIC_PASSWORD={value}\n")
    with pytest.raises(BackupError) as raised:
        read_configuration(machine.paths)
    assert raised.value.message == (
        f"{file}: line 2: RESTIC_PASSWORD: a shell, which reads this file for whoever types a"
        f" command of restic, takes {special} for more than a character: the value needs single"
        " quotes"
    )
    assert raised.value.next_command == f"editor +2 {file}"


@pytest.mark.parametrize(
    "value",
    [
        "s3cret", "'s3$`\\;&|<>()~cret'", '"s3;&|<>()~\'cret"', "s3\\$cret", "s3#~cret", "'~'/x",
        "a=b!*?[c]{d,e}", "'a'\"b\"c",
    ],
)  # fmt: skip
def test_a_shell_reads_the_rest_alike(machine: Machine, value: str) -> None:
    file = machine.write(FILE, f"RESTIC_REPOSITORY=/srv/restic\nRESTIC_PASSWORD={value}\n")
    read = read_configuration(machine.paths).restic["RESTIC_PASSWORD"]
    script = f"set -a; . {file}; printenv RESTIC_PASSWORD"
    said = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True)
    assert said.stdout == f"{read}\n"
