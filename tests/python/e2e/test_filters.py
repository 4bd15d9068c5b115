"""Filters decide in recordings as docs/filters.md says; its recipes are taken from there."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from oracle.model import Value
from support.filters import MINE
from support.reading import Thread, Trace
from support.recording import Recording
from support.running import python

Record = Callable[..., Recording]
Write = Callable[..., Path]

GUIDE = Path(__file__).parents[3] / "docs" / "filters.md"
HEAD = "\n" + MINE


def rule(selector: str, *patterns: tuple[str, str], more: str = "") -> str:
    text = f'[[scope.rules]]\nselector = "{selector}"\n{more}\n'
    return text + "".join(
        f'[[scope.rules.value_patterns]]\nselector = "{name}"\naction = "{action}"\n' for name, action in patterns
    )


def last_seen(thread: Thread) -> dict[str, Value]:
    """What the steps showed last of every name."""
    return {name: value for step in thread.steps for name, value in step.locals.items()}


def kind(value: Value | None) -> str:
    """`shown`, `redacted`, `dropped` or `absent`."""
    if value is None:
        return "absent"
    return {"Redacted": "redacted", "Dropped": "dropped"}.get(value[1] if value[0] == "Error" else "", "shown")


def test_modules_functions_and_classes_named_like_secrets_are_shown_and_data_is_not(
    record: Record, write: Write
) -> None:
    source = """
        import secrets

        class Token:
            pass

        def password_hash():
            return 1

        def uses(password, cookie):
            credentials = Token
            api_key = "hidden"
            return api_key

        token = "hidden"
        uses(password_hash, "hidden")
    """
    recorded = record(write(source))
    seen = last_seen(recorded.trace.main)
    assert {name: kind(seen[name]) for name in ("secrets", "Token", "password_hash", "password", "credentials")} == {
        "secrets": "shown",
        "Token": "shown",
        "password_hash": "shown",
        "password": "shown",
        "credentials": "shown",
    }
    assert [kind(seen[name]) for name in ("token", "cookie", "api_key")] == ["redacted"] * 3
    (call,) = recorded.trace.main.calls_of("uses")
    assert [kind(value) for _, value in call.args] == ["shown", "redacted"]

    everything = write(HEAD + rule("pkg:*", ("global:words:@secrets", "redact"), ("local:*", "redact")), "mine.toml")
    seen = last_seen(record(write(source), options=["--trace-filter", str(everything)]).trace.main)
    assert {kind(seen[name]) for name in ("secrets", "Token", "password_hash", "credentials")} == {"redacted"}


@pytest.mark.parametrize(("call", "step"), list(itertools.product(["allow", "redact", "drop"], repeat=2)))
def test_calls_go_by_patterns_for_arguments_and_steps_by_those_for_locals(
    call: str, step: str, record: Record, write: Write
) -> None:
    script = write("def f(customer, other):\n    customer = customer\n    return other\nf(5, 6)\n")
    filter_file = write(HEAD + rule("pkg:*", ("arg:customer", call), ("local:customer", step)), "mine.toml")
    thread = record(script, options=["--trace-filter", str(filter_file)]).trace.main
    shown = {"allow": "shown", "redact": "redacted", "drop": "absent"}
    (entered,) = thread.calls_of("f")
    assert kind(dict(entered.args).get("customer")) == shown[call]
    assert kind(dict(entered.args).get("other")) == "shown"
    inside = [each.locals for each in thread.steps if "other" in each.locals]
    # The first is the definition line, where CodeTracer shows the arguments.
    assert [kind(each.get("customer")) for each in inside[-2:]] == [shown[step]] * 2


def test_a_rule_for_arguments_alone_holds_for_steps_too(record: Record, write: Write) -> None:
    script = write("def f(customer):\n    return len(customer)\nf('x')\n")
    hidden = write(HEAD + rule("pkg:*", ("arg:customer", "redact")), "hidden.toml")
    assert kind(last_seen(record(script, options=["--trace-filter", str(hidden)]).trace.main)["customer"]) == "redacted"
    allowed = rule("pkg:*", ("arg:customer", "allow"), more='value_default = "redact"')
    shown = record(script, options=["--trace-filter", str(write(HEAD + allowed, "shown.toml"))]).trace.main
    assert kind(last_seen(shown)["customer"]) == "shown"
    assert kind(dict(shown.calls_of("f")[0].args)["customer"]) == "shown"


def test_a_rule_that_matched_no_code_is_named_at_the_end(record: Record, write: Write, tmp_path: Path) -> None:
    script = write("def f():\n    return 1\nf()\n")
    rules = rule("obj:__main__.f") + rule("pkg:misspelt.*", more='exec = "skip"')
    filter_file = write(HEAD + rules, "mine.toml")
    log = tmp_path / "recorder.log"
    options = ["--trace-filter", str(filter_file), "--log-level", "info", "--log-file", str(log)]
    metadata = record(script, options=options).trace.metadata
    (unmatched,) = metadata["trace_filter"]["unmatched_rules"]
    assert "mine.toml" in unmatched and "pkg:misspelt.*" in unmatched
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line for line in lines if "misspelt" in json.dumps(line) and "matched no code" in json.dumps(line)]


MODULES = {
    "my_app/__init__.py": "",
    "my_app/core.py": """
        class Service:
            def login(self, customer_name):
                headers = {"vat id": 5, "size": 6}
                customer_name = customer_name + "x"
                return headers
            def heartbeat(self):
                return 2
    """,
    "my_app/api_pb2.py": "def generated():\n    return 3\n",
    "my_app/metrics.py": "def count():\n    return 4\n",
    "my_app/parser.py": """
        def parse(tokens):
            token = tokens[0]
            max_tokens = 5
            password = "x"
            return token
    """,
    "my_app/patients.py": """
        def is_ill(name, state):
            index = 1
            diagnosis = name
            return True
        def record(name):
            return name
    """,
    "my_app/images.py": """
        def shrink(pixels):
            buffer1 = list(pixels)
            size = len(pixels)
            return size
    """,
    "tests/made_up.py": "def uses():\n    password = 'made up'\n    return 1\n",
    "main.py": """
        import json
        import markdown_it.utils
        from my_app import core, api_pb2, metrics, parser, patients, images
        from tests import made_up
        service = core.Service()
        service.login("eve"), service.heartbeat()
        api_pb2.generated(), metrics.count(), parser.parse(["a"])
        patients.is_ill("eve", "fine"), patients.record("eve"), images.shrink([1])
        made_up.uses()
        json.loads("[1]")
        markdown_it.utils.read_fixture_file
    """,
}


def recipes() -> dict[str, str]:
    """The recipes of the guide, by their bold titles."""
    section = GUIDE.read_text(encoding="utf-8").split("## Recipes")[1].split("\n## ")[0]
    found = re.findall(r"^\*\*([^*]+)\*\*[^`]*```toml\n(.*?)```", section, re.MULTILINE | re.DOTALL)
    return {title.rstrip(",."): body for title, body in found}


class Project:
    """The example project, recorded under a filter."""

    def __init__(self, record: Record, write: Write, text: str) -> None:
        for name, source in MODULES.items():
            write(source, name)
        main = write(MODULES["main.py"], "main.py")
        write(text, ".codetracer/trace-filter.toml")
        recorded = record(main)
        assert recorded.status == 0, recorded.stderr
        assert recorded.trace.metadata["trace_filter"]["unmatched_rules"] == []
        self.thread = recorded.trace.main
        self.names = {call.name for call in self.thread.calls}

    def steps_of(self, module: str) -> dict[str, str]:
        """What the steps of a module's functions showed last of every name."""
        steps = [step for step in self.thread.steps if step.path.endswith(module)]
        return {name: kind(value) for step in steps for name, value in step.locals.items()}


def test_the_first_filter_of_the_guide_records_one_package_alone(record: Record, write: Write) -> None:
    text = re.findall(r"```toml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)[0]
    project = Project(record, write, text)
    assert {"Service.login", "generated", "<my_app.core>"} <= project.names
    assert not {"<__main__>", "uses"} & project.names
    assert project.steps_of("core.py")["customer_name"] == "redacted"


def check_noisy(project: Project) -> None:
    assert "count" not in project.names and "generated" in project.names


def check_standard_library(project: Project) -> None:
    assert "loads" in project.names and "count" in project.names


def check_packages(project: Project) -> None:
    assert "<markdown_it.utils>" not in project.names and "count" in project.names


def check_generated(project: Project) -> None:
    assert not {"generated", "Service.heartbeat"} & project.names and "Service.login" in project.names


def check_tokens(project: Project) -> None:
    seen = project.steps_of("parser.py")
    assert [seen[name] for name in ("tokens", "token", "max_tokens", "password")] == ["shown"] * 3 + ["redacted"]


def check_made_up(project: Project) -> None:
    assert project.steps_of("made_up.py")["password"] == "shown"
    assert project.steps_of("parser.py")["password"] == "redacted"


def check_nothing_but(project: Project) -> None:
    seen = project.steps_of("patients.py")
    assert [seen[name] for name in ("state", "index", "diagnosis", "name")] == ["shown"] * 2 + ["redacted"] * 2
    assert [kind(value) for value in project.thread.returns_of("is_ill")] == ["shown"]
    assert [kind(value) for value in project.thread.returns_of("record")] == ["redacted"]


def check_own_words(project: Project) -> None:
    (call,) = project.thread.calls_of("Service.login")
    assert kind(dict(call.args)["customer_name"]) == "redacted"
    assert project.steps_of("core.py")["customer_name"] == "redacted"
    assert "<redacted>" in str(last_seen(project.thread)["headers"]) and "size" in str(last_seen(project.thread))


def check_huge(project: Project) -> None:
    seen = project.steps_of("images.py")
    assert seen["size"] == "shown" and not {"buffer1"} & set(seen)


RECIPES = {
    "Everything but something noisy": check_noisy,
    "Look into the standard library, or one package of it": check_standard_library,
    "Leave installed packages out": check_packages,
    "Leave out generated code, and one function": check_generated,
    "Show a name that only looks like a secret": check_tokens,
    "Show everything where the secrets are made up": check_made_up,
    "Show nothing but what is named": check_nothing_but,
    "Hide words of your own everywhere": check_own_words,
    "Keep huge values out of the trace": check_huge,
}


def test_every_recipe_of_the_guide_is_tried_here() -> None:
    assert set(recipes()) == set(RECIPES)


@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe_does_what_its_title_says(title: str, record: Record, write: Write) -> None:
    RECIPES[title](Project(record, write, HEAD + recipes()[title]))


def test_a_file_that_switches_recording_on_may_itself_be_left_out(write: Write, tmp_path: Path) -> None:
    write("def work(n):\n    return n\ndef fails():\n    raise ValueError\n", "helper.py")
    write(
        """
        import helper

        def run():
            helper.work(1)
            helper.fails()
        """,
        "target.py",
    )
    filter_file = write(HEAD + rule("pkg:target", more='exec = "skip"'), "mine.toml")
    script = write(
        f"""
        import codetracer_python_recorder as recorder
        import helper, target

        recorder.start("out", start_on_enter="target.py", trace_filter={str(filter_file)!r})
        helper.work(0)
        for _ in range(2):
            try:
                target.run()
            except ValueError:
                helper.work(2)
        recorder.stop()
        """
    )
    outcome = python([script], cwd=tmp_path)
    assert (outcome.status, outcome.stderr) == (0, "")
    thread = Trace(tmp_path / "out").main
    assert [call.name for call in thread.calls] == ["work", "fails"] * 2
    assert [dict(call.args) for call in thread.calls_of("work")] == [{"n": ["Int", "0x1"]}] * 2
