"""Files of variables, as python-dotenv reads them and as systemd does, which is not the same.

The applications' ``.env`` may be read by either. ``export``, a comment behind a value and
``${NAME}`` mean something to python-dotenv alone; what is written here means the same to both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tradingctl.envfile import assignments

PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,=^~-]*")
DOTENV = re.compile(
    r"""^[^\S\n]*(?:export[^\S\n]+)?(?P<name>'[^']+'|[^=\#\s]+)[^\S\n]*=[^\S\n]*
    (?: '(?P<single>(?:\\.|[^'\\])*)' | "(?P<double>(?:\\.|[^"\\])*)" | (?P<bare>[^\r\n]*) )""",
    re.MULTILINE | re.VERBOSE | re.DOTALL,
)
COMMENT = re.compile(r"\s+#.*")
REFERENCE = re.compile(r"\$\{(?P<name>[^}:]+)(?::-(?P<default>[^}]*))?\}")
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


def dotenv(text: str) -> dict[str, str]:
    """Return what python-dotenv makes of ``text``."""
    found: dict[str, str] = {}
    position = 0
    while match := DOTENV.search(text, position):
        # Only what follows on its own line is skipped: a quoted value may have several.
        end = text.find("\n", match.end())
        position = len(text) if end < 0 else end
        line = text.rfind("\n", 0, match.start("name")) + 1
        if text[line : match.start("name")].lstrip().startswith("#"):
            continue
        if match["single"] is not None:
            value = re.sub(r"\\([\\'])", r"\1", match["single"])
        elif match["double"] is not None:
            value = re.sub(r"\\(.)", _escape, match["double"], flags=re.DOTALL)
        else:
            value = COMMENT.sub("", match["bare"]).strip()
            value = "" if value.startswith("#") else value
        found[match["name"].strip("'")] = _expanded(value, found)
    return found


def _escape(match: re.Match[str]) -> str:
    return ESCAPES.get(match[1], match[1] if match[1] in "\\'\"" else match[0])


def _expanded(value: str, known: Mapping[str, str]) -> str:
    return REFERENCE.sub(lambda each: known.get(each["name"], each["default"] or ""), value)


def systemd(text: str) -> dict[str, str]:
    """Return what systemd makes of ``text`` (systemd.exec(5), EnvironmentFile=)."""
    return dict(assignments(text))


def assignment(name: str, value: str) -> str:
    """Return a line that means the same to systemd, python-dotenv and a shell."""
    if PLAIN.fullmatch(value):
        return f"{name}={value}"
    if "'" not in value and "\\" not in value:
        return f"{name}='{value}'"
    escaped = re.sub(r'(["\\`$])', r"\\\1", value)
    return f'{name}="{escaped}"'
