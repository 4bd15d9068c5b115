"""`python -m codetracer_python_recorder`: the same as the console script."""

import os
import sys

if not sys.flags.safe_path:
    # `-m` put the current directory first. Until the program's own entry takes this place, no file that
    # happens to lie there may stand in for a module the recorder needs.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from .cli import main

# Not `sys.exit`: the program may have replaced it.
raise SystemExit(main())
