"""Whether the Python index can be reached, for tests that need it."""

from __future__ import annotations

import functools
import os

import pytest

from debstack.errors import DependencyError
from debstack.model.definition import Target
from debstack.model.requirement_inputs import RequirementInputs
from debstack.process import Runner
from debstack.steps.resolve import resolve

TARGET = Target("bookworm", "deb12", "3.11", "amd64", "x86_64-manylinux_2_36")


def need_index() -> None:
    """Skip the test, naming the index, if nothing can be resolved from it."""
    reason = _unreachable()
    if reason:
        pytest.skip(reason)


@functools.cache
def _unreachable() -> str:
    try:
        resolve("index", RequirementInputs(requirements=("idna",)), TARGET, Runner())
    except DependencyError as error:
        index = os.environ.get("UV_DEFAULT_INDEX", "the default index of uv")
        return f"cannot resolve idna from {index}: {error.details[-1:]}"
    return ""
