"""What a component's policy demands, also where the definition says nothing."""

from __future__ import annotations

from pathlib import Path

from debstack.model.definition import Source, Trust
from debstack.model.trust import policy

PACKAGING = Path("/p/packaging")


def test_who_says_nothing_trusts_the_address_and_the_ref() -> None:
    made = policy(Source("git@h:x", "main"), PACKAGING)
    assert made.urls == ("git@h:x",)
    assert made.refs == ("refs/heads/main", "refs/tags/main")
    assert made.signers == ()
    assert str(made) == "branch main, tag main"


def test_what_is_named_is_all_that_counts() -> None:
    trust = Trust(("git@h:x", "git@i:x"), ("release/*",), ("v*",), ("keys/allowed",))
    made = policy(Source("git@h:x", "main", trust=trust), PACKAGING)
    assert made.urls == trust.urls
    assert made.refs == ("refs/heads/release/*", "refs/tags/v*")
    assert made.signers == (PACKAGING / "keys/allowed",)
    assert made.wanted == (*made.refs, "refs/heads/main", "refs/tags/main")


def test_a_signature_alone_is_enough_and_a_commit_alone_is_nothing() -> None:
    signed = policy(Source("u", "main", trust=Trust(signers=("keys/allowed",))), PACKAGING)
    assert signed.refs == ()
    assert policy(Source("u", "a" * 40), PACKAGING).refs == ()
