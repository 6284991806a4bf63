"""Which packages are ours, whatever they are called, and which keys may have signed them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.unit.tradingctl.deploy.debfile import BINARY, CONTROL, SIGNATURE, ZSTD, ar
from tests.unit.tradingctl.deploy.test_signature import BODY, ONE, OTHER, TWO, packet, status
from tests.unit.tradingctl.fakes import FakeSystem, Machine

from tradingctl.deploy.admission import Arrival, require_signed
from tradingctl.deploy.offer import offered
from tradingctl.deploy.signature import KEYRING
from tradingctl.description import Stack
from tradingctl.errors import UntrustedError
from tradingctl.process import NOTHING, Outcome

STACK = "traderunner-stack"
STREAM = "marketdata-stream"
BROUGHT = "usr/share/debsig/keyrings"


class Programs(FakeSystem):
    """gpgv, dpkg-deb and apt, for packages whose data says what is to be answered."""

    def __init__(self) -> None:
        super().__init__()
        self.indexes: dict[Path, str] = {}
        self.targets = ""

    def feed(self, command: Sequence[str], chunks: Iterable[bytes]) -> Outcome:
        """Answer by the signer that the package names, if it is one of the keyrings'."""
        self.commands.append(list(command))
        signer = _contents(b"".join(chunks))["signer"]
        rings = [command[n + 1] for n, word in enumerate(command) if word == "--keyring"]
        held = b"".join(Path(each).read_bytes() for each in rings)
        body = {ONE: BODY, TWO: OTHER}[signer]
        if body in held:
            return Outcome(tuple(command), 0, status("GOODSIG", primary=signer))
        said = f"ERRSIG {signer[-16:]} 22 10 00 1 9\n[GNUPG:] NO_PUBKEY {signer[-16:]}\n"
        return Outcome(tuple(command), 2, f"[GNUPG:] NEWSIG\n[GNUPG:] {said}")

    def run(
        self, command: Sequence[str], timeout: float = 60.0, extra: Mapping[str, str] = NOTHING
    ) -> Outcome:
        """Answer as the program would."""
        said = super().run(command, timeout, extra)
        output = ""
        if command[:2] == ["dpkg-deb", "--field"]:
            deb = _contents(Path(command[2]).read_bytes())
            output = "".join(f"{name}: {deb[name]}\n" for name in command[3:5])
            output += "Architecture: all\n"
        elif command[:2] == ["dpkg-deb", "--extract"]:
            for path, text in _contents(Path(command[2]).read_bytes())["files"].items():
                target = Path(command[3], path)
                target.parent.mkdir(parents=True)
                target.write_bytes(text.encode("latin-1"))
        elif command[1:2] == ["cat-file"]:
            output = self.indexes[Path(command[2])]
        elif command[1:2] == ["indextargets"]:
            output = self.targets
        return Outcome(tuple(command), said.code, output)


def _contents(data: bytes) -> dict[str, Any]:
    text = data[data.rindex(b"{", 0, data.index(b'"signer"')) : data.rindex(b"}") + 1]
    found: dict[str, Any] = json.loads(text)
    return found


class Shop:
    """A server, and packages that arrive there."""

    def __init__(self, root: Path) -> None:
        self.programs = Programs()
        self.machine = Machine(root, system=self.programs)

    def trust(self, *bodies: bytes) -> None:
        """Install the keyring package with these keys."""
        for number, body in enumerate(bodies):
            path = self.machine.root / BROUGHT / str(number) / "traderunner.pgp"
            path.parent.mkdir(parents=True)
            path.write_bytes(packet(6, body))

    def package(
        self, name: str, signer: str = ONE, *, called: str = "", version: str = "2",
        real: str = "", signed: bool = True, files: Mapping[str, bytes] = {},
    ) -> Arrival:  # fmt: skip
        """Return a package that apt takes for ``called`` at ``version``."""
        path = self.machine.root / f"{called or name}_{version}_all.deb"
        contents = {
            "signer": signer,
            "Package": name,
            "Version": real or version,
            "files": {each: text.decode("latin-1") for each, text in files.items()},
        }
        data = ("data.tar.zst", ZSTD + json.dumps(contents).encode())
        path.write_bytes(ar(BINARY, CONTROL, data, *([SIGNATURE] if signed else [])))
        return Arrival(called or name, version, path)

    def offer(
        self, text: str, origin: str = "/etc/apt/sources.list.d/traderunner.sources:1"
    ) -> None:
        """Let apt have read an index of a source."""
        path = self.machine.root / f"lists_{len(self.programs.indexes)}"
        path.touch()
        root = str(self.machine.root) if origin.startswith("/") else ""
        self.programs.indexes[path] = text
        self.programs.targets += f"$(SIGNED_BY)\t{root}{origin}\t{path}\n"

    def admit(self, *arrivals: Arrival) -> None:
        """Ask whether they may come in."""
        require_signed(self.machine.server, arrivals, STACK, {STACK, STREAM})

    def refuse(self, *arrivals: Arrival) -> UntrustedError:
        """Return why they may not."""
        with pytest.raises(UntrustedError) as raised:
            self.admit(*arrivals)
        assert raised.value.message.endswith("; nothing was changed")
        assert raised.value.next_command
        return raised.value


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Give a server on which the keyring trusts the first key."""
    shop = Shop(tmp_path.resolve())
    shop.trust(BODY)
    return shop


def test_packages_signed_by_the_trusted_key_come_in(shop: Shop) -> None:
    shop.admit(shop.package(STREAM))
    assert shop.programs.ran("gpgv")


def test_packages_of_others_are_not_asked(shop: Shop) -> None:
    shop.admit(Arrival("hello", "1", Path("/nowhere/hello.deb")))
    shop.admit()
    assert not shop.programs.ran("gpgv")


@pytest.mark.parametrize("name", [STREAM, STACK, KEYRING, "trading-ibgateway"])
def test_each_package_of_ours_is_asked(shop: Shop, name: str) -> None:
    unsigned = shop.package(name, signed=False)
    error = shop.refuse(unsigned)
    assert error.message == (
        f"{name} 2 is refused: {unsigned.path} is not signed; nothing was changed"
    )


def test_one_bad_package_among_good_ones_is_enough(shop: Shop) -> None:
    good = [shop.package(STREAM), Arrival("hello", "1", Path("/x"))]
    assert STREAM not in shop.refuse(*good, shop.package(KEYRING, TWO)).message


def test_another_key_is_refused_and_the_way_to_it_named(shop: Shop) -> None:
    error = shop.refuse(shop.package(STREAM, TWO))
    assert TWO[-16:] in error.message
    assert ONE in error.message
    assert error.next_command.startswith(f"apt-get install {KEYRING}")


def test_a_signed_package_under_another_number_or_name_is_refused(shop: Shop) -> None:
    old = shop.refuse(shop.package(STREAM, version="3", real="1"))
    assert f"{STREAM} 3 is refused" in old.message
    assert f"is {STREAM} 1, signed for that" in old.message
    other = shop.refuse(shop.package("traderunner", called=STREAM))
    assert "is traderunner 2, signed for that" in other.message


# What has a name that nobody knows.


def test_whatever_our_archive_offers_is_ours(shop: Shop) -> None:
    shop.offer("Package: helper\nVersion: 2\n\npackage: Other\nVERSION: 1.0-1\nSize: 1\n")
    assert offered(shop.machine.server) == {("helper", "2"), ("Other", "1.0-1")}
    assert "helper 2 is refused" in shop.refuse(shop.package("helper", signed=False)).message
    shop.admit(shop.package("helper"))
    shop.admit(shop.package("helper", version="3", signed=False))


def test_the_archive_is_known_by_its_source_or_by_its_key(shop: Shop) -> None:
    shop.offer("Package: a\nVersion: 1\n", "/etc/apt/sources.list.d/traderunner.sources:1")
    shop.offer("Package: b\nVersion: 1\n", "/usr/share/keyrings/traderunner-archive-keyring.pgp")
    shop.offer("Package: c\nVersion: 1\n", "/usr/share/keyrings/traderunner-archive-keyring-x.pgp")
    shop.offer("Package: d\nVersion: 1\n", "/etc/apt/sources.list.d/debian.sources:1")
    shop.offer("Package: e\nVersion: 1\n", "/etc/apt/sources.list.d/traderunner.sources.old:1")
    assert offered(shop.machine.server) == {("a", "1"), ("b", "1"), ("c", "1")}


def test_an_index_that_cannot_be_read_is_a_refusal(shop: Shop) -> None:
    shop.offer("")
    shop.programs.codes["/usr/lib/apt/apt-helper"] = 100
    with pytest.raises(UntrustedError, match="cannot be read"):
        shop.admit(shop.package("hello", signed=False))
    shop.programs.codes = {"apt-get indextargets": 100}
    with pytest.raises(UntrustedError, match="does not list its indexes"):
        shop.admit(shop.package("hello", signed=False))


def test_what_a_release_names_is_ours_before_it_is_installed(shop: Shop) -> None:
    text = Stack(STACK, "2", "2", {"newcomer": "2"}).to_json().encode()
    stack = shop.package(STACK, files={"usr/share/trading/stack.json": text})
    error = shop.refuse(stack, shop.package("newcomer", signed=False))
    assert "newcomer 2 is refused" in error.message
    shop.admit(stack, shop.package("newcomer"))


# Keys that come.


def keyring(shop: Shop, signer: str, *bodies: bytes) -> Arrival:
    files = {
        f"{BROUGHT}/{number}/traderunner.pgp": packet(6, body) for number, body in enumerate(bodies)
    }
    return shop.package(KEYRING, signer, files=files)


def test_a_signed_keyring_introduces_the_next_key(shop: Shop) -> None:
    shop.admit(keyring(shop, ONE, BODY, OTHER), shop.package(STREAM, TWO))
    shop.refuse(shop.package(STREAM, TWO))
    with pytest.raises(UntrustedError):
        shop.admit(keyring(shop, TWO, BODY, OTHER), shop.package(STREAM, TWO))


def test_a_server_with_both_keys_takes_either(shop: Shop) -> None:
    second = shop.machine.root / BROUGHT / "b/traderunner.pgp"
    second.parent.mkdir()
    second.write_bytes(packet(6, OTHER))
    shop.admit(shop.package(STREAM, ONE), shop.package("trading-ibgateway", TWO))


def test_without_a_keyring_only_a_keyring_comes_in(tmp_path: Path) -> None:
    bare = Shop(tmp_path.resolve())
    bare.admit(keyring(bare, ONE, BODY))
    error = bare.refuse(bare.package(STREAM))
    assert "traderunner-archive-keyring is not installed" in error.message
    assert "nobody knows who may sign marketdata-stream" in error.message
    bare.refuse(keyring(bare, ONE, BODY), bare.package(STREAM))
