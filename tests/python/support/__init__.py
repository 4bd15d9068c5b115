"""What the end-to-end tests stand on: running programs, reading traces, comparing them with the oracle."""
