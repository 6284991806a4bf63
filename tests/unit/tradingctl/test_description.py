"""The contract between the two sides."""

from __future__ import annotations

import json

import pytest
from tests.unit.tradingctl.fakes import health, stream, stream_unit

from tradingctl.description import DescriptionError, Stack, parse_component, parse_stack


def test_what_is_written_is_read_back_the_same() -> None:
    component = stream(units=(stream_unit(checks=(health("http://x/", json={"a.b": "1"}),)),))
    assert parse_component(component.to_json(), "x.json") == component
    stack = Stack("traderunner-stack", "1", "1", {"a": "1"})
    assert parse_stack(stack.to_json(), "stack.json") == stack


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"colour": "red"}, "x.json: the file: unknown key 'colour'"),
        ({"schema": 2}, "x.json: schema 2, expected 1"),
        ({"version": 1}, "x.json: version: expected str, got 1"),
        ({"units": [{"name": "u", "order": "1"}]}, r"x.json: units\[0\].order: expected int"),
        ({"units": {}}, "x.json: units: expected a list"),
        ({"units": [{"name": "u"}]}, r"x.json: units\[0\]: .*'order'"),
    ],
)
def test_a_mistake_names_the_file_and_the_key(change: dict[str, object], said: str) -> None:
    data = {**json.loads(stream().to_json()), **change}
    with pytest.raises(DescriptionError, match=said):
        parse_component(json.dumps(data), "x.json")


def test_what_is_no_json_names_the_file() -> None:
    with pytest.raises(DescriptionError, match=r"x\.json: not JSON"):
        parse_component("{", "x.json")
