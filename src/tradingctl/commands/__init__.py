"""The commands of tradingctl by area; each module parses, calls and prints."""
