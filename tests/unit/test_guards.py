"""The rendered files that guard the stack are what perl, apt and needrestart take them for."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.golden.trees import rendered

from debstack.process import SYSTEM_PATH, base_environment
from debstack.render import render_one
from tradingctl.market.settings import MARKET_UNITS

# What needrestart does with the file: evaluate it, then look for the first expression that matches.
PERL = r"""
our %nrconf; my $file = shift; defined(do $file) or die $@ || $!;
for my $unit (@ARGV) {
    my ($found) = grep { $unit =~ /$_/ } keys %{$nrconf{override_rc}};
    print "$unit=", (defined $found ? $nrconf{override_rc}{$found} : "-"), "\n";
}
"""


def ran(program: str, *arguments: str, **env: str) -> str:
    """Return what a program prints; skip where it is not installed."""
    if shutil.which(program, path=SYSTEM_PATH) is None:
        pytest.skip(f"{program} is not installed")
    done = subprocess.run(
        [program, *arguments],
        env=base_environment() | env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_perl_accepts_every_file_for_needrestart(tmp_path: Path) -> None:
    files = {
        path: text
        for tree in rendered().values()
        for path, (text, _) in tree.items()
        if path.startswith("payload/etc/needrestart/")
    }
    assert len(files) == 4
    for path, text in files.items():
        file = tmp_path / Path(path).name
        file.write_text(text)
        ran("perl", "-Mstrict", "-we", "our %nrconf; my $ok = do shift; die $@ if $@;", str(file))


def test_needrestart_leaves_exactly_our_units_alone(tmp_path: Path) -> None:
    file = tmp_path / "web.conf"
    file.write_text(render_one("_needrestart.conf", {"units": ["web.server", "web:2"]}))
    units = ("web.server.service", "web:2.service", "webXserver.service", "my-web.server.service")
    said = ran("perl", "-we", PERL, str(file), *units)
    assert said == (
        "web.server.service=0\nweb:2.service=0\nwebXserver.service=-\nmy-web.server.service=-\n"
    )


def test_apt_never_removes_the_stack_and_its_components_by_itself(tmp_path: Path) -> None:
    folder = "payload/etc/apt/apt.conf.d"
    text = rendered()["common/traderunner-common"][f"{folder}/01autoremove-traderunner"][0]
    file = tmp_path / "apt.conf"
    file.write_text(text)
    patterns = re.findall(
        r'^APT::NeverAutoRemove:: "(.*)";$',
        ran("apt-config", "dump", "APT::NeverAutoRemove", APT_CONFIG=str(file)),
        re.MULTILINE,
    )
    for package in ("traderunner", "traderunner-stack", "traderunner-common", "marketdata-stream"):
        assert any(re.search(pattern, package) for pattern in patterns), package
    own = [pattern for pattern in patterns if "trade" in pattern or "market" in pattern]
    assert not any(re.search(pattern, "traderunner-archive-keyring") for pattern in own)


def test_a_name_with_signs_of_regular_expressions_is_taken_to_the_letter(tmp_path: Path) -> None:
    name = "common/payload/etc/apt/apt.conf.d/01autoremove-{{ stack }}"
    text = render_one(name, {"stack": "demo", "guarded": ["lib.c++"]})
    assert '"^lib[.]c[+][+]$";' in text


@pytest.mark.parametrize(("code", "unpacks"), [(0, True), (5, False), (1, False), (2, True)])
def test_a_preinst_refuses_when_tradingctl_does_and_not_for_one_that_knows_no_hook(
    tmp_path: Path, code: int, unpacks: bool
) -> None:
    program = tmp_path / "tradingctl"
    program.write_text(f'#!/bin/sh\necho "$@"\nexit {code}\n')
    program.chmod(0o755)
    script = render_one("_preinst", {"source": "web", "version": "2+g1~deb12"})
    done = subprocess.run(
        ["/bin/sh", "-c", script, "preinst", "upgrade", "1"],
        env={"PATH": f"{tmp_path}:{SYSTEM_PATH}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0, done.stdout) == (unpacks, "hook unpack web 2+g1~deb12\n")


def test_nothing_that_runs_at_night_starts_what_rests_until_the_market_opens() -> None:
    units = {
        Path(path).stem: text
        for tree in rendered().values()
        for path, (text, _) in tree.items()
        if path.startswith("payload/lib/systemd/system/") and path.endswith(".service")
    }
    assert set(MARKET_UNITS) < set(units)
    for name, text in units.items():
        pulled = re.findall(r"^(?:Wants|Requires|BindsTo)=(.*)$", text, re.MULTILINE)
        pulled_in = {each.removesuffix(".service") for line in pulled for each in line.split()}
        # systemd starts them with every start of the unit, also with that after a crash.
        assert name in MARKET_UNITS or not pulled_in & set(MARKET_UNITS), name


def test_the_manual_names_every_unit_of_tradingctl() -> None:
    tree = rendered()["common/traderunner-common"]
    manual = tree["debian/tradingctl.1"][0].replace("\\-", "-")
    folder = "payload/lib/systemd/system/"
    units = {path.removeprefix(folder) for path in tree if path.startswith(folder)}
    assert len(units) > 8
    # What a timer of the same name starts goes without saying.
    started = {each for each in units if each.removesuffix("service") + "timer" in units}
    assert [each for each in sorted(units - started) if each not in manual] == []
