"""`python -m tests.golden` keeps what the templates render to now: read the diff afterwards."""

from __future__ import annotations

from tests.golden.trees import rendered, write

write(rendered())
