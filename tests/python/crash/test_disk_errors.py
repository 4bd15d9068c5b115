"""Errors of the system's own calls for one file of the trace, in a real process: what a broken disk or a used-up quota
says there."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.reading import Trace
from support.recording import Recording

Record = Callable[..., Recording]
Write = Callable[..., Path]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="calls are intercepted by LD_PRELOAD")

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* Once the file $FAULT_TRIGGER exists, calls for files like $FAULT_FILE fail with $FAULT_ERRNO, or never return if that
   is 0: those that write, or with $FAULT_CALL=sync those that force it to the disk. */
static int fails(int fd, const char *call) {
    const char *trigger = getenv("FAULT_TRIGGER"), *file = getenv("FAULT_FILE");
    if (!trigger || !file || strcmp(call, getenv("FAULT_CALL")) || access(trigger, F_OK))
        return 0;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    if (fnmatch(file, path, 0))
        return 0;
    int error = atoi(getenv("FAULT_ERRNO"));
    while (!error)
        pause();
    errno = error;
    return 1;
}

#define OWN(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *data, size_t size) {
    return fails(fd, "write") ? -1 : OWN(write)(fd, data, size);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    return fails(fd, "write") ? -1 : OWN(writev)(fd, parts, count);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    return fails(fd, "write") ? -1 : OWN(pwrite64)(fd, data, size, at);
}
int fsync(int fd) {
    return fails(fd, "sync") ? -1 : OWN(fsync)(fd);
}
int fdatasync(int fd) {
    return fails(fd, "sync") ? -1 : OWN(fdatasync)(fd);
}
"""

PROGRAM = """
import sys, time

def work(n):
    for i in range(n):
        noise = str(i) * 7

work(500)
time.sleep(0.5)
open(sys.argv[1], "w").close()
work(20_000)
print("done", flush=True)
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that makes calls fail. Whoever builds the recorder has a C compiler."""
    directory = tmp_path_factory.mktemp("shim")
    source, library = directory / "shim.c", directory / "shim.so"
    source.write_text(SHIM)
    compiler = os.environ.get("CC", "cc")
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True, timeout=120)
    return library


@pytest.mark.parametrize("policy", ["abort", "disable"])
@pytest.mark.parametrize(("call", "error"), [("write", errno.EIO), ("write", errno.EDQUOT), ("sync", errno.EIO)])
def test_an_error_of_the_disk_ends_the_recording_and_not_the_program(
    call: str, error: int, policy: str, shim: Path, record: Record, write: Write, tmp_path: Path
) -> None:
    out, trigger = tmp_path / "trace", tmp_path / "trigger"
    env = {
        "LD_PRELOAD": str(shim),
        "FAULT_FILE": str(out / "trace.bin"),
        "FAULT_TRIGGER": str(trigger),
        "FAULT_CALL": call,
        "FAULT_ERRNO": str(error),
        "CODETRACER_POLICY": "durability.flush_interval=20ms;pipeline.queue_bytes=1MiB",
    }
    options = ["--on-recorder-error", policy]
    recorded = record(write(PROGRAM), str(trigger), out=out, options=options, env=env)
    assert recorded.stdout == "done\n", recorded.stderr
    assert recorded.status == (1 if policy == "abort" else 0), recorded.stderr
    assert "ERR_IO" in recorded.stderr
    assert f"os error {error}" in recorded.stderr
    # What came before the fault is there, balanced.
    assert len([step for step in Trace(out).main.steps if "noise" in step.locals]) >= 999
    state = json.loads((out / "recording.json").read_text())
    assert (state["state"], state["failure"]["error_code"]) == ("failed", "ERR_IO")
    assert f"os error {error}" in state["failure"]["message"]
    metadata = json.loads((out / "trace_metadata.json").read_text())
    assert metadata["recorder_failure"]["error_code"] == "ERR_IO"
    # What had been recorded and is in no file is counted and told.
    if call == "write":
        lost = metadata["losses"]["recording_failed"]
        assert lost > 0
        assert lost == metadata["lost_events"] == metadata["streams"][0]["losses"]["recording_failed"]
        assert f"{lost} events were lost because the recording had failed" in recorded.stderr


FORKING = """
import os, sys, time

def work(n):
    for i in range(n):
        noise = str(i) * 7

work(10)
child = os.fork()
if child == 0:
    work(500)
    time.sleep(0.3)
    open(sys.argv[1], "w").close()
    work(500)
    {end}
pid, status = os.waitpid(child, 0)
print("child", os.waitstatus_to_exitcode(status), flush=True)
os.unlink(sys.argv[1])
"""


@pytest.mark.parametrize("end", ["os._exit(7)", "sys.exit(7)"])
@pytest.mark.parametrize(
    ("file", "says"), [("trace.bin", "the disk is too slow"), (".recording.json.*", "stop took longer than")]
)
def test_a_forked_child_does_not_wait_for_a_disk_that_never_answers(
    file: str, says: str, end: str, shim: Path, record: Record, write: Write, injectable_build: None, tmp_path: Path
) -> None:
    out, trigger, log = tmp_path / "trace", tmp_path / "trigger", tmp_path / "log"
    env = {
        "LD_PRELOAD": str(shim),
        "FAULT_FILE": str(out / "processes" / "*" / file),
        "FAULT_TRIGGER": str(trigger),
        "FAULT_CALL": "write",
        "FAULT_ERRNO": "0",
        "CODETRACER_POLICY": "durability.flush_interval=20ms",
        "CODETRACER_LOG_FILE": str(log),
        # A second for the workers instead of a minute; that and five more for their supervisor are waited.
        "CODETRACER_TEST_INJECT_FAILURE": "impatience",
    }
    recorded = record(write(FORKING.format(end=end)), str(trigger), out=out, env=env, timeout=50)
    assert (recorded.stdout, recorded.status) == ("child 7\n", 0), recorded.stderr
    assert says in recorded.stderr + log.read_text()
    (child,) = (out / "processes").iterdir()
    # What was written before is there; the state says what the disk took.
    assert len([step for step in Trace(child).main.steps if "noise" in step.locals]) >= 999
    state = json.loads((child / "recording.json").read_text())
    assert state["state"] == ("failed" if file == "trace.bin" else "recording")
    # The parent's trace is complete.
    assert json.loads((out / "recording.json").read_text())["state"] == "complete"
