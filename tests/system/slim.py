"""The slim stack: everything as it is, with a dashboard that is quick to build and to unpack.

The default stack's dashboard is 550 MB, for pandas, pyarrow, streamlit and Dash, which a scenario
about upgrades does not need: without them a release is built in seconds and unpacked in one. Its
page says less, and is served as before: by gunicorn, with its logs, settings, reports and password.
What else differs is there for the tests:

* a service that does not come up is given up after :data:`DEADLINE` seconds;
* every component has two *parts*, modules that hold one label, the same in both and another one in
  each commit of :mod:`tests.system.releases`. The API answers ``/parts`` and the stream ``/parts``
  with the labels, imported anew at each question, the commit that RELEASE.json names then, and the
  commit that it named when the process started; the dashboard gives the same in a header. An
  answer whose labels or commits differ comes from a tree of which a part was replaced under the
  running process.

The dependency locks are in tests/system/slim-locks, so that nothing has to be resolved. After a
change of what the components ask for, ``python -m tests.system.slim`` writes them again.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from tests.shared import shared
from tests.system.machine import cache_directory
from tests.system.project import FOLDERS, REPOSITORY, Project, project_of_repository

DEADLINE = 12
"""How long a unit of the slim stack has from its start to a good answer, in seconds."""

DASHBOARD_DEADLINE = 15
"""The same for the dashboard, which is the last to start."""

PARTS = {
    "automatictrader-api": "automatictrader/part_{}.py",
    "marketdata-stream": "src/marketdata_stream/part_{}.py",
    "traderunner": "core/part_{}.py",
}
"""Where each component has its parts ``one`` and ``two``."""

_LOCKS = Path(__file__).parent / "slim-locks"
_KEPT_DAYS = 2

# Modules of the tree, read from it again at every question.
_READ_PARTS = '''
import importlib
import json
import sys
import threading
from pathlib import Path

# Questions overlap, and a module that one of them takes away must not be missing for another.
ONE_AT_A_TIME = threading.Lock()


def read_parts(package: str, root: Path, commit: str) -> dict[str, object]:
    """Return what the tree says of itself now, and what it said when the process started."""
    labels = []
    with ONE_AT_A_TIME:
        for name in (f"{package}.part_one", f"{package}.part_two"):
            sys.modules.pop(name, None)
            labels.append(importlib.import_module(name).LABEL)
    release = root / "RELEASE.json"
    now = json.loads(release.read_text())["commit"] if release.exists() else "unknown"
    return {"labels": labels, "commits": [commit, now]}
'''

_API_PARTS = '''

@app.get("/parts")
def parts() -> dict[str, object]:
    """What the tree is made of."""
    return read_parts("automatictrader", Path(__file__).resolve().parent, commit)


if __name__'''

_STREAM_PARTS = '''
    @app.get("/parts")
    def parts() -> dict[str, object]:
        """What the tree is made of."""
        return read_parts("marketdata_stream", Path(os.getcwd()), commit)

    return app
'''

_DASHBOARD_PARTS = """
        response.headers["X-Parts"] = json.dumps(read_parts("core", ROOT, commit))
        return response
"""

_APP = '''"""The dashboard without Dash. `server` is the WSGI application."""

from __future__ import annotations

import logging
import os

from flask import Flask

from core.paths import LOGS
from core.release import COMMIT
from core.settings import load_settings
from src.backtest import ensure_report
from trading_dashboard import databases
from trading_dashboard.auth import protect
from trading_dashboard.logs import open_logs

settings = load_settings(os.environ)
open_logs(LOGS)
ensure_report()

server = Flask(__name__)
protect(server, os.environ, COMMIT)
logging.getLogger(__name__).info("started, commit %s", COMMIT)


@server.get("/")
def page() -> str:
    """What the databases of the other services say, as text."""
    tables = (databases.signals(), databases.order_intents())
    return f"Trading dashboard, {settings.environment}, commit {COMMIT}: {tables}"
'''

_BACKTEST = '''"""A backtest report, as the tests need one under artifacts/backtests."""

from __future__ import annotations

from core.paths import BACKTESTS


def ensure_report() -> None:
    """Write a report where there is none."""
    BACKTESTS.mkdir(parents=True, exist_ok=True)
    if not any(BACKTESTS.iterdir()):
        (BACKTESTS / "crossover.txt").write_text("no trades\\n")
'''

_REQUIREMENTS = "flask\ngunicorn\npydantic\npyyaml\nrequests\n"


def part_files(component: str, label: str) -> dict[str, str]:
    """Return the parts of a component with a label, as changes for :meth:`Project.push`."""
    return {PARTS[component].format(name): f'LABEL = "{label}"\n' for name in ("one", "two")}


def first_slim(root: Path, target: str) -> Project:
    """Return the slim stack in the folder ``root``: locked, built and published for a target."""

    def make(folder: Path) -> Project:
        project = make_slim(folder).on(target)
        project.build()
        project.publish()
        return project

    return kept("first", target, root, make)


def kept(name: str, target: str, root: Path, make: Callable[[Path], Project]) -> Project:
    """Return a project for ``target`` in the folder ``root``, copied from the one in the cache.

    If that has none, ``make`` makes it in the folder that it is given, where it stays until a file
    changes that the slim stack is made of, or the week is over.
    """
    cache = cache_directory() / "slim"
    entry = cache / f"{_week()}-{_digest()}"  # what was published expires
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache / ".lock"):
        _forget_old(cache)
        entry.mkdir(exist_ok=True)
        os.utime(entry)
    wanted = entry / f"{target}-{name}"
    with _locked(entry / f".{wanted.name}.lock"):
        if not wanted.is_dir():
            with tempfile.TemporaryDirectory(prefix=".new-", dir=entry) as folder:
                make(Path(folder) / "project").root.rename(wanted)
        return Project(wanted, target).copy(root)


def _week() -> str:
    """Return the week in which the run began: two of its processes must not have two stacks."""
    return shared("week", lambda _: f"{datetime.now(UTC):%G-W%V}")


def make_slim(root: Path) -> Project:
    """Return the slim stack in the folder ``root``, locked; nothing is built."""
    return project_of_repository(root, _make_slim)


def _make_slim(root: Path) -> None:
    samples = root / "packaging" / "samples"
    for component in PARTS:
        for path, text in part_files(component, "1").items():
            (samples / component / path).write_text(text)
    _change_api(samples / "automatictrader-api")
    _change_stream(samples / "marketdata-stream" / "src" / "marketdata_stream")
    _change_dashboard(samples / "traderunner")
    _change_definitions(root / "packaging")
    shutil.copytree(_LOCKS, root / "packaging" / "locks", dirs_exist_ok=True)


def _change_api(tree: Path) -> None:
    (tree / "automatictrader" / "parts.py").write_text(_READ_PARTS)
    _replace(
        tree / "app.py",
        ("from automatictrader.release", "from automatictrader.parts import read_parts\n"),
        ("\n\nif __name__", _API_PARTS),
    )


def _change_stream(package: Path) -> None:
    (package / "parts.py").write_text(_READ_PARTS)
    _replace(
        package / "api.py",
        ("import sqlite3", "import os\nfrom pathlib import Path\n"),
        ("from marketdata_stream.provider", "from marketdata_stream.parts import read_parts\n"),
        ("\n    return app\n", _STREAM_PARTS),
    )


def _change_dashboard(tree: Path) -> None:
    (tree / "requirements.txt").write_text(_REQUIREMENTS)
    for path in ("src/cli.py", "src/prices.py", "trading_dashboard/page.py"):
        (tree / path).unlink()
    (tree / "src" / "backtest.py").write_text(_BACKTEST)
    (tree / "trading_dashboard" / "app.py").write_text(_APP)
    (tree / "core" / "parts.py").write_text(_READ_PARTS)
    _replace(
        tree / "trading_dashboard" / "auth.py",
        ("import hmac", "import json\n"),
        ("from flask", "from core.parts import read_parts\nfrom core.paths import ROOT\n"),
        ("\n        return response\n", _DASHBOARD_PARTS),
    )


def _change_definitions(packaging: Path) -> None:
    for component in PARTS:
        definition = packaging / "components" / f"{component}.toml"
        text = re.sub(r"deadline = .*\n", "", definition.read_text())
        slow = component == "traderunner"
        deadline = DASHBOARD_DEADLINE if slow else DEADLINE
        definition.write_text(text.replace("\norder = ", f"\ndeadline = {deadline}\norder = "))
    dashboard = packaging / "components" / "traderunner.toml"
    before, _, rest = dashboard.read_text().partition("# What the dashboard imports")
    dashboard.write_text(before + rest.partition("]\n")[2])


def _replace(path: Path, *changes: tuple[str, str]) -> None:
    """Put text in a file: instead of the first in a pair, or before it where it is an import."""
    text = path.read_text()
    for old, new in changes:
        assert old in text, f"{path.name} has no {old!r}"
        whole = new + old if old.startswith(("import", "from")) else new
        text = text.replace(old, whole, 1)
    path.write_text(text)


def _digest() -> str:
    """Return a digest of every file that the slim stack is made of."""
    seen = hashlib.sha256(str(os.geteuid()).encode())
    files = [path for name in FOLDERS for path in (REPOSITORY / name).rglob("*")]
    here = Path(__file__).parent
    files += [here / name for name in ("project.py", "releases.py", "slim.py")]
    for path in sorted([*files, *_LOCKS.rglob("*"), *_keys()]):
        if path.is_file() and "__pycache__" not in path.parts:
            seen.update(f"{path.relative_to(REPOSITORY)} {path.stat().st_mode:o}\n".encode())
            seen.update(path.read_bytes())
    return seen.hexdigest()[:16]


def _keys() -> list[Path]:
    return sorted((REPOSITORY / "build" / "keys").glob("*.key"))


def _forget_old(cache: Path) -> None:
    """Remove what was not used for days."""
    for path in cache.iterdir():
        if path.is_dir() and path.stat().st_mtime < time.time() - _KEPT_DAYS * 24 * 3600:
            shutil.rmtree(path)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _write_locks() -> None:
    """Resolve the dependencies of the slim stack and keep what is not in packaging/locks."""
    with tempfile.TemporaryDirectory() as folder:
        project = make_slim(Path(folder) / "project")
        locks = project.root / "packaging" / "locks"
        for path in locks.glob("*/*.txt"):
            default = REPOSITORY / "packaging" / "locks" / path.relative_to(locks)
            kept = _LOCKS / path.relative_to(locks)
            if default.is_file() and default.read_bytes() == path.read_bytes():
                kept.unlink(missing_ok=True)
                continue
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, kept)


if __name__ == "__main__":
    _write_locks()
