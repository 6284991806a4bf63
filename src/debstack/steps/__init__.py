"""The steps of a build, each on its own: none knows another."""
