"""The page of the archive, made of real packages, and used in a real browser."""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib
import http.server
import json
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from debian.deb822 import Release
from tests.build.archive import RUNNER, make_tree, packed
from tests.build.channels import Shop, make_keys

from debstack.archive.content import About
from debstack.pipeline import page
from debstack.pipeline.publish import BuiltRelease
from debstack.steps import sign

pytestmark = pytest.mark.build

HOSTILE = '<script>alert(1)</script> & "quotes" <b>bold</b>'
COMMITS = {1: "1" * 40, 2: "2" * 40, 3: "2" * 40}
DISTRIBUTIONS = {
    1: {"pandas": "2.1.0", "pytz": "2024.1"},
    2: {"pandas": "2.2.3", "numpy": "1.26.4"},
    3: {"pandas": "2.2.3", "numpy": "1.26.4"},
}
VERSIONS = {1: "2026.11.23.1+g1111111-1~deb12", 2: "2026.11.23.2+g2222222-1~deb12"}
VERSIONS[3] = VERSIONS[2]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Return a shop with three releases in staging, the second of which is in production."""
    folder = tmp_path_factory.mktemp("page")
    keys = make_keys(folder / "home")
    made = Shop(folder, folder / "source", keys, datetime.now(UTC) - timedelta(days=3))
    for number in (1, 2, 3):
        made.at(number / 2).channels.publish(built(made, number), made.place("staging").channel)
    made.at(2).promote(2)
    page.write(made.tree, made.definition, RUNNER)
    return made


def built(shop: Shop, number: int) -> BuiltRelease:
    """Return a release whose feed accounts for itself; the third changes the stack alone."""
    name = f"2026.11.23.{number}"
    stack = make_tree(shop.source, "traderunner-stack", f"{name}~deb12")
    # No two releases are of the same size.
    (stack / "usr/share/traderunner-stack/ballast").write_bytes(
        hashlib.shake_256(name.encode()).digest(9_000 * number)
    )
    debs = (
        feed(shop, number),
        signed(shop, stack),
        signed(shop, make_tree(shop.source, "traderunner-archive-keyring", f"{name}~deb12")),
    )
    commits = {"feed": COMMITS[number]}
    return BuiltRelease(shop.definition.target("bookworm"), About(name, commits), debs)


def feed(shop: Shop, number: int) -> Path:
    tree = make_tree(shop.source, "feed", VERSIONS[number])
    documents = tree / "usr/share/doc/feed"
    documents.mkdir(parents=True, exist_ok=True)
    components = [
        {"name": name, "version": version, "purl": f"pkg:pypi/{name}@{version}"}
        for name, version in DISTRIBUTIONS[number].items()
    ]
    (documents / "sbom.cdx.json").write_text(json.dumps({"components": components}))
    entry = (
        f"feed ({VERSIONS[number]}) bookworm; urgency=medium\n\n"
        f"  * Since commit 111111111111:\n  * {HOSTILE}\n  * Orders are\n    idempotent\n\n"
        " -- Example <ops@example.org>  Mon, 23 Nov 2026 18:00:00 +0000\n"
    )
    (documents / "changelog.Debian.gz").write_bytes(gzip.compress(entry.encode()))
    return signed(shop, tree)


def signed(shop: Shop, tree: Path) -> Path:
    """Return the signed package of a tree, made once."""
    unsigned = packed(tree)
    deb = shop.source / "signed" / unsigned.name
    if not deb.exists():
        deb.parent.mkdir(exist_ok=True)
        sign.sign(unsigned, deb, shop.keys.package, RUNNER)
    return deb


class Reading(HTMLParser):
    """What a page has: its tags with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text += data

    def addresses(self) -> list[str]:
        """Return what the page refers to."""
        return [
            value
            for _, attributes in self.tags
            for name, value in attributes.items()
            if name in ("href", "src") and value
        ]


@pytest.fixture(scope="module")
def reading(shop: Shop) -> Reading:
    return Reading((shop.tree.root / page.NAME).read_text())


def test_what_others_wrote_stays_text(reading: Reading) -> None:
    assert HOSTILE in reading.text
    assert [tag for tag, _ in reading.tags if tag == "script"] == ["script"]


def test_every_link_leads_to_a_file_of_the_archive(shop: Shop, reading: Reading) -> None:
    outside = [each for each in reading.addresses() if "://" in each]
    assert set(outside) == {shop.definition.stack.homepage}  # a link, nothing that is loaded
    files = [each for each in reading.addresses() if "://" not in each and each[0] != "#"]
    assert len(files) > 9
    for each in files:
        assert (shop.tree.root / unquote(each)).is_file(), each
    ids = {attributes["id"] for _, attributes in reading.tags if "id" in attributes}
    assert {each[1:] for each in reading.addresses() if each[0] == "#"} <= ids


def test_changes_are_those_since_the_release_before(reading: Reading) -> None:
    text = " ".join(reading.text.split())
    second = text[text.index("What changed since 2026.11.23.1") :]
    second = second[: second.index("Packages")]
    assert "feed 111111111111 → 222222222222" in second
    assert "Orders are idempotent" in second
    for line in ("numpy 1.26.4 is new", "pandas 2.1.0 → 2.2.3", "pytz 2024.1 is gone"):
        assert line in second
    third = text[text.index("What changed since 2026.11.23.2") :]
    assert third.startswith("What changed since 2026.11.23.2 No component.")


def test_keys_checksums_and_channels_are_there(shop: Shop, reading: Reading) -> None:
    for key in (shop.keys.staging, shop.keys.prod):
        assert key.fingerprint in reading.text
    (keyring,) = shop.tree.pool.glob("**/traderunner-archive-keyring_2026.11.23.3~deb12_*.deb")
    listed = RUNNER.capture(["sha256sum", keyring]).text.split()[0]
    assert f"echo '{listed}  {keyring.name}' | sha256sum --check" in reading.text
    assert "in bookworm-prod since" in reading.text


def test_chart_has_a_bar_for_each_release_as_long_as_it_is_large(shop: Shop) -> None:
    text = (shop.tree.root / page.NAME).read_text()
    bar = (
        r'<span>([^<]+)</span><i style="width: ([\d.]+)%"></i><span class="number">([^<]+)</span>\n'
    )
    (chart,) = re.findall(rf'<div class="chart">\n((?:{bar})+)</div>', text)
    sizes = {number: size(shop, number) for number in (3, 2, 1)}
    assert sizes[3] > sizes[2] > sizes[1]
    assert re.findall(bar, chart[0]) == [
        (
            f"2026.11.23.{n}",
            f"{100 * each / sizes[3]:.1f}",
            f"{each / 1000:.1f}\N{NO-BREAK SPACE}kB",
        )
        for n, each in sizes.items()
    ]


def size(shop: Shop, number: int) -> int:
    """Return the bytes of a release's packages in the pool."""
    pool = {path.name: path.stat().st_size for path in shop.tree.pool.rglob("*.deb")}
    names = ("traderunner-stack", "traderunner-archive-keyring")
    debs = [f"{name}_2026.11.23.{number}~deb12_amd64.deb" for name in names]
    return sum(pool[deb] for deb in (*debs, f"feed_{VERSIONS[number]}_amd64.deb"))


def test_packages_are_there_with_their_sizes(shop: Shop, reading: Reading) -> None:
    text = " ".join(reading.text.split())
    for path in shop.tree.pool.rglob("*.deb"):
        name, version, _ = path.name.split("_")
        assert f"{name} {version} {path.stat().st_size / 1000:.1f} kB" in text


def test_dates_are_those_of_publication_and_of_the_signed_index(
    shop: Shop, reading: Reading
) -> None:
    text = " ".join(reading.text.split())
    since = {number: shop.at(number / 2).now for number in (1, 2, 3)}
    channels = {1: "staging", 2: "prod staging", 3: "staging"}
    for number, when in since.items():
        assert f"2026.11.23.{number} {when:%Y-%m-%d} {channels[number]} in bookworm-" in text
        assert f"in bookworm-staging since {minute(when)}" in text
    promoted = shop.at(2).now
    assert f"in bookworm-prod since {minute(promoted)}" in text
    newest = {
        "bookworm-staging": f"2026.11.23.3 3 releases {minute(since[3])}",
        "bookworm-prod": f"2026.11.23.2 1 release {minute(promoted)}",
    }
    for suite, published in newest.items():
        signed_index = Release((shop.tree.dist(suite) / "InRelease").read_text())
        until = parsedate_to_datetime(signed_index["Valid-Until"])
        assert f"{suite} {published}{minute(until)}" in text


def minute(when: datetime) -> str:
    """Return a time as the page has it."""
    return f"{when:%Y-%m-%d %H:%M} UTC"


def test_style_loads_nothing(shop: Shop, reading: Reading) -> None:
    text = (shop.tree.root / page.NAME).read_text()
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    inline = [attributes["style"] for _, attributes in reading.tags if attributes.get("style")]
    assert len(inline) == 3
    for rules in (style, *inline):
        assert "url(" not in rules
        assert "@import" not in rules


def test_made_again_it_is_the_same_file(shop: Shop) -> None:
    file = shop.tree.root / page.NAME
    before = file.stat()
    page.write(shop.tree, shop.definition, RUNNER)
    assert file.stat() == before


def test_documents_go_with_their_packages(shop: Shop, tmp_path: Path) -> None:
    shutil.copytree(shop.tree.root, tmp_path / "apt", symlinks=True)
    mine = replace(shop, folder=tmp_path)
    kept = [each.name for each in (mine.tree.root / "documents/feed").iterdir()]
    assert sorted(kept) == [VERSIONS[1], VERSIONS[2]]
    mine.at(3).channels.retain(1)
    page.write(mine.tree, mine.definition, RUNNER)
    assert [each.name for each in (mine.tree.root / "documents/feed").iterdir()] == [VERSIONS[2]]


def test_without_a_release_it_says_so(tmp_path: Path, shop: Shop) -> None:
    empty = replace(shop, folder=tmp_path)
    empty.tree.root.mkdir()
    text = page.write(empty.tree, empty.definition, RUNNER).read_text()
    assert "Nothing has been published yet." in text


@contextmanager
def served(root: Path) -> Iterator[str]:
    """Serve a folder on loopback; its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    handler = functools.partial(Quiet, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("width", "dark"), [(1280, False), (390, True)], ids=["desk", "phone in the dark"]
)
def test_in_a_browser_it_is_read_and_clicked(
    shop: Shop, tmp_path: Path, width: int, dark: bool
) -> None:
    webdriver = pytest.importorskip("selenium.webdriver")
    for program in ("chromium", "chromedriver"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for each in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage",
                 "no-first-run", "disable-background-networking", "disable-component-update",
                 "disable-sync", f"user-data-dir={tmp_path / 'profile'}"):  # fmt: skip
        options.add_argument(f"--{each}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    with served(shop.tree.root) as address, webdriver.Chrome(options, service) as browser:
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        browser.get(address)
        assert browser.title == f"{shop.definition.stack.archive.label}: apt repository"
        colour = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert colour == ("rgb(20, 23, 27)" if dark else "rgb(255, 255, 255)")
        # Nothing is wider than the screen.
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width

        newest, older = (browser.find_element("id", f"bookworm-2026.11.23.{n}") for n in (3, 1))
        assert newest.get_property("open")
        assert not older.get_property("open")
        older.find_element("tag name", "summary").click()
        assert older.get_property("open")
        button = browser.find_element("css selector", "button")
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
        button.click()
        waiting = pytest.importorskip("selenium.webdriver.support.wait").WebDriverWait(browser, 60)
        waiting.until(lambda _: button.text in ("Copied", "Selected"))

        picture = tmp_path / "page.png"
        whole = {"captureBeyondViewport": True}
        shot = browser.execute_cdp_cmd("Page.captureScreenshot", whole)
        picture.write_bytes(base64.b64decode(shot["data"]))
        assert picture.stat().st_size > 10_000
        assert browser.get_log("browser") == []

        sbom = browser.find_element("link text", "SBOM")
        browser.get(sbom.get_attribute("href"))
        assert "pkg:pypi/pandas@2.2.3" in browser.page_source
