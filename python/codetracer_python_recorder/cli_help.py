"""What `-h` and a mistake in the command line print. Imported only for that."""

from .auto_start import ENV_DISABLED
from .cli import DEFAULT_OUT_DIR, ENV_OUT_DIR, PROGRAM
from .formats import DEFAULT_FORMAT

USAGE = f"""\
usage: {PROGRAM} [options] script.py [args...]
       {PROGRAM} [options] -m module [args...]
       {PROGRAM} [options] -c code [args...]
       {PROGRAM} [options] --pytest|--unittest args...
       {PROGRAM} inspect|verify|recover DIR
       {PROGRAM} export DIR FORMAT [-o FILE]
       {PROGRAM} convert DIR NEW
       {PROGRAM} report DIR [-o FILE]
       {PROGRAM} policy [--check FILE]
       {PROGRAM} ctl PID status|dump|pause|resume|stop
       {PROGRAM} enable|disable|status
"""

HELP = f"""{USAGE}
Record what a Python program does, step by step, into a CodeTracer trace. The
program runs as under plain python; everything after it is its own. A '--' may
stand before the script or before its arguments.

what to run:
  script.py             a script, or a directory or zip file with a __main__.py
  -m MODULE             a module, as 'python -m MODULE'
  -c CODE               source text, as 'python -c CODE'; nothing is
                        recorded of the text itself, only of what it imports
  --pytest ARGS...      a test run, recorded from its first line; everything
  --unittest ARGS...    after it goes to the framework, whose own code is left
                        out of the trace
  --no-framework-filters
                        record the framework's own code too
  inspect DIR           show a trace ('{PROGRAM} inspect -h')
  verify DIR            check that a trace is complete and readable
  recover DIR           make the trace of a killed program readable
  export DIR            write a trace's calls for Perfetto (--chrome-json) or
                        speedscope (--speedscope), or tables (--parquet)
  convert DIR NEW       write a trace again in the other format
  report DIR            write a page of HTML that shows a trace
  policy                print the policy in force and where each value was said
                        (--check FILE: check a policy file)
  ctl PID               ask a running recording: status, dump, pause, resume,
                        stop
  enable|disable|status whether $CODETRACER_TRACE=DIR records any program of
                        this environment
                        (a script of one of these names runs as ./inspect)

recording:
  -o, --out-dir, --trace-dir DIR
                        where the trace goes (default: ./{DEFAULT_OUT_DIR}, or
                        ${ENV_OUT_DIR})
  --format binary|json  trace.bin or trace.json (default: $CODETRACER_FORMAT,
                        or {DEFAULT_FORMAT})
  --activation-path FILE
                        record only while FILE is running (default: the script)
  --trace-filter SPEC   a filter file, or several joined by '::'; may be given
                        more than once, later filters win. Loaded after the
                        project's .codetracer/trace-filter.toml and after
                        $CODETRACER_TRACE_FILTER
  --explain-filter MODULE[:QUALNAME] or FILE[:QUALNAME]
                        record nothing; say which rule of which filter decides
                        about this code and its values, and why
  --io-capture off|proxies|proxies+fd
                        record stdout, stderr and stdin: not at all, through
                        stream proxies, or also what bypasses Python's streams
  --[no-]module-name-from-globals
                        name modules by their __name__ (default) or by path

when something goes wrong:
  --on-recorder-error abort|disable
                        let a failure of the recorder end the program
                        (default), or go on without recording; when recording
                        cannot begin, the program does not run either way
  --require-trace       exit with status 1 when nothing was recorded
  --keep-partial-trace  keep the files of a recording that failed
  --[no-]propagate-script-exit
                        exit with the program's own status (default: with 0
                        whenever the recorder worked)
  --log-level LEVEL     e.g. info, debug, or a filter as in RUST_LOG
  --log-file FILE       log there and not to stderr
  --json-errors         end with a line of JSON on stderr for every error

  -h, --help            show this help
  -V, --version         show the version

${ENV_DISABLED}=1 runs the program without recording.
"""
