"""The apt archive: a signed, immutable, static tree that apt reads over file:// or http."""
