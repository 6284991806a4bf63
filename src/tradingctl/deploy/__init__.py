"""Putting releases in service: transactions, the release store, rollback, upgrade, history."""
