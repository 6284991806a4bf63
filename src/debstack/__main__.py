"""Entry point: runs the command line, and turns errors into text and an exit code."""

from __future__ import annotations

import os
import sys

from debstack.cli.root import debstack
from debstack.errors import DebstackError


def main() -> None:
    """Run ``debstack`` and exit."""
    # Modes of files are part of the bits; every tool that is started inherits this.
    os.umask(0o022)
    try:
        debstack.main(prog_name="debstack")
    except (OSError, UnicodeError) as error:
        # Of a file or a disk and not of the program: no traceback would say more.
        sys.stderr.write(f"\nerror: {error}\nnext: see to that file, or to that disk\n")
        sys.exit(DebstackError.exit_code)
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
