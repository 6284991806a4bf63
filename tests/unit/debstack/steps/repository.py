"""Real git repositories for tests, made in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from debstack.process import Runner, base_environment

_ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Demo", "GIT_AUTHOR_EMAIL": "demo@example.org",
    "GIT_COMMITTER_NAME": "Demo", "GIT_COMMITTER_EMAIL": "demo@example.org",
    "GIT_AUTHOR_DATE": "1767225600 +0000", "GIT_COMMITTER_DATE": "1767225600 +0000",
}  # fmt: skip


@dataclass(frozen=True)
class Repository:
    """A git repository with a work tree at ``root``."""

    root: Path

    @classmethod
    def make(cls, root: Path) -> Repository:
        """Make an empty one."""
        root.mkdir(parents=True)
        made = cls(root)
        made.git("init", "-q", "-b", "main")
        return made

    def git(self, *arguments: str | Path) -> str:
        """Run git in it and return what it prints."""
        environment = base_environment() | _ENVIRONMENT
        return Runner().capture(["git", *arguments], cwd=self.root, env=environment).text.strip()

    def write(self, name: str, content: str | bytes = "", *, mode: int = 0o644) -> Path:
        """Write a file of the work tree."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
        return path

    def commit(self, files: dict[str, str] | None = None) -> str:
        """Commit the work tree, with ``files`` added, and return the commit."""
        for name, text in (files or {}).items():
            self.write(name, text)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "change")
        return self.git("rev-parse", "HEAD")
