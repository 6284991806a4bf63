"""What an operator is told at each stage of the replacement of a key."""

from __future__ import annotations

import pytest

from debstack.model.signers import PACKAGE, REPOSITORY, Role
from debstack.pipeline.rotation import advice

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
