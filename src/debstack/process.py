"""The one place where debstack starts other programs.

Programs get a small environment of known variables, a closed standard input and the system's own
PATH (a pyenv or conda shim in front of /usr/bin would change which Python builds a package).
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from debstack.errors import BuildError, DebstackError, ToolMissingError

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TAIL_LINES = 25
_SHOWN_LENGTH = 300
# How long a program may tidy up that is told to end: mmdebstrap removes a root, and its mounts.
_PATIENCE = 30.0
# GPG_TTY: where gpg's agent asks for a passphrase.
_PASSED_ON = ("GPG_TTY", "HOME", "TMPDIR", "USER", "LOGNAME", "XDG_RUNTIME_DIR")
# What the network clients need to reach an index or a git server from behind a proxy or mirror.
_NETWORK_PREFIXES = ("PIP_", "UV_", "SSL_CERT_", "GIT_SSH")
_NETWORK_NAMES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy", "SSH_AUTH_SOCK")

_PACKAGE_OF = {
    "apt-ftparchive": "apt-utils",
    "bwrap": "bubblewrap",
    "dpkg-buildpackage": "dpkg-dev",
    "dpkg-source": "dpkg-dev",
    "dh": "debhelper",
    "gpg": "gpg",
    "gpgv": "gpgv",
    "ssh-keygen": "openssh-client",
}


def base_environment() -> dict[str, str]:
    """Return the environment for tools that neither need the network nor the user's settings."""
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return environment | {"PATH": SYSTEM_PATH, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def network_environment() -> dict[str, str]:
    """Return the environment for clients that fetch: proxies, certificates, index settings."""
    passed = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(_NETWORK_PREFIXES) or name.lower() in map(str.lower, _NETWORK_NAMES)
    }
    return base_environment() | passed


@dataclass(frozen=True)
class Result:
    """How a program ended. ``stderr`` is empty where it was merged into a log."""

    command: tuple[str, ...]
    returncode: int
    stdout: bytes = b""
    stderr: bytes = b""

    @property
    def text(self) -> str:
        """Standard output, decoded."""
        return self.stdout.decode("utf-8", "replace")


@dataclass(frozen=True)
class Runner:
    """Starts programs and keeps what they print.

    ``log`` receives the merged output of ``run``; with ``echo`` it is shown on stderr as well, each
    line after ``label``. ``error`` is the class raised when a program fails.
    """

    log: Path | None = None
    echo: bool = False
    error: type[DebstackError] = BuildError
    label: str = ""

    def raising(self, error: type[DebstackError]) -> Runner:
        """Return a runner that raises ``error`` when a program fails."""
        return replace(self, error=error)

    def run(
        self,
        command: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> Result:
        """Run a program, its stdout and stderr going to the log in the order they were written.

        Raises ``error`` with the command, the exit code and the last lines if it fails and
        ``check`` is set, ToolMissingError if there is no such program. After Ctrl-C no program is
        left that would go on writing.
        """
        argv = tuple(map(str, command))
        process_env = dict(base_environment() if env is None else env)
        collected = bytearray()
        log = self.log.open("ab") if self.log else None
        try:
            if log:
                log.write(f"$ {shlex.join(argv)}\n".encode())
                log.flush()
            with _start(argv, cwd, process_env) as process:
                assert process.stdout is not None  # noqa: S101  (stdout=PIPE below)
                try:
                    for line in process.stdout:
                        collected += line
                        if log:
                            log.write(line)
                            log.flush()
                        if self.echo:
                            sys.stderr.buffer.write(f"{self.label:<28} | ".encode() + line)
                            sys.stderr.buffer.flush()
                except BaseException:
                    _end(process)
                    raise
        finally:
            if log:
                log.close()
        result = Result(argv, process.returncode, bytes(collected))
        if check and result.returncode != 0:
            raise self._failure(result, result.text)
        return result

    def capture(
        self,
        command: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> Result:
        """Run a program and return its output for parsing, stdout and stderr apart.

        Raises as ``run`` does.
        """
        argv = tuple(map(str, command))
        try:
            done = subprocess.run(
                argv,
                cwd=cwd,
                env=dict(base_environment() if env is None else env),
                # An empty input closes standard input like /dev/null does.
                input=b"",
                capture_output=True,
                check=False,
            )
        except FileNotFoundError as error:
            raise _missing(argv[0], cwd) from error
        result = Result(argv, done.returncode, done.stdout, done.stderr)
        if check and result.returncode != 0:
            raise self._failure(result, (result.stderr or result.stdout).decode("utf-8", "replace"))
        return result

    def feed(
        self,
        command: Sequence[str | Path],
        chunks: Iterable[bytes],
        *,
        env: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> Result:
        """Run a program with ``chunks`` as its standard input, never holding all of them in memory.

        Output is kept as in ``capture``. A program that stops reading early is judged by its exit
        code, so a full pipe to a program that is gone is not an error of its own. Raises as ``run``
        does.
        """
        argv = tuple(map(str, command))
        process_env = dict(base_environment() if env is None else env)
        # Files for the output: a pipe that nobody reads while the input is written would deadlock.
        with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
            try:
                process = subprocess.Popen(
                    argv, env=process_env, stdin=subprocess.PIPE, stdout=stdout, stderr=stderr
                )
            except FileNotFoundError as error:
                raise _missing(argv[0], None) from error
            with suppress(BrokenPipeError), process:
                assert process.stdin is not None  # noqa: S101  (stdin=PIPE above)
                for chunk in chunks:
                    process.stdin.write(chunk)
                process.stdin.close()
            stdout.seek(0)
            stderr.seek(0)
            result = Result(argv, process.returncode, stdout.read(), stderr.read())
        if check and result.returncode != 0:
            raise self._failure(result, (result.stderr or result.stdout).decode("utf-8", "replace"))
        return result

    @contextmanager
    def stream(self, command: Sequence[str | Path]) -> Iterator[IO[bytes]]:
        """Run a program and give its standard output to read while it runs.

        A program whose output is not read to the end is stopped. Raises as ``run`` does, after the
        block, if it failed.
        """
        argv = tuple(map(str, command))
        with tempfile.TemporaryFile() as stderr:
            try:
                process = subprocess.Popen(
                    argv, env=base_environment(), stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE, stderr=stderr,
                )  # fmt: skip
            except FileNotFoundError as error:
                raise _missing(argv[0], None) from error
            with process:
                assert process.stdout is not None  # noqa: S101  (stdout=PIPE above)
                try:
                    yield process.stdout
                except BaseException:
                    process.kill()
                    raise
            stderr.seek(0)
            result = Result(argv, process.returncode, b"", stderr.read())
        if result.returncode != 0:
            raise self._failure(result, result.stderr.decode("utf-8", "replace"))

    def _failure(self, result: Result, output: str) -> DebstackError:
        tail = output.rstrip().splitlines()[-_TAIL_LINES:]
        hint = "" if self.log else "run the command above by hand"
        error = self.error(
            f"`{_shown(result.command)}` ended with exit code {result.returncode}",
            hint=hint,
            details=tail,
        )
        error.log = self.log
        return error


def require(*programs: str) -> None:
    """Raise ToolMissingError naming every program that is not installed, with its package."""
    missing = [name for name in programs if shutil.which(name, path=SYSTEM_PATH) is None]
    if missing:
        packages = sorted({_PACKAGE_OF.get(name, name) for name in missing})
        raise ToolMissingError(
            f"not installed: {', '.join(missing)}", hint=f"apt-get install {' '.join(packages)}"
        )


def _start(
    argv: Sequence[str], cwd: Path | None, env: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            argv,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    except FileNotFoundError as error:
        raise _missing(argv[0], cwd) from error


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program, with its whole process group if that is its own, and wait until it is gone.

    Its folder may be removed next. A terminal's Ctrl-C does not reach a session of its own.
    """
    group = os.getpgid(process.pid)

    def tell(number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            if group == os.getpgrp():
                process.send_signal(number)
            else:
                os.killpg(group, number)

    def gone() -> None:
        # Until nobody has its output open any more; who had much to say would wait for a reader.
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=_PATIENCE)

    tell(signal.SIGTERM)
    try:
        gone()
    finally:
        tell(signal.SIGKILL)
        gone()


def _shown(command: Sequence[str]) -> str:
    text = shlex.join(command)
    return text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]} …"


def _missing(program: str, cwd: Path | None) -> DebstackError:
    if cwd is not None and not cwd.is_dir():
        return BuildError(f"the folder {cwd} does not exist, so {program} cannot run there")
    package = _PACKAGE_OF.get(Path(program).name, Path(program).name)
    return ToolMissingError(f"{program} is not installed", hint=f"apt-get install {package}")
