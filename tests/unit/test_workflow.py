"""The workflow of CI: what nobody can exchange, and who gets to see secrets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from debstack import mirror
from debstack.process import Runner

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / ".github/workflows/packages.yml").read_text(encoding="utf-8")
DOCUMENT = (ROOT / "docs/ci.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", DOCUMENT, re.DOTALL)


def jobs() -> dict[str, str]:
    """Return the text of each job by its name."""
    parts = re.split(r"^  ([a-z]+):\n", TEXT.partition("\njobs:\n")[2], flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def steps(job: str) -> list[str]:
    return re.split(r"^      - ", job.partition("    steps:\n")[2], flags=re.MULTILINE)[1:]


def test_actions_are_pinned_by_commit() -> None:
    used = re.findall(r"uses: (\S+)(.*)", TEXT)
    assert len(used) >= 5
    for action, rest in used:
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r" # v[0-9]+\.[0-9]+\.[0-9]+", rest), f"{action} says no version"
    assert len({action for action, _ in used}) == len({each.split("@")[0] for each, _ in used})


def test_secrets_are_for_one_step_that_no_pull_request_reaches() -> None:
    found = jobs()
    assert "secrets." not in TEXT.partition("\njobs:\n")[0] + found["test"]
    assert "    if: github.event_name == 'push'\n" in found["packages"]
    assert "    if: github.event_name == 'schedule'\n" in found["refresh"]
    for job in (found["packages"], found["refresh"]):
        assert "    environment: packages\n" in job
        (step,) = [each for each in steps(job) if "secrets." in each]
        assert "run: scripts/ci-keys " in step
        assert "secrets." not in job.partition("    steps:\n")[0]
    assert re.findall(r"^permissions:\n  contents: read\n", TEXT, re.MULTILINE)


def test_it_does_what_make_does() -> None:
    found = jobs()
    assert "- run: make test\n" in found["test"]
    assert "run: make debs TARGET=all\n" in found["packages"]
    order = [
        "ci-keys",
        "copy-archive fetch",
        "make debs",
        "path: dist/",
        "copy-archive push",
        "rm -rf",
    ]
    places = [found["packages"].index(each) for each in order]
    assert places == sorted(places)
    for step in steps(found["packages"]):
        if "copy-archive" in step:
            assert "if: github.ref_type == 'tag'" in step
    order = ["ci-keys", "copy-archive fetch", "make refresh", "copy-archive push", "rm -rf"]
    places = [found["refresh"].index(each) for each in order]
    assert places == sorted(places)


@pytest.mark.parametrize("kind", ["secrets", "vars"])
def test_everything_it_has_to_be_told_is_documented(kind: str) -> None:
    for name in set(re.findall(rf"\b{kind}\.([A-Z_]+)", TEXT)):
        word = "secret" if kind == "secrets" else "variable"
        assert f"| `{name}` | {word} |" in DOCUMENT


def test_other_ci_runs_the_same_commands() -> None:
    for command in re.findall(r"(scripts/[a-z-]+(?: fetch| push)?|make [a-z]+)", TEXT):
        assert command in DOCUMENT, command
    for script in set(re.findall(r"scripts/[a-z-]+", DOCUMENT)):
        assert (ROOT / script).stat().st_mode & 0o111


def test_other_ci_stops_at_the_first_error() -> None:
    """What could not be fetched must not be replaced by what was built without it."""
    assert BLOCKS[0].startswith("set -e ")


def test_what_was_signed_is_copied_although_a_channel_could_not_be() -> None:
    fetch, refresh, push = [
        each for each in steps(jobs()["refresh"]) if "copy-archive" in each or "refresh" in each
    ]
    assert "        id: fetch\n" in fetch
    assert "id:" not in refresh
    # Neither always(), which pushes what was not fetched, nor the default, which is success().
    assert "        if: ${{ !cancelled() && steps.fetch.outcome == 'success' }}\n" in push


@pytest.mark.parametrize(
    ("fails", "done", "code"),
    [
        ("", ["fetch", "refresh", "push"], 0),
        ("refresh", ["fetch", "refresh", "push"], 10),
        ("fetch", ["fetch"], 10),
        ("push", ["fetch", "refresh", "push"], 10),
    ],
)
def test_other_ci_does_the_same_every_week(
    tmp_path: Path, fails: str, done: list[str], code: int
) -> None:
    _, weekly = BLOCKS
    script = tmp_path / "weekly.sh"
    script.write_text(
        f"set -e\ndid() {{ echo $1; [ $1 != {fails or 'nothing'} ] || return 10; }}\n"
        + re.sub("scripts/copy-archive|make", "did", weekly)
    )
    run = Runner().capture(["sh", script], check=False)
    assert (run.text.split(), run.returncode) == (done, code)


def test_what_is_kept_between_runs_is_what_a_build_looks_for(tmp_path: Path) -> None:
    bundle = mirror.place(tmp_path, "https://git.example.org/web", "0" * 40)
    folders = {bundle.relative_to(tmp_path).parts[0], "wheels"}
    kept = re.findall(r"^ +~/\.cache/debstack/(\S+)$", TEXT, re.MULTILINE)
    assert sorted(kept) == sorted([*folders] * 2)
    for folder in folders:
        assert f"~/.cache/debstack/{folder}`" in DOCUMENT
