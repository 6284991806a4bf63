"""Whether a commit is one that the component's policy accepts, and who says so.

Everything is judged in a repository whose objects were all hashed anew (debstack.mirror), against
the object names in the lock. No exit code is believed: a signature counts when git's report names
a key that is allowed, exactly once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from debstack.errors import SourceError
from debstack.git import Git, local_environment
from debstack.gpg import throwaway_home
from debstack.mirror import Opened, matching
from debstack.model.trust import Policy, shown
from debstack.process import require

_SSH_GOOD = re.compile(r'Good "git" signature for (.+) with (\S+) key (SHA256:[A-Za-z0-9+/]{43})')
_GPG_BAD = {"BADSIG", "ERRSIG", "EXPSIG", "EXPKEYSIG", "REVKEYSIG", "NO_PUBKEY", "KEYREVOKED"}
_FINGERPRINT = re.compile(r"[0-9A-F]{40}")
_BEGIN_GPG = "-----BEGIN PGP SIGNATURE-----"
_BEGIN_SSH = "-----BEGIN SSH SIGNATURE-----"


@dataclass(frozen=True)
class Vouched:
    """Why a commit is accepted.

    ``refs`` are the objects of the branch or tag that has it in its history, and of the one that
    the component follows; ``signer`` is the key that signed it, if one has to.
    """

    refs: Mapping[str, str] = field(default_factory=dict)
    signer: str = ""


def demand_url(url: str, policy: Policy) -> None:
    """Raise SourceError unless ``policy`` allows to fetch from ``url``."""
    if url not in policy.urls:
        raise SourceError(
            f"{url} is not an address that this component may come from",
            hint="correct source.url or source.trust.urls in packaging/components,"
            " and run: debstack lock",
            details=[f"allowed: {each}" for each in policy.urls],
        )


def demand_unmoved(url: str, recorded: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Raise SourceError if a tag of the lock is another object ``now``.

    A branch moves with every commit; a tag that moves is somebody's mistake, or an attack.
    """
    for name, before in recorded.items():
        if name.startswith("refs/tags/") and name in now and now[name] != before:
            raise SourceError(
                f"the {shown(name)} of {url} was moved",
                hint="ask its owners who moved it; if it was meant,"
                " run: debstack lock --accept-moved-tags",
                details=[f"in the lock: {before}", f"now:         {now[name]}"],
            )


def vouch(
    mirror: Opened,
    url: str,
    commit: str,
    policy: Policy,
    *,
    recorded: Mapping[str, str],
    locking: bool,
) -> Vouched:
    """Return who vouches for ``commit``; ``recorded`` are the refs that the lock names.

    A build demands that one of ``recorded`` holds. With ``locking`` what the server has now is good
    as well, and is to be recorded. Raises SourceError if the policy is not met, ToolMissingError if
    what verifies a signature is not installed.
    """
    if not policy.refs and not policy.signers:
        raise SourceError(
            f"nobody vouches for commit {commit} of {url}",
            hint="name branches, tags or signers in [source.trust] of packaging/components",
        )
    demand_unmoved(url, recorded, mirror.refs)
    refs = _containing(mirror, url, commit, policy, recorded, locking) if policy.refs else {}
    if locking:
        refs |= _followed(mirror, commit, policy, recorded)
    signer = _signer(mirror.git, url, commit, policy.signers) if policy.signers else ""
    return Vouched(refs, signer)


def _containing(
    mirror: Opened,
    url: str,
    commit: str,
    policy: Policy,
    recorded: Mapping[str, str],
    locking: bool,
) -> dict[str, str]:
    """Return the ref, of those that the policy names, that has ``commit`` in its history."""
    git = mirror.git
    for name in matching(recorded, policy.refs):
        tip = recorded[name]
        # The lock may be older than the mirror, and never tells of what the server did not have.
        if name in mirror.refs and git.reaches(tip, mirror.refs[name]) and git.reaches(commit, tip):
            return {name: tip}
    if locking:
        for name in matching(mirror.refs, policy.refs):
            if git.reaches(commit, mirror.refs[name]):
                return {name: mirror.refs[name]}
    if not locking and not matching(recorded, policy.refs):
        raise SourceError(
            f"packaging/repos.lock does not say which of these has commit {commit} of {url}:"
            f" {policy}",
            hint="find out whether it was edited; then restore it with git, or run: debstack lock",
        )
    raise SourceError(
        f"commit {commit} of {url} is in the history of none of: {policy}",
        hint="somebody may have pushed it elsewhere, or rewritten the history; if it was reviewed,"
        " name its branch or tag in [source.trust] of packaging/components",
        details=[f"{shown(name)} is {mirror.refs[name]}"
                 for name in matching(mirror.refs, policy.refs)]
        or ["the server has none of them"],
    )  # fmt: skip


def _followed(
    mirror: Opened, commit: str, policy: Policy, recorded: Mapping[str, str]
) -> dict[str, str]:
    """Return the tag that the component follows: it is to be known when somebody moves it."""
    name = f"refs/tags/{policy.follows}"
    if name in recorded and mirror.refs.get(name) == recorded[name]:
        return {name: recorded[name]}
    peeled = mirror.git.ask("rev-parse", "-q", "--verify", f"{mirror.refs.get(name)}^{{commit}}",
                            check=False)  # fmt: skip
    return {name: mirror.refs[name]} if peeled.text.strip() == commit else {}


def _signer(git: Git, url: str, commit: str, files: tuple[Path, ...]) -> str:
    """Return the allowed key that signed ``commit``: "ssh:SHA256:… name" or "gpg:FINGERPRINT"."""
    content = git.ask("cat-file", "commit", commit).text.partition("\n\n")[0]
    ssh = tuple(each for each in files if each.suffix != ".asc")
    if _BEGIN_SSH in content and ssh:
        found, said = _ssh_signer(git, commit, ssh)
    elif _BEGIN_GPG in content and len(ssh) < len(files):
        found, said = _gpg_signer(git, commit, tuple(each for each in files if each not in ssh))
    else:
        kind = next((k for k, b in (("SSH", _BEGIN_SSH), ("GPG", _BEGIN_GPG)) if b in content), "")
        said = [f"it has a signature by {kind}" if kind else "it is not signed"]
        found = ""
    if not found:
        raise SourceError(
            f"commit {commit} of {url} is not signed by an allowed key",
            hint="have it signed by one of them; if a new colleague signed it,"
            f" add the key to {' or '.join(_name(each) for each in files)} and run: debstack lock",
            details=said,
        )
    return found


def _ssh_signer(git: Git, commit: str, files: tuple[Path, ...]) -> tuple[str, list[str]]:
    # Without it git ends as it does for a signature that is not good.
    require("ssh-keygen")
    allowed = _joined(files, git.root)
    done = git.ask("-c", "gpg.ssh.program=/usr/bin/ssh-keygen",
                   "-c", f"gpg.ssh.allowedSignersFile={allowed}",
                   "verify-commit", "--raw", commit, check=False)  # fmt: skip
    said = (done.stdout + done.stderr).decode("utf-8", "replace").splitlines()
    good = [match for line in said if (match := _SSH_GOOD.fullmatch(line.strip()))]
    if done.returncode == 0 and len(good) == 1 and len(said) == 1:
        return f"ssh:{good[0].group(3)} {good[0].group(1)}", said
    return "", said


def _gpg_signer(git: Git, commit: str, files: tuple[Path, ...]) -> tuple[str, list[str]]:
    with throwaway_home(git.runner) as home:
        gpg: list[str | Path] = ["gpg", "--homedir", home, "--batch", "--no-autostart"]
        # From the files: the machine's configuration may have gpg fetch keys by itself.
        allowed: set[str] = set()
        for file in files:
            git.runner.capture([*gpg, "--import", file])
            listing = git.runner.capture([*gpg, "--with-colons", "--show-keys", file]).text
            allowed |= _primary_fingerprints(listing.splitlines())
        done = git.runner.capture(
            ["git", "-C", git.root, "-c", "gpg.program=/usr/bin/gpg",
             "verify-commit", "--raw", commit],
            env=local_environment() | {"GNUPGHOME": str(home)},
            check=False,
        )  # fmt: skip
    said = (done.stdout + done.stderr).decode("utf-8", "replace").splitlines()
    status = [line.split()[1:] for line in said if line.startswith("[GNUPG:] ")]
    valid = [words for words in status if words and words[0] == "VALIDSIG"]
    good = [words for words in status if words and words[0] == "GOODSIG"]
    bad = [words for words in status if words and words[0] in _GPG_BAD]
    if done.returncode == 0 and len(valid) == len(good) == 1 and not bad:
        primary = valid[0][-1]
        if primary in allowed:
            return f"gpg:{primary}", said
    return "", said


def _primary_fingerprints(listing: list[str]) -> set[str]:
    """Return the fingerprints of primary keys in what gpg --with-colons lists."""
    found, primary = set(), False
    for line in listing:
        fields = line.split(":")
        if fields[0] in ("pub", "sub"):
            primary = fields[0] == "pub"
        elif fields[0] == "fpr" and primary and _FINGERPRINT.fullmatch(fields[9]):
            found.add(fields[9])
    return found


def _joined(files: tuple[Path, ...], folder: Path) -> Path:
    """Write one file with the lines of all, as git takes one only."""
    joined = folder / "allowed-signers"
    joined.write_text("".join(f"{file.read_text('utf-8').rstrip()}\n" for file in files), "utf-8")
    return joined


def _name(file: Path) -> str:
    return f"packaging/keys/{file.name}" if file.parent.name == "keys" else file.name
