"""The verbs of the command line, what runs instead of a program: `codetracer-python-recorder VERB …`.

Invariants:
- A verb is a line of the table; its module has `run(verb, arguments)`, which returns the exit status and raises
  `SystemExit` for bad arguments and `-h`.
- Only the module of the verb that runs is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

type Verb = Callable[[str, Sequence[str]], int]

# Verb → the module of this package that has its `run`.
VERBS = {
    "inspect": "inspect",
    "verify": "inspect",
    "recover": "inspect",
    "export": "export",
    "convert": "convert",
    "report": "report",
    "policy": "policy_verb",
    "ctl": "ctl",
    "enable": "environment",
    "disable": "environment",
    "status": "environment",
}


def find(word: str) -> Verb | None:
    """What runs the verb; `None` when the word is no verb."""
    module = VERBS.get(word)
    if module is None:
        return None
    from importlib import import_module

    run: Verb = import_module(f"{__package__}.{module}").run
    return run
