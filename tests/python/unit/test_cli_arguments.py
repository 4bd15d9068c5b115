from pathlib import Path

import pytest


@pytest.fixture
def cli(load, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.py").touch()
    return load("cli")


def fails(cli, capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        cli._parse_args(arguments)
    assert ended.value.code == 2
    output = capsys.readouterr()
    assert output.out == ""
    return output.err


def test_the_defaults(cli, tmp_path):
    config = cli._parse_args(["script.py"])
    assert config.script == tmp_path / "script.py"
    assert config.activation_path == tmp_path / "script.py"
    assert config.trace_dir == config.out_dir == tmp_path / "trace-out"
    assert config.format == "binary"
    assert config.script_args == []
    assert config.trace_filter == ()
    assert config.policy_overrides == {}


def test_every_option_lands_where_it_belongs(cli, tmp_path):
    words = """--on-recorder-error disable --require-trace --keep-partial-trace --log-level debug
        --log-file x.log --json-errors --io-capture proxies+fd --no-module-name-from-globals
        --propagate-script-exit
        --trace-filter a.toml::b.toml --trace-filter=c.toml --format JSON --activation-path e.py -o out"""
    config = cli._parse_args([*words.split(), "script.py", "y"])
    assert config.trace_dir == tmp_path / "out"
    assert config.format == "json"
    assert config.activation_path == tmp_path / "e.py"
    assert config.trace_filter == ("a.toml::b.toml", "c.toml")
    assert config.policy_overrides == {
        "on_recorder_error": "disable",
        "require_trace": True,
        "keep_partial_trace": True,
        "log_level": "debug",
        "log_file": tmp_path / "x.log",
        "json_errors": True,
        "io_capture_line_proxies": True,
        "io_capture_fd_fallback": True,
        "module_name_from_globals": False,
        "propagate_script_exit": True,
    }


@pytest.mark.parametrize(
    ("mode", "proxies", "fd"), [("off", False, False), ("proxies", True, False), ("proxies+fd", True, True)]
)
def test_io_capture_is_two_switches(cli, mode, proxies, fd):
    assert cli._parse_args(["--io-capture", mode, "script.py"]).policy_overrides == {
        "io_capture_line_proxies": proxies,
        "io_capture_fd_fallback": fd,
    }


def test_an_empty_level_or_file_clears_the_environments(cli):
    config = cli._parse_args(["--log-level=", "--log-file", "", "script.py"])
    assert config.policy_overrides == {"log_level": "", "log_file": ""}


@pytest.mark.parametrize("option", ["-o", "--out-dir", "--trace-dir"])
def test_the_out_dir_has_three_names(cli, tmp_path, option):
    assert cli._parse_args([option, "x", "script.py"]).out_dir == tmp_path / "x"


def test_an_option_and_its_value_may_be_one_word(cli, tmp_path):
    assert cli._parse_args(["-ox", "script.py"]).out_dir == tmp_path / "x"
    assert cli._parse_args(["--out-dir=a=b", "script.py"]).out_dir == tmp_path / "a=b"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["script.py", "-h", "--format", "json", "-o"], ["-h", "--format", "json", "-o"]),
        (["script.py", "--", "a"], ["a"]),
        (["--", "script.py", "--", "a", "--"], ["a", "--"]),
        (["script.py", "a", "--", "b"], ["a", "--", "b"]),
        (["-m", "pkg.mod", "--", "-m", "x"], ["--", "-m", "x"]),
        (["-c", "pass", "-c"], ["-c"]),
    ],
)
def test_everything_after_the_program_is_its_own(cli, arguments, expected):
    assert cli._parse_args(arguments).script_args == expected


@pytest.mark.parametrize("arguments", [["-m", "pkg.mod"], ["-mpkg.mod"], ["--require-trace", "-m", "pkg.mod"]])
def test_a_module_is_recorded_from_its_first_line(cli, arguments):
    config = cli._parse_args(arguments)
    assert (config.target.kind, config.target.name) == ("module", "pkg.mod")
    assert config.activation_path is None


@pytest.mark.parametrize("arguments", [["-c", "print(1)"], ["-cprint(1)"]])
def test_source_text_runs_too(cli, arguments):
    config = cli._parse_args(arguments)
    assert (config.target.kind, config.target.name) == ("command", "print(1)")


def test_a_symlink_is_resolved_for_the_config_but_activates_under_its_own_name(cli, tmp_path):
    (tmp_path / "link.py").symlink_to("script.py")
    config = cli._parse_args(["link.py"])
    assert config.script == tmp_path / "script.py"
    assert config.activation_path == tmp_path / "link.py"


def test_a_directory_activates_in_its_main(cli, tmp_path):
    (tmp_path / "app").mkdir()
    assert cli._parse_args(["app"]).activation_path == tmp_path / "app" / "__main__.py"


def test_the_environment_gives_the_defaults(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("CODETRACER_PYTHON_RECORDER_OUT_DIR", "from-env")
    monkeypatch.setenv("CODETRACER_FORMAT", "json")
    config = cli._parse_args(["script.py"])
    assert (config.out_dir, config.format) == (tmp_path / "from-env", "json")
    config = cli._parse_args(["-o", "x", "--format=binary", "script.py"])
    assert (config.out_dir, config.format) == (tmp_path / "x", "binary")


def test_filters_of_the_environment_come_before_those_of_the_command_line(cli, fake, tmp_path, monkeypatch):
    for name in ("a.toml", "b.toml"):
        (tmp_path / name).touch()
    monkeypatch.setenv("CODETRACER_TRACE_FILTER", "a.toml")
    cli._parse_args(["--trace-filter", "b.toml", "script.py"]).begin()
    assert fake.calls[-1]["filters"] == [str(tmp_path / "a.toml"), str(tmp_path / "b.toml")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "missing script to execute"),
        (["--require-trace"], "missing script to execute"),
        (["--"], "missing script to execute"),
        (["nosuch.py"], "script 'nosuch.py' does not exist"),
        (["--format", "yaml", "script.py"], "unsupported trace format 'yaml'. Expected one of: binary, json"),
        (["--on-recorder-error", "zz", "script.py"], "invalid choice: 'zz' (choose from 'abort', 'disable')"),
        (["--io-capture=zz", "script.py"], "invalid choice: 'zz'"),
        (["--out-dir"], "argument --out-dir: expected one argument"),
        (["--out-dir=", "script.py"], "argument --out-dir: must not be empty"),
        (["--require-trace=1", "script.py"], "argument --require-trace: takes no value"),
        (["--out_dir", "x", "script.py"], "unknown option --out_dir (did you mean --out-dir?)"),
        (["-x", "script.py"], "unknown option -x"),
        (["-m"], "argument -m: expected one argument"),
        (["--pytest"], "--pytest requires at least one argument"),
        (["--unittest"], "--unittest requires at least one argument"),
        (["--pytest", "--unittest", "t"], "argument --unittest: not allowed with argument --pytest"),
        (["--no-framework-filters=1", "script.py"], "argument --no-framework-filters: takes no value"),
    ],
)
def test_bad_arguments_are_2_and_say_why(cli, capsys, arguments, message):
    error = fails(cli, capsys, *arguments)
    assert error.startswith("usage: codetracer-python-recorder [options] script.py [args...]\n")
    assert f"codetracer-python-recorder: error: {message}" in error or message in error


def test_a_bad_format_names_the_variable_it_came_from(cli, capsys, monkeypatch):
    monkeypatch.setenv("CODETRACER_FORMAT", "xml")
    assert "'xml'. Expected one of: binary, json (from $CODETRACER_FORMAT)" in fails(cli, capsys, "script.py")


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_the_version(cli, capsys, option):
    with pytest.raises(SystemExit) as ended:
        cli._parse_args([option])
    assert ended.value.code == 0
    assert capsys.readouterr().out == "codetracer-python-recorder 1.2.3\n"


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_the_help_names_every_option_in_80_columns(cli, load, capsys, option):
    with pytest.raises(SystemExit) as ended:
        cli._parse_args([option])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert "--no-framework-filters" in text
    others = ("--help", "--version", "-m", "-c", *cli._FRAMEWORKS, *load("verbs").VERBS)
    for name in (*cli._VALUE_OPTIONS, *cli._FLAG_OPTIONS, *others):
        shown = name.replace("--no-", "--[no-]")
        assert shown in text or name.replace("--", "--[no-]") in text, name
    assert max(map(len, text.splitlines())) < 80


def test_a_config_can_be_made_by_hand(cli, tmp_path):
    script = tmp_path / "script.py"
    config = cli.RecorderCLIConfig(
        trace_dir=tmp_path,
        format="binary",
        activation_path=script,
        script=script,
        script_args=["a"],
        trace_filter=(),
        policy_overrides={},
    )
    assert isinstance(config.script, Path)
    assert config.target.kind == "script"


def test_everything_after_a_framework_is_its_own(cli):
    config = cli._parse_args(["--require-trace", "--pytest", "-q", "--format", "json", "tests", "--unittest"])
    assert (config.target.kind, config.target.name) == ("framework", "pytest")
    assert config.script_args == ["-q", "--format", "json", "tests", "--unittest"]
    assert (config.format, config.activation_path, config.test_framework) == ("binary", None, "pytest")
    assert config.policy_overrides == {"require_trace": True}


def test_without_framework_filters_the_framework_is_recorded_like_any_code(cli):
    config = cli._parse_args(["--no-framework-filters", "--unittest", "discover"])
    assert (config.target.name, config.script_args, config.test_framework) == ("unittest", ["discover"], None)
