"""HTTP basic auth in front of every path, and the release header on every answer."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Mapping

from flask import Flask, Response, request

LOG = logging.getLogger(__name__)


def protect(server: Flask, environ: Mapping[str, str], commit: str) -> None:
    """Ask for DASHBOARD_USER and DASHBOARD_PASS, and name the running commit, on every path."""
    user = environ.get("DASHBOARD_USER", "admin")
    password = environ.get("DASHBOARD_PASS", "admin")
    if not user or not password:
        raise ValueError("DASHBOARD_USER and DASHBOARD_PASS must not be empty")
    if password == "admin":
        LOG.warning("DASHBOARD_PASS is the default password")

    @server.before_request
    def check() -> Response | None:
        given = request.authorization
        name = (given.username if given else None) or ""
        secret = (given.password if given else None) or ""
        # Both are compared, always, so that the time taken does not tell which one was wrong.
        if same(name, user) & same(secret, password):
            return None
        challenge = {"WWW-Authenticate": 'Basic realm="dashboard", charset="UTF-8"'}
        return Response("authentication required\n", 401, challenge, mimetype="text/plain")

    @server.after_request
    def name_release(response: Response) -> Response:
        response.headers["X-Release-Commit"] = commit
        return response


def same(left: str, right: str) -> bool:
    """Compare without telling by the time taken where the difference is."""
    return hmac.compare_digest(left.encode(), right.encode())
