"""SystemExit with something that is neither a number nor text."""

raise SystemExit(["a", "list"])
