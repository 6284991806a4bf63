"""Copies of databases, settings and artifacts, and the way back to them."""
