"""Entry point: runs the command line, and turns errors into text and an exit code."""

from __future__ import annotations

import sys

from debstack.cli.root import debstack
from debstack.errors import DebstackError


def main() -> None:
    """Run ``debstack`` and exit."""
    try:
        debstack.main(prog_name="debstack")
    except DebstackError as error:
        bold, plain = ("\033[1;31m", "\033[0m") if sys.stderr.isatty() else ("", "")
        sys.stderr.write(f"\n{bold}error:{plain} {error.message}\n")
        for line in error.details:
            sys.stderr.write(f"    {line}\n")
        if error.log and error.log.is_file():
            sys.stderr.write(f"log: {error.log}\n")
        if error.hint:
            sys.stderr.write(f"next: {error.hint}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
