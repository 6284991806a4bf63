"""What stdeb has to know of debstack, which is built with another tool than setuptools.

In an unpacked sdist it stands in for pyproject.toml, whose keys the setuptools of Debian 12 refuses
in part and takes the README for a description.
"""

from email.parser import Parser
from pathlib import Path

from setuptools import find_packages, setup

_INFO = Parser().parsestr(Path("PKG-INFO").read_text(encoding="utf-8"))

setup(
    name=_INFO["Name"],
    version=_INFO["Version"],
    description="git commits to signed Debian packages with their wheels",
    long_description="""\
Takes git repositories of Python services at pinned commits, and locked
wheels, and makes signed Debian packages of them: each with its virtual
environment, its systemd units and its settings, and the same bits whoever
builds them. Publishes them in a signed apt repository with channels.
.
uv, which no Debian has, comes with it.""",
    license=_INFO["License-Expression"],
    packages=find_packages("src"),
    package_dir={"": "src"},
    install_requires=[each for each in _INFO.get_all("Requires-Dist", []) if "extra" not in each],
    entry_points={"console_scripts": ["debstack = debstack.__main__:main"]},
)
