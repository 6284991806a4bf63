"""The repository is a static folder: any web server serves it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.system.project import Project
from tests.system.stack import ARCHIVE, apt, server

pytestmark = pytest.mark.system

SOURCES = "/etc/apt/sources.list.d/traderunner.sources"
SERVER = ("python3", "-m", "http.server", "--bind", "127.0.0.1", "--directory", ARCHIVE, "8000")


def test_apt_updates_and_installs_over_http(base: Path, release: Project) -> None:
    with server(base, release) as machine:
        machine.run("systemd-run", "--quiet", "--unit=archive", *SERVER)
        machine.wait_for_http("http://127.0.0.1:8000/")
        machine.run("sed", "-i", "s,^URIs: .*,URIs: http://127.0.0.1:8000,", SOURCES)

        updated = apt(machine, "update")
        assert "http://127.0.0.1:8000 bookworm-staging InRelease" in updated.output
        done = apt(machine, "install", "traderunner-common")
        assert "http://127.0.0.1:8000 bookworm-staging/main amd64 traderunner-common" in done.output
        assert "/by-hash/SHA256/" in machine.journal("archive.service")
