"""`report`: one page that a real browser shows, with everything on it and nothing of the program's as markup."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from support import browser
from support.recording import Recording
from support.running import Outcome, python

Record = Callable[..., Recording]
Write = Callable[..., Path]

PROGRAM = """
    # <script>alert("source")</script> & co
    import threading

    def fib(n):
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    def login(password):
        return "</script><img src=http://example.invalid/x.png>"

    fib(4)
    login("hunter2")
    print("<b>bold</b> output")
    thread = threading.Thread(target=fib, args=(3,))
    thread.start()
    thread.join()
"""


def report(directory: Path, *options: str | Path) -> Outcome:
    return python(["-m", "codetracer_python_recorder", "report", directory, *options])


class Elements(HTMLParser):
    """The elements of a page with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def text_of(markup: str) -> str:
    return re.sub(r"<[^>]*>", "", markup).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def section(page: str, name: str) -> str:
    found = re.search(rf'<section id="{name}">(.*?)</section>', page, re.DOTALL)
    assert found, name
    return found.group(1)


@pytest.fixture
def page(record: Record, write: Write, tmp_path: Path) -> Path:
    recorded = record(write(PROGRAM), "one", "<two>")
    outcome = report(recorded.directory)
    assert (outcome.status, outcome.stdout, outcome.stderr) == (0, f"{recorded.directory}.html\n", "")
    return Path(f"{recorded.directory}.html")


def test_a_browser_shows_the_page_with_everything_on_it(page: Path, tmp_path: Path) -> None:
    document = browser.dom(page, tmp_path)
    overview, calls, source = (text_of(section(document, name)) for name in ("overview", "calls", "source"))
    assert "one <two>" in overview and "0.4" in overview
    assert "fib(n=4) → 3" in calls and "thread" in calls
    assert "login(password=<redacted>)" in calls
    assert '# <script>alert("source")</script> & co' in source
    # fib runs 9 times in the program, 5 times in its thread.
    assert re.search(r'<td class="n">14</td><td>    return n if n &lt; 2', section(document, "source"))
    assert "<b>bold</b> output" in text_of(section(document, "output"))
    assert "complete and readable" in text_of(section(document, "losses"))
    threads = [re.findall(r"<td>(main|thread [^<]*)<", section(document, name)) for name in ("overview", "losses")]
    assert threads[0] == threads[1] and threads[0][0] == "main" and len(threads[0]) == 2
    assert "value redactions argument" in text_of(section(document, "losses"))
    assert "<inline:builtin-default>" in text_of(section(document, "filters"))
    assert "on_recorder_error" in text_of(section(document, "policy"))
    assert "hunter2" not in text_of(calls) and "hunter2" not in section(document, "output")
    assert browser.distinct_rows(browser.screenshot(page, tmp_path)) > 200


def test_nothing_of_the_program_is_markup_and_nothing_is_requested(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    elements = Elements(text).found
    tags = {tag for tag, _ in elements}
    assert not tags & {"script", "img", "link", "iframe", "object", "form", "base"}
    assert tags >= {"details", "table", "pre"}
    for tag, attributes in elements:
        assert not {"src", "onclick", "onload", "srcset"} & set(attributes), tag
        assert (attributes.get("href") or "#").startswith("#")
    assert "url(" not in text and "@import" not in text
    assert "default-src 'none'" in text


def test_what_does_not_fit_is_said_and_what_is_wrong_is_shown(record: Record, write: Write, tmp_path: Path) -> None:
    source = write("def f(n):\n    return n\n\nfor n in range(50):\n    f(n)\n")
    trace = record(source).directory
    events = trace / "trace.bin"
    events.write_bytes(events.read_bytes()[:-10])
    source.unlink()
    outcome = report(trace, "-o", tmp_path / "page.html", "--max-calls", "12")
    assert outcome.status == 0, outcome.stderr
    text = text_of((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "f(n=9) → 9" in text and "f(n=10)" not in text
    assert "… 40 more calls" in text
    assert "The source is not where it was." in text
    assert "the file was not finished" in text


def test_deep_recursion_is_no_problem(record: Record, write: Write) -> None:
    trace = record(write("def f(n):\n    return n and f(n - 1)\n\nf(900)\n")).directory
    assert report(trace).status == 0
    text = Path(f"{trace}.html").read_text(encoding="utf-8")
    assert "f(n=0)" not in text_of(text).split("f(n=1)")[0]
    assert text.count("<details") == text.count("</details>") > 900


def test_the_page_is_beside_the_trace_however_that_is_named(record: Record, write: Write, tmp_path: Path) -> None:
    trace = record(write("print(1)")).directory
    words = ["-m", "codetracer_python_recorder", "report", "."]
    assert python(words, cwd=trace).stdout == f"{trace}.html\n"
    assert python([*words[:-1], "trace-1/"], cwd=tmp_path).stdout == "trace-1.html\n"


def test_a_directory_without_a_trace_is_told(tmp_path: Path) -> None:
    outcome = report(tmp_path / "nothing")
    assert (outcome.status, outcome.stdout) == (1, "")
    assert "no trace in" in outcome.stderr
    assert list(tmp_path.iterdir()) == []
