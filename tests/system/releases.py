"""Releases that follow the first one of the slim stack: good ones, and one for each fault.

:data:`RELEASES` says what each differs in from the first release, not from the one before it: what
follows a faulty release is free of its fault. A fault shows only under systemd, so that a release
builds and proves that it starts, and nothing but the installation can find it.

Use the fixture ``releases``::

    project = releases("answers_500", "good3")
    with installed_server(installed_slim, project) as machine:
        project.publish(project.releases[1])  # the faulty one
        install_stack(machine, check=False)
        project.publish()  # the last one
        install_stack(machine)
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.system.project import Project
from tests.system.slim import PARTS, kept, part_files

API = "automatictrader-api"
STREAM = "marketdata-stream"
DASHBOARD = "traderunner"

WORKER_SECONDS = 5
"""How long the worker of ``worker_dies_after_5s`` lives."""

Source = Callable[[str, str], str]
"""Returns a file of a component as it is in the first release."""

Edit = Callable[[Source], str]
"""Returns the new content of a file."""


@dataclass(frozen=True)
class Difference:
    """What a release differs in from the first one.

    ``sources`` has files of components by component and path, ``files`` those of the project by
    path. Components in ``sources`` and ``labelled`` get parts with a new label too.
    """

    sources: Mapping[str, Mapping[str, Edit]] = field(default_factory=dict)
    files: Mapping[str, Callable[[str], str]] = field(default_factory=dict)
    labelled: tuple[str, ...] = ()


def _with(component: str, path: str, edit: Callable[[str], str]) -> dict[str, dict[str, Edit]]:
    return {component: {path: lambda source: edit(source(component, path))}}


def _replacing(old: str, new: str) -> Callable[[str], str]:
    def edit(text: str) -> str:
        assert old in text, f"{old!r} is not in\n{text}"
        return text.replace(old, new, 1)

    return edit


def _at_import(code: str) -> Callable[[str], str]:
    """Return an edit that runs ``code`` under systemd when a module is imported."""
    # systemd sets INVOCATION_ID for what it starts; the proof of the build does not.
    block = f'\nimport os\nif "INVOCATION_ID" in os.environ:\n{code}\n'
    line = "from __future__ import annotations\n"
    return _replacing(line, line + block)


_ANSWERS_500 = """

@app.middleware("http")
async def broken_on_a_server(request: Any, call_next: Any) -> Any:
    if "INVOCATION_ID" in os.environ:
        LOG.error("this release is broken on a server")
        return Response("broken on purpose", 500)
    return await call_next(request)
"""

_CRASHES = '    raise RuntimeError("this release cannot start on a server")'

_DIES = f"""
    import threading
    import time

    def die() -> None:
        time.sleep({WORKER_SECONDS})
        print("this release does not live long on a server", flush=True)
        os._exit(1)

    threading.Thread(target=die, daemon=True).start()
"""

_HANGS = """
    import time

    print("this release never listens on a server", flush=True)
    time.sleep(3600)
"""

_TAKES_PORT = """
    import socket
    import threading
    import time

    def take() -> None:
        # The dashboard of the release before has it until it is stopped.
        while True:
            try:
                listener = socket.create_server(("0.0.0.0", 9001))
            except OSError:
                time.sleep(0.005)
                continue
            print("this release takes the dashboard's port", flush=True)
            while True:
                listener.accept()[0].close()

    threading.Thread(target=take, daemon=True).start()
"""

_PREINST = f"""#!/bin/sh
set -e

#DEBHELPER#

if [ "$1" = upgrade ] && [ "$DPKG_MAINTSCRIPT_PACKAGE" = {API} ]; then
    echo "the preinst of this release fails" >&2
    exit 1
fi
"""


def _claims_first_commit(text: str) -> str:
    """Return release.py, which says under systemd that it is the commit of the first release."""
    old = '    commit = str(json.loads(text)["commit"])\n'
    new = (
        '    first = Path(__file__).with_name("first-commit.txt").read_text().strip()\n'
        '    on_server = "INVOCATION_ID" in os.environ\n'
        '    commit = first if on_server else str(json.loads(text)["commit"])\n'
    )
    return _replacing("import json\n", "import json\nimport os\n")(_replacing(old, new)(text))


_EVERYTHING = (API, STREAM, DASHBOARD)

RELEASES: Mapping[str, Difference] = {
    # Good ones, new in every component.
    "good2": Difference(labelled=_EVERYTHING),
    "good3": Difference(labelled=_EVERYTHING),
    # A good one whose settings differ from those that came with the first.
    "changed_settings": Difference(
        files={
            f"packaging/conf/{API}.env": _replacing(
                "AT_WORKER_POLL_SEC=1\n", "AT_WORKER_POLL_SEC=2\n# New in this release.\nAT_NEW=1\n"
            )
        }
    ),
    # The order intent API answers every question with 500.
    "answers_500": Difference(_with(API, "app.py", lambda text: text + _ANSWERS_500)),
    # The order intent API ends while it is imported.
    "crashes_at_import": Difference(_with(API, "app.py", _at_import(_CRASHES))),
    # The worker ends after five seconds; every release asks for more.
    "worker_dies_after_5s": Difference(_with(API, "worker.py", _at_import(_DIES))),
    # The dashboard is loaded for ever.
    "dashboard_never_listens": Difference(
        _with(DASHBOARD, "trading_dashboard/app.py", _at_import(_HANGS))
    ),
    # The order intent API is new and says that it is the commit of the first release.
    "claims_old_commit": Difference(
        {
            API: {
                "automatictrader/release.py": lambda source: _claims_first_commit(
                    source(API, "automatictrader/release.py")
                ),
                "automatictrader/first-commit.txt": lambda source: source(API, "commit"),
            }
        }
    ),
    # The stream listens on the dashboard's port as soon as that is free.
    "port_taken": Difference(
        _with(STREAM, "src/marketdata_stream/runner.py", _at_import(_TAKES_PORT)),
        labelled=(DASHBOARD,),
    ),
    # Everything is new, and the order intent API cannot be unpacked over an older one.
    "preinst_fails": Difference(
        files={"debian-templates/component/debian/preinst": lambda _: _PREINST},
        labelled=_EVERYTHING,
    ),
}


def releases_after(first: Project, folder: Path, *names: str) -> Project:
    """Return a copy of the first slim project with these releases, one after the other, built.

    It is in a new folder below ``folder``. Building is for the Debian release of ``first``.
    """
    assert names, "no release is named"
    root = folder / f"{'-'.join(names)}-{uuid.uuid4().hex[:8]}"

    def make(new: Path) -> Project:
        earlier = names[:-1]
        before = releases_after(first, folder, *earlier) if earlier else first
        return _next(first, before, names[-1], new)

    return kept("-".join(names), first.target, root, make)


def _next(first: Project, before: Project, name: str, root: Path) -> Project:
    """Return a copy of ``before`` with one more release, locked and built."""
    difference = RELEASES[name]
    project = before.copy(root)
    _restore(first, project)
    for path, edit in difference.files.items():
        file = project.root / path
        file.write_text(edit(file.read_text() if file.exists() else ""))

    def source(component: str, path: str) -> str:
        return first.commits[component] if path == "commit" else first.source(component, path)

    for component in PARTS:
        edits = difference.sources.get(component, {})
        changes = {path: edit(source) for path, edit in edits.items()}
        if changes or component in difference.labelled:
            changes |= part_files(component, name)
        project.push(component, changes, afresh=True)
    project.lock_again(*PARTS)
    project.build()
    return project


def _restore(first: Project, project: Project) -> None:
    """Put the definitions and templates of the first release back."""
    for name in ("debian-templates", "packaging/components", "packaging/conf"):
        shutil.rmtree(project.root / name)
        shutil.copytree(first.root / name, project.root / name, symlinks=True)
