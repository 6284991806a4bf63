"""The roles of keys, and what an operator is told at each stage of the replacement of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from debstack import gpg
from debstack.model.signers import PACKAGE, REPOSITORY, Role
from debstack.pipeline.rotation import Bench, advice, make_key, roles_of
from debstack.process import Runner

OLD, NEW = "A" * 40, "B" * 40
KEYRING = "traderunner-archive-keyring"
TRUST = Role((OLD,), (OLD, NEW))
BOTH = Role((OLD, NEW), (OLD, NEW))
SIGNS_NEW = Role((NEW,), (OLD, NEW))
SETTLED = Role((NEW,), (NEW,))


@pytest.mark.parametrize(
    ("name", "role", "now", "when", "then"),
    [
        (REPOSITORY, TRUST, "debstack lock, build, publish", "at once", "both"),
        (PACKAGE, TRUST, "debstack lock, build, publish", f"dpkg-query -W {KEYRING}", "new"),
        (REPOSITORY, BOTH, "debstack refresh", f"dpkg-query -W {KEYRING}", "new"),
        (REPOSITORY, SIGNS_NEW, "debstack refresh", "every channel is signed anew", "drop"),
        (PACKAGE, SIGNS_NEW, "debstack lock, build, publish", "only the old key signed", "drop"),
        ("prod", BOTH, "debstack refresh", "every server", "new"),
    ],
)
def test_what_to_do_now_when_to_go_on_and_how(
    name: str, role: Role, now: str, when: str, then: str
) -> None:
    found = advice(name, role, KEYRING)
    assert now in found.now[0]
    assert when in found.when
    assert found.then == f"debstack key rotate {name} --step {then}"
    assert str(found).splitlines()[0].startswith(f"{name}: ")


def test_a_settled_key_has_to_be_published_only_when_the_other_was_dropped() -> None:
    settled = advice(REPOSITORY, SETTLED, KEYRING)
    assert (settled.now, settled.when) == ((), "")
    assert "debstack key new repository" in settled.then
    assert "publish" in advice(REPOSITORY, SETTLED, KEYRING, dropped=True).now[0]


def test_two_keys_that_are_made_at_once_both_have_their_role(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path / "project", {"GNUPGHOME": str(tmp_path / "home")}, Runner())
    (bench.project / "packaging").mkdir(parents=True)

    def new_key(user_id: str, *_: object) -> str:
        if user_id == PACKAGE:  # takes so long that the other command begins later and ends earlier
            assert make_key(bench, REPOSITORY, REPOSITORY, ()) == (NEW, True)
        return OLD if user_id == PACKAGE else NEW

    monkeypatch.setattr(gpg, "new_key", new_key)
    monkeypatch.setattr(gpg, "export_public", lambda *_: b"public")
    assert make_key(bench, PACKAGE, PACKAGE, ()) == (OLD, True)
    assert roles_of(bench).roles == {
        PACKAGE: Role((OLD,), (OLD,)),
        REPOSITORY: Role((NEW,), (NEW,)),
    }
