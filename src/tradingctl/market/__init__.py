"""The trading hours: when an upgrade may happen, and when the services start and stop."""
