"""What is built: definitions and locks, parsed strictly."""
