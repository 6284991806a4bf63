"""README.md says what the programs say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from debstack.cli.root import debstack

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture
def blocks() -> list[str]:
    return re.findall(
        r"^```[a-z]*\n(.*?)^```$", README.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )


def test_it_names_the_two_commands_that_matter(blocks: list[str]) -> None:
    text = "".join(blocks)
    for command in ("make debs", "make test"):
        assert re.search(rf"^\$ {command}\b", text, re.MULTILINE), command


def test_its_help_is_the_real_one(blocks: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = [block for block in blocks if block.startswith("$ debstack --help\n")]
    assert len(shown) == 1, "README.md needs one fenced block that begins with: $ debstack --help"
    real = debstack.get_help(debstack.make_context("debstack", [], resilient_parsing=True))
    assert shown[0].partition("\n")[2].rstrip() == real.rstrip()


def test_its_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", README.read_text("utf-8"))
    assert targets
    assert [each for each in targets if not (README.parent / each).exists()] == []
