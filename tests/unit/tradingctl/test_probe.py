"""One HTTP question to a service."""

from __future__ import annotations

import socket
import time
from threading import Thread

import pytest
from tests.unit.tradingctl.fakes import COMMIT, Reply, answering, health

from tradingctl.description import Check
from tradingctl.probe import ask


def test_the_right_status_value_and_commit_are_good() -> None:
    reply = Reply(body={"commit": COMMIT, "dependencies": {"database": True, "n": [1]}})
    with answering(reply) as url:
        check = health(url, json={"dependencies.database": "true", "dependencies.n.0": "1"})
        answer = ask(check, COMMIT)
    assert answer.ok
    assert answer.status == 200


def test_another_commit_is_not_good() -> None:
    with answering(Reply(body={"commit": "0" * 40})) as url:
        answer = ask(health(url), COMMIT)
    assert not answer.ok
    assert answer.expected == f"commit {COMMIT} at commit"
    assert answer.got == "0" * 40


def test_the_commit_may_be_in_a_header() -> None:
    check = Check(name="health", url="", commit_header="X-Release-Commit")
    with answering(Reply(headers={"X-Release-Commit": COMMIT})) as url:
        assert ask(health(url, commit_json="", commit_header="X-Release-Commit"), COMMIT).ok
    with answering(Reply()) as url:
        answer = ask(health(url, commit_json="", commit_header=check.commit_header), COMMIT)
    assert answer.got == "no such header"


def test_an_error_says_its_status_and_the_beginning_of_the_body() -> None:
    with answering(Reply(status=500, body=b"database\n locked\x1b[31m")) as url:
        answer = ask(health(url), COMMIT)
    assert not answer.ok
    assert answer.got == "status 500 database locked [31m"


def test_an_error_that_names_its_reason_last_is_told_with_it() -> None:
    feed = {"connected": True, "subscribed_symbols": 12, "circuit_breaker_state": "closed"}
    reason = "not written: attempt to write a readonly database"
    body = {"status": "degraded", "commit": COMMIT, "provider": "real",
            "dependencies": {"eodhd": feed, "database": reason}}  # fmt: skip
    with answering(Reply(status=503, body=body)) as url:
        assert reason in ask(health(url), COMMIT).got


def test_a_refusal_to_strangers_is_good_where_it_is_accepted() -> None:
    with answering(Reply(status=401)) as url:
        assert ask(health(url, status=(200, 401), commit_json=""), COMMIT).ok


def test_a_redirect_is_not_followed() -> None:
    with answering(Reply()) as good:
        reply = Reply(status=302, headers={"Location": good})
        with answering(reply) as url:
            answer = ask(health(url), COMMIT)
    assert answer.status == 302
    assert not answer.ok


def test_a_proxy_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with answering(Reply()) as url:
        assert ask(health(url), COMMIT).ok


def test_a_missing_value_and_a_body_that_is_no_json_are_said() -> None:
    with answering(Reply(body={"status": "ok"})) as url:
        assert ask(health(url), COMMIT).got == "nothing there"
    with answering(Reply(body=b"<html>")) as url:
        assert ask(health(url), COMMIT).got == "something else"


def test_nobody_listening_and_a_bad_address_are_answers_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert ask(health(f"http://127.0.0.1:{port}/"), COMMIT).got == "connection refused"
    assert "not an http address" in ask(health("ftp://x/"), COMMIT).got


def test_a_service_that_dribbles_is_cut_off_in_time() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(5)

    def dribble() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            connection.settimeout(5)
            connection.recv(65536)
            connection.settimeout(0.05)
            for _ in range(60):  # three seconds, a byte each time nothing comes
                try:
                    if not connection.recv(1):
                        return
                except TimeoutError:
                    connection.sendall(b".")

    thread = Thread(target=dribble)
    thread.start()
    began = time.monotonic()
    with listener:
        answer = ask(health(f"http://127.0.0.1:{listener.getsockname()[1]}/"), COMMIT, 0.2)
        assert answer.got == "no answer within 0.2 s"
        assert time.monotonic() - began < 2
        thread.join()
