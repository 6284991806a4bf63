"""debstack: git repositories at pinned commits, as signed Debian packages in an apt repository."""
