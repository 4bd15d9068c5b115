"""Command-line arguments, the module's own attributes, paths."""

import os
import sys

print(sys.argv[1:])
print(os.path.basename(sys.argv[0]), os.path.basename(__file__), __name__, __spec__)
print(os.path.basename(sys.path[0]), __package__, __doc__[:12])
print(sys.modules["__main__"].__dict__ is globals(), __builtins__ is sys.modules["builtins"])
for number, argument in enumerate(sys.argv[1:]):
    print(number, argument)
