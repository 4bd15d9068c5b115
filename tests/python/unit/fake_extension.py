"""Stands in for the Rust extension in the tests of the pure-Python parts: remembers calls, records nothing.

With `FAKE_RECORDER_LOG` in the environment every call is also appended to that file as a line of JSON, so
that a test sees what a subprocess did. `FAKE_RECORDER_FAIL=start|stop` makes that function raise.
"""

import json
import os

VERSION = "1.2.3"
DEFAULT_POLICY = {"propagate_script_exit": False}

calls = []
policy = dict(DEFAULT_POLICY)
_active = False


class RecorderError(Exception):
    code = "ERR_UNKNOWN"
    kind = "Internal"
    context = {}


class UsageError(RecorderError):
    pass


class EnvironmentError(RecorderError):
    pass


class TargetError(RecorderError):
    pass


class InternalError(RecorderError):
    pass


def _remember(name, **details):
    call = {"call": name, **details}
    calls.append(call)
    if log := os.environ.get("FAKE_RECORDER_LOG"):
        with open(log, "a", encoding="utf-8") as file:
            file.write(json.dumps(call) + "\n")
    if os.environ.get("FAKE_RECORDER_FAIL") == name:
        raise EnvironmentError(f"[ERR_IO] cannot {name}")


def start_tracing(path, format, activation_path=None, trace_filter=None, *framework):
    global _active
    import sys

    details = {"path": path, "format": format, "activation": activation_path, "filters": trace_filter}
    if framework:
        details["framework"] = framework[0]
    _remember("start", **details, argv=sys.argv[:])
    _active = True


def announce_outside_session():
    pass


def claim_directory(path):
    return path


def settle_directory():
    pass


def stop_tracing(exit_code=None):
    global _active
    _active = False
    _remember("stop", exit_code=exit_code)


def flush_tracing():
    _remember("flush")


def dump_recording(reason):
    _remember("dump_recording", reason=reason)
    return f"/dumps/{reason}"


def is_tracing():
    return _active


def pause_tracing():
    _remember("pause")
    return _active


def resume_tracing():
    _remember("resume")
    return _active


def tracing_stats():
    return {"state": "recording"} if _active else None


def configure_policy(**changes):
    _remember("configure_policy", **changes)
    policy.update(changes)


def configure_policy_from_env():
    _remember("configure_policy_from_env")
    value = os.environ.get("CODETRACER_PROPAGATE_SCRIPT_EXIT")
    if value not in (None, "0", "1"):
        raise UsageError(f"[ERR_INVALID_POLICY_VALUE] invalid boolean value '{value}' (expected true/false)")
    if value is not None:
        policy["propagate_script_exit"] = value == "1"


def policy_snapshot():
    return dict(policy)


def inspect_trace(path, mode, max_depth, max_calls, write):
    if path == "missing":
        raise UsageError("[ERR_IO] there is no trace in 'missing'")
    write(f"{path} {mode} {max_depth} {max_calls}\n")


def verify_trace(path):
    return [] if path == "sound" else ["no seek table", "2 calls without a return"]


def recover_trace(path, progress=None):
    return [f"{path}: rebuilt the seek table"]


def explain_filter(module, path, qualname, near, trace_filter, test_framework=None):
    return f"{module} {path} {qualname} {near} {trace_filter} {test_framework}\n"


run_detached = exec


def call_detached(function, arguments):
    return function(*arguments)


refresh_policy_from_env = configure_policy_from_env


def render_policy():
    return f"[recorder]\npropagate_script_exit = {str(policy['propagate_script_exit']).lower()}  # fake\n"


def check_policy(path):
    if path == "bad":
        raise UsageError("[ERR_INVALID_POLICY_VALUE] unknown key 'x' in policy file bad, line 1")
