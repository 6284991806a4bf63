"""Every path that tradingctl reads or writes, named once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Paths:
    """The paths of a server whose file system begins at ``root``."""

    root: Path = Path("/")

    @property
    def components(self) -> Path:
        """Where each package puts the description of its component."""
        return self.root / "usr/share/trading/components"

    @property
    def stack(self) -> Path:
        """The description of the stack."""
        return self.root / "usr/share/trading/stack.json"

    def shipped(self, name: str) -> Path:
        """Return dpkg's copy of a component's code and venv."""
        return self.root / "usr/lib/trading" / name

    @property
    def base(self) -> Path:
        """The base directory, where the links to the running code lie."""
        return self.root / "opt/trading"

    def link(self, name: str) -> Path:
        """Return the link to the generation of a component that is to run."""
        return self.base / name

    def generations(self, name: str) -> Path:
        """Return the directory that holds all generations of a component."""
        return self.base / "releases" / name

    def generation(self, name: str, version: str) -> Path:
        """Return the directory of one generation."""
        return self.generations(name) / version

    def release_file(self, name: str) -> Path:
        """Return the file in which the code that is to run says which commit it is."""
        return self.link(name) / "RELEASE.json"

    @property
    def state(self) -> Path:
        """The directory above every component's state."""
        return self.root / "var/lib/trading"

    @property
    def logs(self) -> Path:
        """The directory above every component's log files."""
        return self.root / "var/log/trading"

    @property
    def last_good(self) -> Path:
        """The record of the release that was verified last."""
        return self.state / "last-good.json"

    @property
    def releases(self) -> Path:
        """The packages of the releases that can be gone back to."""
        return self.state / "releases"

    @property
    def transaction(self) -> Path:
        """What is known of an installation that has not ended yet."""
        return self.state / "transaction"

    @property
    def deploy_log(self) -> Path:
        """The log of what happened to the releases, JSON lines."""
        return self.logs / "deploy.log"

    @property
    def backups(self) -> Path:
        """The directory of the backups."""
        return self.root / "var/backups/trading"

    @property
    def backup_settings(self) -> Path:
        """The administrator's settings of the backups; may hold the password of a repository."""
        return self.settings / "backup.env"

    @property
    def artifact_backups(self) -> Path:
        """The directory of the snapshots of what is no database."""
        return self.backups / "artifacts"

    @property
    def uploaded(self) -> Path:
        """The list of the backups that the restic repository has got."""
        return self.backups / ".uploaded"

    @property
    def restic_cache(self) -> Path:
        """What restic keeps of its repository; may be removed at any time."""
        return self.root / "var/cache/trading-backup"

    @property
    def restore_record(self) -> Path:
        """What a restore is about to do; left there by one that was cut short."""
        return self.state / "restore.json"

    @property
    def deploy_settings(self) -> Path:
        """The administrator's settings of when an upgrade may happen."""
        return self.settings / "deploy.conf"

    @property
    def holidays(self) -> Path:
        """The holidays of the exchange that are shipped."""
        return self.root / "usr/share/trading/nyse-holidays"

    @property
    def run(self) -> Path:
        """What is forgotten at the next boot."""
        return self.root / "run/trading"

    @property
    def ignore_window(self) -> Path:
        """The file whose existence lets an upgrade happen outside of the deploy window."""
        return self.run / "ignore-window"

    @property
    def market_closed(self) -> Path:
        """The units that rest until the market opens; there only while it is closed."""
        return self.run / "market-closed"

    @property
    def ran_disabled(self) -> Path:
        """The disabled units that ran when the installation under way began."""
        return self.run / "ran-disabled"

    @property
    def left_stopped(self) -> Path:
        """The units that an installation leaves stopped, because they were before."""
        return self.run / "left-stopped"

    @property
    def left_down(self) -> Path:
        """The units that send orders and that an installation left down which was given up."""
        return self.run / "left-down"

    @property
    def blocked(self) -> Path:
        """The apt preferences that keep releases away which failed or were gone back from."""
        return self.root / "etc/apt/preferences.d/traderunner-blocked.pref"

    @property
    def units(self) -> Path:
        """Where packages put their units of systemd."""
        return self.root / "lib/systemd/system"

    @property
    def unit_overrides(self) -> tuple[Path, ...]:
        """Where the administrator puts units and drop-ins."""
        return (self.local_units, self.runtime_units)

    @property
    def local_units(self) -> Path:
        """Where the administrator puts units of systemd, which hide those of packages."""
        return self.root / "etc/systemd/system"

    @property
    def runtime_units(self) -> Path:
        """Where units of systemd are put that the next boot forgets."""
        return self.root / "run/systemd/system"

    @property
    def adoption(self) -> Path:
        """What is known, and kept, of an installation by hand that was taken over."""
        return self.state / "adoption"

    @property
    def adoption_record(self) -> Path:
        """The record of what was taken over, step by step."""
        return self.adoption / "record.json"

    def adoption_mask(self, unit: str) -> Path:
        """Return the file that says that an undo masked a unit, for who removes the packages."""
        return self.adoption / "masks" / unit

    @property
    def user_crontabs(self) -> Path:
        """The crontabs of the accounts, each named as its account."""
        return self.root / "var/spool/cron/crontabs"

    @property
    def system_crontabs(self) -> tuple[Path, ...]:
        """The crontabs of the system: a file, and a directory of files."""
        return (self.root / "etc/crontab", self.root / "etc/cron.d")

    @property
    def dpkg(self) -> Path:
        """The database of dpkg, with its locks."""
        return self.root / "var/lib/dpkg"

    @property
    def settings(self) -> Path:
        """The directory of the administrator's settings."""
        return self.root / "etc/trading"

    def setting(self, name: str) -> Path:
        """Return one file of the administrator's settings."""
        return self.settings / name

    @property
    def default_settings(self) -> Path:
        """Where packages put the settings as the release brings them."""
        return self.root / "usr/share/trading/settings"

    def default_setting(self, name: str) -> Path:
        """Return one file of settings as the release brings it."""
        return self.default_settings / name

    @property
    def environment(self) -> Path:
        """The file that says whether this is staging or production."""
        return self.settings / "environment"

    @property
    def orders_on_staging(self) -> Path:
        """The file that names the worker's mode that is allowed outside of production."""
        return self.settings / "orders-on-staging"

    @property
    def skip_verify(self) -> Path:
        """The file whose existence lets a release pass without verification."""
        return self.settings / "skip-verify"

    @property
    def secrets(self) -> Path:
        """The directory of the secret files."""
        return self.settings / "secrets"

    def secret_file(self, name: str) -> Path:
        """Return the file of a component's secrets and local overrides."""
        return self.secrets / f"{name}.env"

    def credential_file(self, name: str, variable: str) -> Path:
        """Return the file of a secret that a component's services read from a file."""
        return self.secrets / name / variable

    @property
    def sources(self) -> Path:
        """The apt source of the stack, which names the channel."""
        return self.root / "etc/apt/sources.list.d/traderunner.sources"

    @property
    def archive_keyring(self) -> Path:
        """The keys that sign the archive of the stack, as apt reads them."""
        return self.root / "usr/share/keyrings/traderunner-archive-keyring.pgp"

    @property
    def package_keyrings(self) -> Path:
        """Where debsig-verify looks for keys that sign packages, a directory for each key."""
        return self.root / "usr/share/debsig/keyrings"

    @property
    def passwd(self) -> Path:
        """The user database of this file system."""
        return self.root / "etc/passwd"

    @property
    def group(self) -> Path:
        """The group database of this file system."""
        return self.root / "etc/group"

    @property
    def policy(self) -> Path:
        """The program by which the administrator forbids services to start."""
        return self.root / "usr/sbin/policy-rc.d"

    @property
    def systemd_running(self) -> Path:
        """The directory that exists when systemd is the init system."""
        return self.root / "run/systemd/system"

    @property
    def proc(self) -> Path:
        """The kernel's view of the processes."""
        return self.root / "proc"

    def shown(self, path: Path) -> str:
        """Return ``path`` as the server knows it, without ``root``."""
        return "/" + str(path.relative_to(self.root))
