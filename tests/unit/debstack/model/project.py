"""A project that is right in every respect, for tests that then spoil one thing."""

from __future__ import annotations

from pathlib import Path

STACK = """\
name = "traderunner"
maintainer = "Demo Operations <ops@example.org>"
homepage = "https://demo.example.org/"
components = ["feed", "web"]

[archive]
origin = "demo"
label = "demo stack"
uri = "file:///srv/demo/apt"
valid_for_days = 30
grace_days = 30

[[targets]]
name = "bookworm"
suffix = "deb12"
python = "3.11"
architecture = "amd64"
platform = "x86_64-manylinux_2_36"

[[channels]]
name = "staging"
production = false

[[channels]]
name = "prod"
production = true
"""

FEED = """\
name = "feed"
summary = "the feed"
description = "Feeds."

[source]
url = "build/feed.git"
ref = "main"

[python]
install = "wheel"

[[units]]
name = "feed"
description = "the feed"
exec = ".venv/bin/python -m feed"
type = "simple"
order = 10
port = 8090

[[units.checks]]
name = "health"
url = "http://127.0.0.1:{port}/health"
json = { "database.ok" = "true" }
"""

WEB = """\
name = "web"
summary = "the web side"
description = "Shows."
depends = ["libfoo1 (>= 1.2) | libfoo2"]
logs = ["logs"]

[source]
url = "git@git.example.org:demo/web.git"
ref = "v1.2"
exclude = ["tests/", "*.md"]

[python]
install = "tree"
requirements = ["requirements.txt"]
extra_requirements = ["gunicorn>=22,<24", "uvicorn[standard]; python_version > '3'"]

[[state]]
path = "data"
databases = ["web.db"]

[[config]]
name = "web.env"
source = "conf/web.env"

[[secrets]]
variable = "WEB_PASS"

[[units]]
name = "web-server"
description = "the web side"
exec = ".venv/bin/gunicorn --bind 127.0.0.1:{port} web:app"
type = "notify"
order = 20
port = 9001
after = ["network.target", "feed.service", "postgresql.service"]
deadline = 60
environment = { WEB_ROOT = "{root}", WEB_PORT = "{port}", SHELL = "${HOME}" }

[[units.checks]]
name = "login"
url = "http://localhost:{port}/"
status = [200, 401]

[[units.sandbox_exceptions]]
directive = "MemoryDenyWriteExecute"
value = "no"
reason = "compiles at run time"
"""

FILES = {
    "packaging/stack.toml": STACK,
    "packaging/components/feed.toml": FEED,
    "packaging/components/web.toml": WEB,
    "packaging/conf/web.env": "WEB_THEME=light\n",
}


def write(folder: Path, changes: dict[str, str | None] | None = None) -> Path:
    """Write the project into ``folder``, files replaced or, with None, left out; return it."""
    for name, text in (FILES | (changes or {})).items():
        if text is not None:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    return folder


def spoil(folder: Path, file: str, old: str, new: str) -> Path:
    """Write the project with the first ``old`` of ``file`` replaced by ``new``."""
    name = f"packaging/{file}"
    text = FILES[name]
    assert old in text, f"{old!r} is not in {name}"
    return write(folder, {name: text.replace(old, new, 1)})
