"""What the signature of a suite covers: asked before a release is taken from it."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Collection

from debstack import gpg
from debstack.archive import content
from debstack.archive.generation import RESTORE, indexed, listed
from debstack.archive.tree import KEYRING, Tree
from debstack.errors import ArchiveError, SigningError
from debstack.process import Runner


def check_signed(tree: Tree, suite: str, signers: Collection[str], runner: Runner) -> bool:
    """Return whether the live generation signs which packages are a release.

    One of an earlier debstack does not. Raises ArchiveError if none of ``signers`` signed it, or if
    its indexes or its releases are not what was signed, SigningError for a bad signature.
    """
    folder = tree.generation(suite, tree.live(suite) or 0)
    try:
        message = (folder / "InRelease").read_bytes()
        # The keys beside it only tell who signed: whose signature counts is for signers to say.
        text, found = gpg.verify_clear(message, folder / KEYRING, runner)
        if not set(found) & set(signers):
            raise ArchiveError(
                f"{suite} is signed by {', '.join(found)}, and {', '.join(signers)} should sign it",
                hint="debstack archive verify; if nothing else is wrong with it: debstack refresh",
            )
        indexed(folder, text)
        return content.NAME in listed(text)
    except SigningError as error:
        # As of a key that was prolonged, or of the earlier of two keys, which has expired since.
        raise SigningError(
            f"{suite}: {error.message}",
            hint="debstack archive verify; if nothing else is wrong: debstack refresh --force",
            details=error.details,
        ) from error
    except (OSError, EOFError, ValueError, KeyError, zlib.error, lzma.LZMAError) as error:
        raise ArchiveError(f"{folder} cannot be read: {error!r}", hint=RESTORE) from error
