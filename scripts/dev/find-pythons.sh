# Finds the CPythons this project can be developed with; sourced by scripts/just.
#
# Looking is cheap and done on every call (file names only); asking an interpreter what it is costs a process,
# so that is done only when the list of candidates has changed.
# shellcheck shell=sh

oldest_python=12 # 3.12 is the first with sys.monitoring
newest_python=15 # the newest that the pinned PyO3 knows

# Prints every executable that may be a suitable Python, one a line, the preferred ones first.
python_candidates() {
    if [ -n "${CODETRACER_PYTHONS:-}" ]; then
        printf '%s' "$CODETRACER_PYTHONS" | tr ':' '\n' | while IFS= read -r name || [ -n "$name" ]; do
            [ -n "$name" ] || continue
            command -v -- "$name" || printf '%s\n' "$name"
        done
        return
    fi
    _directories=$PATH
    for _directory in \
        "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin \
        "${UV_PYTHON_INSTALL_DIR:-${XDG_DATA_HOME:-$HOME/.local/share}/uv/python}"/*/bin \
        /usr/local/bin /opt/homebrew/bin /opt/*/bin /usr/local/opt/python@3.*/bin /opt/homebrew/opt/python@3.*/bin \
        /Library/Frameworks/Python.framework/Versions/3.*/bin /usr/bin; do
        _directories=$_directories:$_directory
    done
    _ifs=$IFS
    IFS=:
    set -f
    # shellcheck disable=SC2086 # split at the colons, on purpose
    set -- $_directories
    set +f
    IFS=$_ifs
    _seen=:
    for _directory; do
        case $_directory in
            /*) ;;
            *) continue ;; # "." and the like: a recipe must not depend on where it was started
        esac
        case $_seen in *":$_directory:"*) continue ;; esac
        _seen=$_seen$_directory:
        for _path in "$_directory"/python3.1[2-9] "$_directory/python3" "$_directory/python"; do
            # Not `if`: one printf per hit, nothing for patterns that match no file.
            [ -f "$_path" ] && [ -x "$_path" ] && printf '%s\n' "$_path"
        done
    done
    return 0
}

# Reports `minor<TAB>reason to refuse it, or ok<TAB>path of the real interpreter`. Runs on any Python since 2.7.
_probe='
import sys
def reason():
    if getattr(getattr(sys, "implementation", None), "name", "cpython") != "cpython":
        return "it is " + sys.implementation.name + ", not CPython"
    if sys.version_info < (3, int(sys.argv[1])):
        return "it is %d.%d, older than 3.%s" % (sys.version_info[0], sys.version_info[1], sys.argv[1])
    if sys.version_info[:2] > (3, int(sys.argv[2])):
        return "it is %d.%d, newer than 3.%s" % (sys.version_info[0], sys.version_info[1], sys.argv[2])
    import importlib.util, sysconfig
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "it is a free-threaded build, which is not supported"
    if hasattr(sys, "gettotalrefcount"):
        return "it is a debug build, which is not supported"
    return "ok"
path = getattr(sys, "_base_executable", None) or sys.executable
sys.stdout.write("%d\t%s\t%s\n" % (sys.version_info[1], reason(), path))
'

# Prints `X.Y<TAB>path` for one interpreter of every supported version, the lowest first. Says on stderr what
# was refused where that can surprise, and fails with advice if nothing is left.
supported_pythons() {
    _found=
    _refused=
    _saved=$IFS
    IFS='
'
    set -f
    # shellcheck disable=SC2086 # one candidate a line
    set -- $1
    set +f
    IFS=$_saved
    for _path; do
        # Shims of version managers fail when their version is not selected: no answer, no interpreter.
        _answer=$("$_path" -E -c "$_probe" "$oldest_python" "$newest_python" 2>/dev/null </dev/null) || _answer=
        _minor=${_answer%%	*}
        _rest=${_answer#*	}
        _reason=${_rest%%	*}
        _real=${_rest#*	}
        case $_reason in
            ok) ;;
            '') _refused="$_refused
  $_path: it does not run"
                continue ;;
            *)
                _refused="$_refused
  $_path: $_reason"
                case $_reason in
                    *build*) printf 'scripts/just: leaving out %s: %s\n' "$_path" "$_reason" >&2 ;;
                esac
                continue ;;
        esac
        case "$_found" in *"
$_minor	"*) continue ;; esac
        _found="$_found
$_minor	$_real"
    done
    if [ -n "${CODETRACER_PYTHONS:-}" ] && [ -n "$_refused" ]; then
        printf 'scripts/just: CODETRACER_PYTHONS names a Python that cannot be used:%s\n' "$_refused" >&2
        return 1
    fi
    if [ -z "$_found" ]; then
        {
            printf 'scripts/just: no CPython between 3.%s and 3.%s was found' "$oldest_python" "$newest_python"
            printf ' on PATH, with pyenv or uv, or under /usr/local, /opt and /usr.\n'
            [ -z "$_refused" ] || printf 'These were looked at and refused:%s\n' "$_refused"
            printf 'Install one, for example by one of\n'
            printf '    pyenv install 3.13      uv python install 3.13\n'
            printf '    apt-get install python3.13 python3.13-venv      brew install python@3.13\n'
            printf 'or name one: CODETRACER_PYTHONS=/path/to/python3.13 ./scripts/just …\n'
        } >&2
        return 1
    fi
    printf '%s\n' "$_found" | sort -n | while IFS='	' read -r _minor _real; do
        [ -z "$_minor" ] || printf '3.%s\t%s\n' "$_minor" "$_real"
    done
}
