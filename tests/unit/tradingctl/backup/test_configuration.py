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
    ],
)
def test_a_mistake_is_named_with_its_line(machine: Machine, line: str, said: str) -> None:
    file = machine.write(FILE, f"# first\n{line}\n")
    with pytest.raises(BackupError) as raised:
        read_configuration(machine.paths)
    assert raised.value.message.startswith(f"{file}: line 2: {said}")
    assert raised.value.next_command == f"sensible-editor +2 {file}"


def test_a_repository_needs_a_password(machine: Machine) -> None:
    file = machine.write(FILE, "RESTIC_REPOSITORY=/srv/restic\n")
    with pytest.raises(BackupError, match="RESTIC_REPOSITORY is set, and neither RESTIC_PASSWORD"):
        read_configuration(machine.paths)
    assert file.read_text() == "RESTIC_REPOSITORY=/srv/restic\n"


QUOTES = "a value with {} needs single quotes"


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        *((f"RESTIC_PASSWORD=s3{char}cret", QUOTES.format(char)) for char in "$`;&|<>()"),
        *((f'RESTIC_PASSWORD="s3{char}cret"', QUOTES.format(char)) for char in "$`"),
        ("RESTIC_PASSWORD='s3'$cret", QUOTES.format("$")),
        ("RESTIC_REPOSITORY=~/restic", QUOTES.format("~")),
        ("RESTIC_REPOSITORY=sftp:~/restic", QUOTES.format("~")),
        ("RESTIC_PASSWORD= s3cret", "no blank comes after the ="),
        ("RESTIC_PASSWORD=s3cret\r", "no carriage return ends a line"),
        ("; why = because", "a comment begins with #"),
    ],
)
def test_what_a_shell_reads_otherwise_is_to_be_changed_first(
    machine: Machine, line: str, wanted: str
) -> None:
    file = machine.write(FILE, f"RESTIC_REPOSITORY=/srv/restic\nRESTIC_PASSWORD=a\n{line}\n")
    found = read_configuration(machine.paths)
    assert found.restic, "it is understood"
    assert found.shell == f"sensible-editor +3 {file}  # for a shell {wanted}"


@pytest.mark.parametrize(
    "value",
    [
        "s3cret", "'s3$`\\;&|<>()~cret'", '"s3;&|<>()~\'cret"', "s3\\$cret", "s3#~cret", "'~'/x",
        "a=b!*?[c]{d,e}", "'a'\"b\"c", '"a\\"b"', '"c:\\\\dir"', '"a\\b"',
    ],
)  # fmt: skip
def test_a_shell_reads_the_rest_alike(machine: Machine, value: str) -> None:
    file = machine.write(FILE, f"RESTIC_REPOSITORY=/srv/restic\nRESTIC_PASSWORD={value}\n")
    found = read_configuration(machine.paths)
    assert found.shell == ""
    read = found.restic["RESTIC_PASSWORD"]
    script = f"set -a; . {file}; printenv RESTIC_PASSWORD"
    said = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True)
    assert said.stdout == f"{read}\n"
