"""One HTTP question to a service. Needs no privilege, no systemd and no path.

No proxy and no redirect is followed: the answer is to come from the process under examination.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
import urllib.parse
from dataclasses import dataclass
from typing import Any

from tradingctl.description import Check

BODY_LIMIT = 1 << 20
EXCERPT = 400  # bytes of an unexpected answer that are shown: the reason is often its last word


@dataclass(frozen=True)
class Answer:
    """Whether the answer was good, else what was expected and what came; status 0 is no answer."""

    ok: bool
    expected: str
    got: str
    status: int = 0


@dataclass(frozen=True)
class _Reply:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


def ask(check: Check, commit: str, timeout: float = 2.0) -> Answer:
    """Ask once and judge the answer; ``timeout`` seconds bound the whole exchange.

    ``commit`` is the commit that the service must say it runs, where the check asks for it. Never
    raises: every failure of the network or of the service is an answer that is not ok.
    """
    expected = f"status {' or '.join(map(str, check.status))} from {check.url}"
    try:
        reply = _get(check.url, timeout)
    except TimeoutError:
        return Answer(False, expected, f"no answer within {timeout:g} s")
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Answer(False, expected, _reason(error))
    if reply.status not in check.status:
        excerpt = reply.body[:EXCERPT].decode("utf-8", "replace")
        words = "".join(each if each.isprintable() else " " for each in excerpt).split()
        return Answer(
            False, expected, " ".join(["status", str(reply.status), *words]), reply.status
        )
    return _judge(check, commit, reply) or Answer(
        True, expected, f"status {reply.status}", reply.status
    )


def _reason(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return f"{type(error).__name__}: {error}".rstrip(": ")


def _get(url: str, timeout: float) -> _Reply:
    """Return the reply to one GET. Raises OSError, HTTPException, ValueError, TimeoutError."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"{url!r} is not an http address")
    connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=timeout)
    late = threading.Event()
    began = time.monotonic()

    def cut() -> None:
        late.set()
        with contextlib.suppress(OSError):
            connected.shutdown(socket.SHUT_RDWR)

    try:
        connection.connect()
        connected: socket.socket = connection.sock
        # The socket's timeout bounds one read; a service that dribbles must not hold us longer.
        alarm = threading.Timer(max(0.0, timeout - (time.monotonic() - began)), cut)
        alarm.daemon = True
        alarm.start()
        try:
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("GET", target, headers={"User-Agent": "tradingctl"})
            with connection.getresponse() as response:
                body = response.read(BODY_LIMIT)
                reply = _Reply(response.status, response.headers, body)
        except (OSError, http.client.HTTPException) as error:
            if late.is_set():
                raise TimeoutError from error
            raise
        finally:
            alarm.cancel()
        if late.is_set():
            raise TimeoutError
        return reply
    finally:
        connection.close()


def _judge(check: Check, commit: str, reply: _Reply) -> Answer | None:
    """Return why a reply of an accepted status is not good, None when it is."""
    if check.commit_header:
        said = reply.headers.get(check.commit_header) or "no such header"
        if said != commit:
            return _other(f"commit {commit} in header {check.commit_header}", said, reply)
    wanted = dict(check.json)
    if check.commit_json:
        wanted[check.commit_json] = commit
    if not wanted:
        return None
    try:
        data = json.loads(reply.body)
    except ValueError:
        return _other("an answer in JSON", "something else", reply)
    for path, value in wanted.items():
        said = _text(_at(data, path))
        if said != value:
            what = "commit" if path == check.commit_json else "value"
            return _other(f"{what} {value} at {path}", said, reply)
    return None


def _other(expected: str, got: str, reply: _Reply) -> Answer:
    return Answer(False, expected, got, reply.status)


class _Nothing:
    """What lies at a path that the answer does not have."""


def _at(data: Any, path: str) -> Any:
    for key in path.split("."):
        if isinstance(data, dict) and key in data:
            data = data[key]
        elif isinstance(data, list) and key.isdecimal() and int(key) < len(data):
            data = data[int(key)]
        else:
            return _Nothing
    return data


def _text(value: Any) -> str:
    if value is _Nothing:
        return "nothing there"
    return value if isinstance(value, str) else json.dumps(value)
