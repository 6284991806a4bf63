"""The archive's channels as the apt of each Debian release uses them, from disk and over HTTP.

The packages have a few bytes; everything around them is real: apt, its keys, its checks of time.
"""

from __future__ import annotations

import gzip
import lzma
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.build.channels import Keys, Shop, make_keys
from tests.system.machine import Machine, Result
from tests.system.stack import apt

from debstack.archive.tree import Tree

pytestmark = pytest.mark.system

SERVED, TRUSTED = "/srv/archives", "/etc/apt/keyrings"
PORT = 8000
RELEASES = pytest.mark.parametrize("os_release", ["bookworm", "trixie"], indirect=True)
TRANSPORTS = pytest.mark.parametrize("transport", ["file", "http"])
# Where the two do not depend on each other.
RELEASES_AND_TRANSPORTS = pytest.mark.parametrize(
    ("os_release", "transport"),
    [("bookworm", "file"), ("trixie", "http")],
    indirect=["os_release"],
)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("gnupg") / "home")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("releases")


@pytest.fixture
def archives(tmp_path: Path) -> Path:
    """Return the folder that the machine serves."""
    (tmp_path / "archives").mkdir()
    return tmp_path / "archives"


@pytest.fixture
def shop(archives: Path, source: Path, keys: Keys) -> Shop:
    return Shop(archives / "shop", source, keys, datetime.now(UTC))


@pytest.fixture
def machine(os_base: Path, archives: Path) -> Iterator[Machine]:
    """Return a machine that sees the archives below a folder, and serves them itself."""
    with Machine(os_base, binds={SERVED: archives}) as new:
        new.boot()
        server = ("python3", "-m", "http.server", "--bind", "127.0.0.1", "--directory", SERVED)
        new.run("systemd-run", "--quiet", "--unit=archives", *server, str(PORT))
        new.wait_for_http(f"http://127.0.0.1:{PORT}/")
        yield new


@dataclass(frozen=True)
class Client:
    """One source of the machine with lists of its own: ``name`` is the folder of the archive."""

    machine: Machine
    name: str
    suite: str
    transport: str = "file"

    def trust(self, keyring: Path) -> Client:
        """Write the source; what is in ``keyring`` is trusted for it."""
        self.machine.copy_in(keyring, f"{TRUSTED}/{self.name}.gpg")
        root = f"{self.name}/apt"
        address = f"file:{SERVED}/{root}"
        if self.transport == "http":
            address = f"http://127.0.0.1:{PORT}/{root}"
        self.machine.write(
            f"/etc/apt/clients/{self.name}.sources",
            f"Types: deb\nURIs: {address}\nSuites: {self.suite}\nComponents: main\n"
            f"Signed-By: {TRUSTED}/{self.name}.gpg\n",
        )
        self.machine.run("mkdir", "-p", f"/var/lib/apt/{self.name}/partial")
        return self

    def apt(self, *arguments: str, check: bool = True) -> Result:
        """Run apt-get with this source alone."""
        options = {
            "Dir::Etc::SourceList": f"/etc/apt/clients/{self.name}.sources",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::State::Lists": f"/var/lib/apt/{self.name}",
        }
        given = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        return apt(self.machine, *given, *arguments, check=check)

    def update(self, *, check: bool = True) -> Result:
        """Fetch the index; any trouble is a failure."""
        return self.apt("update", "--error-on=any", check=check)

    def index(self) -> str:
        """Return the signed index that apt goes by."""
        return self.machine.sh(f"cat /var/lib/apt/{self.name}/*_InRelease").stdout

    def installed(self) -> dict[str, str]:
        """Return the versions of the stack's packages."""
        form = "${Package} ${Version}\n"
        listed = self.machine.run("dpkg-query", "-W", "-f", form).stdout.splitlines()
        rows = dict(line.split() for line in listed)
        return {
            name: rows[name] for name in ("common", "traderunner-stack", "feed") if name in rows
        }


def release(number: int, target: str) -> dict[str, str]:
    """Return what is installed when a release is."""
    suffix = {"bookworm": "deb12", "trixie": "deb13"}[target]
    version = f"2026.11.23.{number}~{suffix}"
    return {"common": f"2026.11.23.1~{suffix}", "traderunner-stack": version, "feed": version}


@RELEASES
@TRANSPORTS
def test_from_staging_to_production_and_back(
    machine: Machine, shop: Shop, os_release: str, transport: str
) -> None:
    shop.publish(1, os_release)
    shop.promote(1, os_release)
    suite = f"{os_release}-prod"
    client = Client(machine, "shop", suite, transport).trust(shop.tree.keyring(suite))
    client.update()
    client.apt("install", "traderunner-stack")
    assert client.installed() == release(1, os_release)

    shop.publish(2, os_release)
    client.update()
    client.apt("upgrade")
    assert client.installed() == release(1, os_release), "what is in staging alone is not offered"

    shop.promote(2, os_release)
    client.update()
    client.apt("upgrade", "--with-new-pkgs")
    assert client.installed() == release(2, os_release)

    exactly = [f"{name}={version}" for name, version in release(1, os_release).items()]
    client.apt("install", "--allow-downgrades", *exactly)
    assert client.installed() == release(1, os_release)

    # What was taken out is not offered any more, and nobody is hurt who has it.
    client.apt("upgrade")
    shop.channels.unpublish(shop.place("prod", os_release), ["2026.11.23.2"], empty=False)
    client.update()
    client.apt("install", "traderunner-stack")
    assert client.installed() == release(2, os_release)
    assert "2026.11.23.2" not in client.apt("install", "--reinstall", "--print-uris",
                                            f"feed={release(1, os_release)['feed']}",
                                            "--allow-downgrades", check=False).stdout  # fmt: skip


def put(path: Path, content: bytes) -> None:
    """Give a file another content, and the time that it had."""
    status = path.stat()
    path.unlink()
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def change_index(tree: Tree, suite: str) -> None:
    """Let the index name another version, under every name that it has."""
    for path in (tree.dist(suite) / "main/binary-amd64").rglob("*"):
        if path.is_file():
            packing = gzip if path.read_bytes().startswith(b"\x1f\x8b") else lzma
            index = packing.decompress(path.read_bytes())
            put(path, packing.compress(index.replace(b"Version: 2026", b"Version: 2027")))


def change_package(tree: Tree) -> None:
    """Change a byte of a package."""
    path = next(tree.pool.rglob("feed_*.deb"))
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    put(path, bytes(content))


def serve_staging_as_production(tree: Tree, target: str) -> None:
    """Put staging's signed files in production's place, as a thief of a web server could."""
    link = tree.dist(f"{target}-prod")
    link.unlink()
    link.symlink_to(Path("../.gen", f"{target}-staging", "1"))


UNTRUSTED = ("is not signed", "NO_PUBKEY", "Missing key")


def refused(result: Result, *reasons: str) -> None:
    """Assert that apt refused something, for one of these reasons."""
    assert result.returncode == 100, result.output
    assert any(reason in result.output for reason in reasons), result.output


@RELEASES
@TRANSPORTS
def test_what_is_not_what_was_signed_is_refused(
    machine: Machine, shop: Shop, archives: Path, os_release: str, transport: str
) -> None:
    shop.publish(1, os_release)
    shop.promote(1, os_release)
    staging, prod = f"{os_release}-staging", f"{os_release}-prod"
    trusted = shop.tree.keyring(prod)

    def spoilt(name: str, spoil: Callable[[Tree], None], keyring: Path = trusted) -> Client:
        shutil.copytree(shop.folder, archives / name, symlinks=True)
        spoil(Tree(archives / name / "apt"))
        return Client(machine, name, prod, transport).trust(keyring)

    good = spoilt("good", lambda _: None)
    good.update()
    wrong = spoilt("wrong-key", lambda _: None, shop.tree.keyring(staging))
    refused(wrong.update(check=False), *UNTRUSTED)
    swapped = spoilt("swapped", lambda tree: serve_staging_as_production(tree, os_release))
    refused(swapped.update(check=False), *UNTRUSTED)
    index = spoilt("index", lambda tree: change_index(tree, prod))
    refused(index.update(check=False), "Hash Sum mismatch", "unexpected size")
    pool = spoilt("pool", change_package)
    pool.update()
    refused(pool.apt("install", "--download-only", "feed", check=False),
            "Hash Sum mismatch", "unexpected size")  # fmt: skip
    assert pool.installed() == {}


@RELEASES_AND_TRANSPORTS
def test_what_is_too_old_or_was_replaced_is_refused(
    machine: Machine, shop: Shop, archives: Path, os_release: str, transport: str
) -> None:
    late = replace(shop, folder=archives / "late", now=shop.now - timedelta(days=31))
    late.publish(1, os_release)
    suite = f"{os_release}-staging"
    client = Client(machine, "late", suite, transport).trust(late.tree.keyring(suite))
    refused(client.update(check=False), "is expired")
    replace(late, now=shop.now).channels.refresh(force=False)
    client.update()
    client.apt("install", "feed")
    assert client.installed()["feed"] == release(1, os_release)["feed"]

    # A server that knows the newer index stays with it when somebody serves an older one again.
    shop.at(-1).publish(1, os_release)
    shop.publish(2, os_release)
    warm = Client(machine, "shop", suite, transport).trust(shop.tree.keyring(suite))
    warm.update()
    known = warm.index()
    link = shop.tree.dist(suite)
    link.unlink()
    link.symlink_to(Path("../.gen", suite, "1"))
    replayed = link / "InRelease"
    os.utime(replayed)
    # apt fetches it, unless the server has nothing newer; it keeps its own, and says nothing.
    answer = warm.update().output
    assert re.search(rf"^(Get|Hit):1 .* {suite} InRelease", answer, re.MULTILINE), answer
    assert "Packages" not in answer
    assert warm.index() == known != replayed.read_text()
    warm.apt("install", "feed")
    assert warm.installed()["feed"] == release(2, os_release)["feed"]


@RELEASES_AND_TRANSPORTS
def test_of_twelve_releases_those_that_are_kept_install_and_the_others_are_gone(
    machine: Machine, shop: Shop, os_release: str, transport: str
) -> None:
    pinning = replace(shop, pinned=("2026.11.23.5",))
    begun = pinning.at(-34)
    for number in range(1, 13):
        begun.at(number / 10).publish(number, os_release)
    for number in (2, 3):
        begun.at(2).promote(number, os_release)
    going = [1, 4, 6, 7, 8, 9]
    planned = {each.release for each in begun.at(3).channels.plan_retain(3) if not each.keep}
    assert planned == {f"2026.11.23.{number}" for number in going}
    before = pooled(shop)
    for within_the_grace in (begun.at(3), begun.at(32)):
        within_the_grace.channels.retain(3)
        assert pooled(shop) == before
    pinning.channels.retain(3)
    pinning.channels.refresh(force=False)
    gone = [release(number, os_release)["feed"] for number in going]
    assert before - pooled(shop) == {
        f"{name}_{version}_amd64.deb" for name in ("feed", "traderunner-stack") for version in gone
    }

    for channel, kept in (("staging", [2, 3, 5, 10, 11, 12]), ("prod", [2, 3])):
        suite = f"{os_release}-{channel}"
        client = Client(machine, "shop", suite, transport).trust(shop.tree.keyring(suite))
        client.update()
        for number in kept:
            wanted = release(number, os_release)
            exactly = [f"{name}={version}" for name, version in wanted.items()]
            client.apt("install", "--allow-downgrades", *exactly)
            assert client.installed() == wanted
        said = client.apt("install", *(f"feed={version}" for version in gone), check=False)
        assert re.findall(r"Version '(.+)' for 'feed' was not found", said.output) == gone


def pooled(shop: Shop) -> set[str]:
    return {path.name for path in shop.tree.pool.rglob("*.deb")}
