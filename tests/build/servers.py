"""The servers of docs/serving.md, each on a free port of loopback."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from debstack.process import SYSTEM_PATH, base_environment

DOCUMENT = Path(__file__).parents[2] / "docs/serving.md"

NGINX = """
daemon off; pid {folder}/pid; error_log stderr; {user}
events {{}}
http {{
    include /etc/nginx/mime.types; default_type application/octet-stream; access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {site}
}}
"""
CADDY = """
{{
    admin off
    auto_https off
}}
{site}
"""


def block(language: str) -> str:
    """Return the one block of a language in the document."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT.read_text(), re.M | re.S)
    return str(found)


def adapted(text: str, *changes: tuple[str, str]) -> str:
    """Return a documented configuration with what is different on the bench."""
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def command_of_debstack(root: Path) -> list[str]:
    """Return the command that serves the archive ``root`` on a free port."""
    project = str(root.parents[1])
    return [sys.executable, "-m", "debstack", "--project", project, "serve", "--port", "0"]


@contextmanager
def debstack(root: Path, folder: Path) -> Iterator[str]:
    """Run ``debstack serve`` for the archive ``root``, which is dist/apt of a project."""
    with started(command_of_debstack(root), folder) as process:
        assert process.stdout
        yield process.stdout.readline().split()[-1].rstrip("/")


@contextmanager
def nginx(root: Path, folder: Path) -> Iterator[str]:
    """Run nginx with the documented site."""
    port = free_port()
    site = adapted(
        block("nginx"),
        ("listen 80;", f"listen 127.0.0.1:{port};"),
        ("/srv/traderunner/apt", str(root)),
    )
    # Its workers would otherwise be of a user who may not read the folder of a test.
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, user=user, site=site))
    with started(["nginx", "-e", "stderr", "-c", str(folder / "nginx.conf")], folder) as process:
        yield answering(port, process, folder)


@contextmanager
def caddy(root: Path, folder: Path) -> Iterator[str]:
    """Run Caddy with the documented site."""
    port = free_port()
    site = adapted(
        block("caddyfile"),
        ("apt.example.org {", f"http://127.0.0.1:{port} {{\n    bind 127.0.0.1"),
        ("/srv/traderunner/apt", str(root)),
    )
    (folder / "Caddyfile").write_text(CADDY.format(site=site))
    command = ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]
    with started(command, folder) as process:
        yield answering(port, process, folder)


SERVERS = {"debstack": debstack, "nginx": nginx, "caddy": caddy}


@contextmanager
def started(command: Sequence[str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a program that goes on until it is ended; what it says is in ``folder``/log."""
    if shutil.which(command[0], path=SYSTEM_PATH) is None:
        pytest.skip(f"{command[0]} is not installed")
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command,
            env=base_environment() | {"HOME": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        with process:
            try:
                yield process
            finally:
                process.terminate()
                try:
                    process.wait(timeout=30)
                except subprocess.TimeoutExpired:
                    process.kill()


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answering(port: int, process: subprocess.Popen[str], folder: Path) -> str:
    """Return the address of a server, as soon as it listens there."""
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.02)
        else:
            return f"http://127.0.0.1:{port}"
    said = (folder / "log").read_text()
    raise AssertionError(f"{process.args!r} ended with {process.returncode}: {said}")
