"""``debstack serve``."""

from __future__ import annotations

import ipaddress
import signal

import click

from debstack.archive.serve import Server, sources_line
from debstack.archive.tree import Tree
from debstack.cli.project import Project, pass_project
from debstack.errors import ArchiveError


@click.command(short_help="Serve the apt repository to the bench.")
@click.option("--bind", "host", default="127.0.0.1", show_default=True, metavar="ADDRESS",
              help="Address to listen on; 0.0.0.0 lets the network in.")  # fmt: skip
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True,
              help="Port to listen on; 0 is any free one.")  # fmt: skip
@pass_project
def command(project: Project, host: str, port: int) -> None:
    """Serve the apt repository over HTTP until Ctrl-C, for trying it out.

    Read-only; of the packages, indexes and pages alone. For real servers see docs/serving.md.
    """
    tree = Tree(project.archive)
    if not tree.suites():
        raise ArchiveError(f"{tree.root} holds no suite", hint="debstack publish")
    with Server(tree, host, port, project.log) as server:
        if not _loopback(str(server.server_address[0])):
            project.log.warn("everybody who reaches this address can read the archive")
        click.echo(f"{project.archive} is at {server.address}/")
        for suite in tree.suites():
            click.echo(sources_line(tree, suite, server.address))
        # As Ctrl-C. Not earlier: until now there is nothing to tidy up.
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            project.log.say("serve", "ended")
        finally:
            signal.signal(signal.SIGTERM, before)


def _loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback
