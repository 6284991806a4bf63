"""What can go wrong, each with its exit code and the command to type next.

::

    TradingError               5   the request was refused, nothing or little was changed
    +-- NotRootError           5
    +-- NoAccountError         5
    +-- HandMadeError          5   something of the administrator's is where the link belongs
    +-- AdoptionError          5   what was installed by hand is not taken over, or not given back
    +-- ProgramFailedError     5
    +-- BackupError            5   not everything is provably backed up
    +-- RestoreError           5   nothing was restored
    +-- MarketSettingsError    5   deploy.conf or the holidays are not understood
    +-- MarketStopError        5   a service runs on after the market's close
    +-- WindowError            5   an upgrade at a time at which the administrator wants none
    +-- BusyError              5   another program is changing the installed packages
    +-- VetoError              5   an installation may not begin
    |   +-- UntrustedError     5   a package is not one that the package key has signed
    +-- NoSpaceError           5   a file system is too full for an installation
    +-- NoReleaseError         5   the archive has no such release
    +-- StoreError             5   a release is not kept, or not whole
    +-- RollbackError          1   the server could not be brought back to a release
    +-- OrdersError            5   a service that would send orders where none may be sent
    +-- NothingInstalledError  6
    +-- NotReadyError          1   a service did not give a good answer in time

Only ``cli`` turns them into text and an exit code. 1 is also Python's own, 2 is argparse's.
"""

from __future__ import annotations


class TradingError(Exception):
    """A refusal: ``message`` says what and where, ``next_command`` what to type."""

    exit_code = 5

    def __init__(self, message: str, next_command: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_command = next_command


class NotRootError(TradingError):
    """The command changes the system and was not started by root."""


class NoAccountError(TradingError):
    """The user or the group of the services does not exist."""


class HandMadeError(TradingError):
    """A directory or link of somebody else's lies where the component's link belongs."""


class AdoptionError(TradingError):
    """An installation by hand cannot be taken over, or not be given back."""


class ProgramFailedError(TradingError):
    """A program whose answer is needed failed."""


class BackupError(TradingError):
    """A backup is not complete, or not intact, so nothing may rely on it."""


class RestoreError(TradingError):
    """A backup is not restored; what was there is as it was."""


class MarketSettingsError(TradingError):
    """The settings of the deploy window or the file of holidays cannot be understood."""


class MarketStopError(TradingError):
    """A service that is to rest while the market is closed did not stop."""


class WindowError(TradingError):
    """An upgrade was asked for outside of the deploy window."""


class BusyError(TradingError):
    """Another program is changing the installed packages."""


class VetoError(TradingError):
    """An installation may not begin."""


class UntrustedError(VetoError):
    """A package is not signed, not by the package key, or not in the one layout that is clear."""


class NoSpaceError(TradingError):
    """A file system is too full for an installation."""


class NoReleaseError(TradingError):
    """The archive has no such release."""


class StoreError(TradingError):
    """A release cannot be kept, or what is kept of it is not whole."""


class RollbackError(TradingError):
    """The server could not be brought back to a release."""

    exit_code = 1


class OrdersError(TradingError):
    """A service is not started because it would send orders on a machine that must not."""


class NothingInstalledError(TradingError):
    """No component is installed on this server."""

    exit_code = 6


class NotReadyError(TradingError):
    """A service that is being started died or did not answer in time."""

    exit_code = 1
