"""What can go wrong, each with its exit code and the command to type next.

::

    TradingError               5   the request was refused, nothing or little was changed
    +-- NotRootError           5
    +-- NoAccountError         5
    +-- HandMadeError          5   something of the administrator's is where the link belongs
    +-- ProgramFailedError     5
    +-- MarketSettingsError    5   deploy.conf or the holidays are not understood
    +-- MarketStopError        5   a service runs on after the market's close
    +-- WindowError            5   an upgrade at a time at which the administrator wants none
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


class ProgramFailedError(TradingError):
    """A program whose answer is needed failed."""


class MarketSettingsError(TradingError):
    """The settings of the deploy window or the file of holidays cannot be understood."""


class MarketStopError(TradingError):
    """A service that is to rest while the market is closed did not stop."""


class WindowError(TradingError):
    """An upgrade was asked for outside of the deploy window."""


class NothingInstalledError(TradingError):
    """No component is installed on this server."""

    exit_code = 6


class NotReadyError(TradingError):
    """A service that is being started died or did not answer in time."""

    exit_code = 1
