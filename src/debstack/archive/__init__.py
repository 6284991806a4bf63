"""The apt repository: index, signatures, generations."""
