"""The server side of debstack: verifies, activates and reports on the installed trading services.

Standard library only: it is run by the system's own Python in isolated mode, also while the
packages around it are half configured.
"""
