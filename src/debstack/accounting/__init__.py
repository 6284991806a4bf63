"""What a package says of itself: licences, software bill of materials, lock, provenance."""
