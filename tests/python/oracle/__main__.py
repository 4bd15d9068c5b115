"""`python -m oracle [--witness settrace|monitoring] --out EVENTS.json PROGRAM [ARGS…]`

Writes the events and exits 0, whatever the program's own end was.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from . import launch, model, monitoring, settrace

parser = argparse.ArgumentParser(prog="oracle")
parser.add_argument("--witness", choices=["settrace", "monitoring"], default="settrace")
parser.add_argument("--out", type=Path, required=True)
parser.add_argument("program")
parser.add_argument("args", nargs=argparse.REMAINDER)
options = parser.parse_args()
# A relative target must not follow the program when it changes directory.
target = options.out.absolute()
kind = settrace.Recorder if options.witness == "settrace" else monitoring.Recorder
recorder = launch.run(options.program, options.args, kind)
sys.stdout.flush()
model.dump(recorder.streams, target)
