# Developer commands. Start them as `./scripts/just RECIPE`: it prepares the tools they need.

set positional-arguments

dev := quote(justfile_directory() / "scripts/dev")
python := quote(env("CODETRACER_DEV_PYTHON", justfile_directory() / "scripts/dev/use-scripts-just"))

# show this list
[private]
default:
    @{{ quote(just_executable()) }} --justfile {{ quote(justfile()) }} --list --unsorted

# record PROGRAM, from wherever you are, and say where the trace is
[no-cd, no-exit-message]
run program *args:
    @{{ python }} {{ dev }}/record.py "$@"

# print what is in a trace (default: ./trace-out)
[no-cd, no-exit-message]
inspect trace="trace-out" *options: _extension
    @{{ python }} -m codetracer_python_recorder.inspect "$@"

# build the extension, with failure injection, into the environment of every CPython found
dev:
    @{{ python }} {{ dev }}/extension.py

[private]
_extension:
    @{{ python }} {{ dev }}/extension.py --primary

# everything CI runs
test: lint rust-test bench-smoke stub-check pytest site bench-check
    @echo "All checks passed."

# formatting, clippy, ruff, mypy, links
lint:
    @{{ python }} {{ dev }}/rust.py lint
    @{{ python }} -m ruff check
    @{{ python }} -m ruff format --check
    @{{ python }} -m mypy
    @{{ python }} {{ dev }}/check_links.py

# reformat everything
fmt:
    cargo fmt
    @{{ python }} -m ruff check --fix --exit-zero --quiet
    @{{ python }} -m ruff format

# Rust tests against every CPython found (arguments go to the test runner)
rust-test *args:
    @{{ python }} {{ dev }}/rust.py test "$@"

# each Rust benchmark once, to see that it works
bench-smoke:
    @{{ python }} {{ dev }}/rust.py bench-smoke

# what reads files, with files that nobody meant (`--minutes 3`, or some of the targets); needs cargo-fuzz and a nightly
fuzz *args:
    @{{ python }} {{ dev }}/fuzz.py "$@"

# the type stubs against the extension, on every CPython found
stub-check:
    @{{ python }} {{ dev }}/python_tests.py stubs

# Python tests on every CPython found (arguments go to pytest)
pytest *args:
    @{{ python }} {{ dev }}/python_tests.py tests "$@"

# instructions per event on the interpreter's thread, against a committed baseline (`--update` writes it)
bench-check *args:
    @{{ python }} {{ dev }}/bench_check.py "$@"

# whole programs, recorded and not, against the floor and other recorders (see scripts/bench.py)
bench *args:
    @{{ python }} {{ quote(justfile_directory() / "scripts/bench.py") }} "$@"

# the Rust benchmarks (arguments go to cargo)
bench-rust *args:
    @{{ python }} {{ dev }}/rust.py bench "$@"

# wheels for every CPython found, and the sdist, into dist/
build:
    @{{ python }} {{ dev }}/wheels.py build

# try the wheels of dist/ in fresh environments: install, record, verify
smoke-wheel:
    @{{ python }} {{ dev }}/wheels.py smoke

# the documentation's site into site/, its reference made from the code; warnings are errors
site: _extension
    @NO_MKDOCS_2_WARNING=1 {{ python }} -m mkdocs build --strict --quiet
    @echo "The site is in site/"

# the site, the Rust documentation, and a check of the links in the pages
docs: site
    @{{ python }} {{ dev }}/rust.py doc
    @{{ python }} {{ dev }}/check_links.py

# remove everything that was built, the environments included
clean:
    rm -rf target dist site .venv-3.* .dev .pytest_cache .mypy_cache .ruff_cache .hypothesis trace-out
    rm -f python/codetracer_python_recorder/*.so
    find python tests scripts examples -name __pycache__ -type d -prune -exec rm -rf {} +
