import pytest


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["inspect", "dir"], "dir summary 20 1000"),
        (["inspect", "dir", "--tree", "--max-depth", "3"], "dir tree 3 1000"),
        (["inspect", "--json", "--max-calls=0", "dir"], "dir json 20 0"),
    ],
)
def test_the_verb_passes_its_options_on(load, capsys, arguments, expected):
    assert load("cli").main(arguments) == 0
    assert capsys.readouterr().out == expected + "\n"


def test_verify_tells_problems_and_fails(load, capsys):
    assert load("cli").main(["verify", "sound"]) == 0
    assert capsys.readouterr().out == "sound: complete and readable\n"
    assert load("cli").main(["verify", "broken"]) == 1
    assert capsys.readouterr().out == "no seek table\n2 calls without a return\n"


def test_recover_tells_what_it_did(load, capsys):
    assert load("cli").main(["recover", "d"]) == 0
    assert capsys.readouterr().out == "d: rebuilt the seek table\n"


def test_an_unreadable_trace_is_one_line_on_stderr(load, capsys):
    assert load("cli").main(["inspect", "missing"]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == "codetracer-python-recorder: [ERR_IO] there is no trace in 'missing'\n"


@pytest.mark.parametrize(
    "arguments",
    [["inspect"], ["verify"], ["inspect", "d", "--tree", "--json"], ["inspect", "d", "--max-depth", "-1"]],
)
def test_bad_arguments_are_2(load, arguments):
    with pytest.raises(SystemExit) as ended:
        load("cli").main(arguments)
    assert ended.value.code == 2


def test_the_module_runs_on_its_own(interpreter):
    done = interpreter.plain("-m", "codetracer_python_recorder.inspect", "d", "--tree")
    assert (done.stdout, done.stderr, done.returncode) == ("d tree 20 1000\n", "", 0)


def test_a_script_of_the_same_name_still_runs(interpreter):
    (interpreter.directory / "inspect").write_text("print('mine')\n")
    assert interpreter.recorder("./inspect").stdout == "mine\n"
    assert interpreter.recorder("--", "inspect").stdout == "mine\n"
