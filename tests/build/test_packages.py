"""What is inside the packages: modes, owners, traces of the machine, and what lintian says."""

from __future__ import annotations

import marshal
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest
from tests.build.conftest import BuiltProject
from tests.build.test_build import PACKAGES

from debstack.model.lock import read_lock
from debstack.process import Result, Runner, base_environment

pytestmark = pytest.mark.build
COMPONENTS = PACKAGES[:3]
_PYC_SAMPLE = 25


@dataclass(frozen=True)
class Contents:
    """A package's members by path, and the content of those that are checked."""

    members: dict[str, tarfile.TarInfo]
    texts: dict[str, str]
    traces: list[str]
    programs: dict[str, bytes]


@pytest.fixture(scope="module", params=PACKAGES)
def package(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def contents(package: str, built: BuiltProject) -> Contents:
    """Read the package once: the big one has 680 MB."""
    members: dict[str, tarfile.TarInfo] = {}
    texts: dict[str, str] = {}
    traces: list[str] = []
    programs: dict[str, bytes] = {}
    marks = _marks_of_this_machine(built)
    for member, content in _unpacked(built.deb(package)):
        name = member.name.removeprefix(".")
        members[name] = member
        traces += [f"{name} holds {mark.decode()}" for mark in marks if mark in content]
        if name.endswith(".pyc"):
            if len(programs) < _PYC_SAMPLE or "/.venv/" not in name:
                programs[name] = content
        elif member.isreg() and "/.venv/" not in name and b"\0" not in content:
            texts[name] = content.decode("utf-8", "replace")
    return Contents(members, texts, traces, programs)


def test_everything_belongs_to_root_and_nobody_else_may_write(contents: Contents) -> None:
    assert contents.members
    owners = {(m.uid, m.gid, m.uname, m.gname) for m in contents.members.values()}
    assert owners == {(0, 0, "root", "root")}
    modes = {m.mode for m in contents.members.values() if not m.issym()}
    assert modes <= {0o755, 0o644}


def test_every_file_carries_the_time_of_its_release(
    contents: Contents, package: str, built: BuiltProject
) -> None:
    timestamp = read_lock(built.project.lock_file).packages[package].timestamp
    assert {m.mtime for m in contents.members.values()} == {timestamp}


def test_nothing_tells_where_or_by_whom_it_was_built(contents: Contents) -> None:
    assert contents.traces == []


def test_byte_code_belongs_to_a_module_and_to_its_place(contents: Contents, package: str) -> None:
    compiled = [name for name in contents.members if name.endswith(".pyc")]
    assert bool(compiled) == (package in COMPONENTS)
    orphans = [name for name in compiled if _module_of(name) not in contents.members]
    assert orphans == []
    for name, content in contents.programs.items():
        # 1 is "valid by hash, never checked": neither time nor place of the source is in it.
        assert content[4:8] == b"\1\0\0\0", name
    if sys.version_info[:2] != (3, 11):
        pytest.skip("only Python 3.11 reads the byte code of Debian 12")
    wrong = {
        name: code.co_filename
        for name, content in contents.programs.items()
        if (code := marshal.loads(content[16:])).co_filename  # noqa: S302  (our own build)
        != _module_of(name).replace("/usr/lib/trading", "/opt/trading")
    }
    assert wrong == {}


def test_what_is_not_code_stays_out(contents: Contents) -> None:
    own = [name for name in contents.members if "/.venv/" not in name]
    unwanted = re.compile(r"/\.git(/|ignore$|$)|\.db$|/\.env$|/tests/|/etc/trading/secrets/")
    assert [name for name in own if unwanted.search(name)] == []
    junk = re.compile(r"/\.venv/(\.lock|\.gitignore|bin/activate.*|.*/direct_url\.json)$")
    assert [name for name in contents.members if junk.search(name)] == []
    assert not any(name.startswith(("/opt", "/var", "/home", "/root")) for name in contents.members)


def test_no_secret_is_inside(contents: Contents, built: BuiltProject) -> None:
    setting = re.compile(r"^[A-Z_]*(PASS|PASSWORD|TOKEN|KEY|SECRET)=(?!\.\.\.)", re.MULTILINE)
    assert [name for name, text in contents.texts.items() if setting.search(text)] == []
    assert [name for name, text in contents.texts.items() if "PRIVATE KEY" in text] == []
    assert contents.traces == []  # the secret halves of the keys are among what is looked for


def test_conffiles_are_the_files_in_etc(
    contents: Contents, package: str, built: BuiltProject
) -> None:
    listed = _control_file(built.deb(package), "conffiles").splitlines()
    etc = [name for name, m in contents.members.items() if m.isreg() and name.startswith("/etc/")]
    assert sorted(listed) == sorted(etc)


def test_settings_are_no_conffiles_which_dpkg_would_ask_about(
    contents: Contents, package: str
) -> None:
    expected = {
        "marketdata-stream": ["marketdata-stream.env"],
        "automatictrader-api": ["automatictrader-api.env"],
        "traderunner": ["traderunner.env", "trading.yaml"],
        "trading-ibgateway": ["ibgateway.env"],
    }
    assert not any(name.startswith("/etc/trading") for name in contents.members)
    folder = "/usr/share/trading/settings/"
    found = sorted(name for name in contents.members if name.startswith(folder))
    assert [name.removeprefix(folder) for name in found if name != folder] == expected.get(
        package, []
    )


@pytest.mark.parametrize("component", COMPONENTS)
def test_components_name_commit_and_what_they_need(component: str, built: BuiltProject) -> None:
    lock = read_lock(built.project.lock_file)
    deb = built.deb(component)
    assert _field(deb, "Git-Commit") == lock.components[component].commit
    assert lock.components[component].commit[:7] in _field(deb, "Version")
    depends = _field(deb, "Depends").split(", ")
    names = [each.split()[0] for each in depends]
    assert {"libc6", "python3.11", "traderunner-common"} <= set(names)
    assert {"python3 (>= 3.11~)", "python3 (<< 3.12~)"} <= set(depends)
    assert not any("${" in each for each in depends)


def test_the_stack_depends_on_exactly_these_components(built: BuiltProject) -> None:
    versions = {each["package"]: each["version"] for each in built.packages}
    depends = _field(built.deb("traderunner-stack"), "Depends").split(", ")
    assert {f"{name} (= {versions[name]})" for name in COMPONENTS} <= set(depends)


def test_lintian_finds_nothing(package: str, lintian: dict[str, Future[Result]]) -> None:
    result = lintian[package].result()
    said = [line for line in result.text.splitlines() if not line.startswith("N: ")]
    assert said == [], "\n".join(said)
    assert result.returncode == 0, result.stderr.decode()


def test_every_override_has_its_reason_above_it(contents: Contents, package: str) -> None:
    text = contents.texts[f"/usr/share/lintian/overrides/{package}"]
    explained, lines = False, text.splitlines()
    assert any(line.startswith(f"{package}: ") for line in lines)
    for line in lines:
        if line.startswith("# "):
            explained = True
        elif not line.strip():
            explained = False
        else:
            assert explained, f"no comment above: {line}"


def _marks_of_this_machine(built: BuiltProject) -> list[bytes]:
    """Return what must be in no file: paths of the build, and the secret halves of the keys."""
    paths = [built.project.root, Path.home() / ".cache", Path(sys.prefix), "/tmp/debstack-"]
    keys = list((built.project.root / "build/keys").glob("*.key"))
    assert len(keys) == 2
    # Of an ed25519 key in a packet of OpenPGP (RFC 9580, 5.5.3), within its 32 secret bytes.
    return [*(str(path).encode() for path in paths), *(key.read_bytes()[58:78] for key in keys)]


def _unpacked(deb: Path) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    command = ["dpkg-deb", "--fsys-tarfile", str(deb)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=base_environment()) as process:
        assert process.stdout is not None
        with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isreg() else None
                yield member, file.read() if file else b""
    assert process.returncode == 0


def _module_of(pyc: str) -> str:
    path = PurePosixPath(pyc)
    return str(path.parent.parent / f"{path.name.split('.cpython-')[0]}.py")


def _control_file(deb: Path, name: str) -> str:
    found = Runner().capture(["dpkg-deb", "--info", deb, name], check=False)
    return found.text if found.returncode == 0 else ""


def _field(deb: Path, name: str) -> str:
    return Runner().capture(["dpkg-deb", "--field", deb, name]).text.strip()
