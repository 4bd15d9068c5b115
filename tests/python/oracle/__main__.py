"""`python -m oracle [--witness settrace|monitoring] [--no-variables] --out EVENTS.json PROGRAM [ARGS…]`

Writes the events and exits 0, whatever the program's own end was.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from . import launch, model, monitoring, settrace

parser = argparse.ArgumentParser(prog="oracle")
parser.add_argument("--witness", choices=["settrace", "monitoring"], default="settrace")
parser.add_argument("--no-variables", action="store_true", help="steps without variables: for long runs")
parser.add_argument("--out", type=Path, required=True)
parser.add_argument("program")
parser.add_argument("args", nargs=argparse.REMAINDER)
options = parser.parse_args()
# A relative target must not follow the program when it changes directory.
target = options.out.absolute()
kind = settrace.Recorder if options.witness == "settrace" else monitoring.Recorder
recorder = launch.run(options.program, options.args, partial(kind, variables=not options.no_variables))
sys.stdout.flush()
model.dump(recorder.streams, target)
