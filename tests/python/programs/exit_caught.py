"""A SystemExit that is caught, then a huge code."""

import sys

try:
    sys.exit(5)
except SystemExit as stop:
    print("caught", stop.code)
sys.exit(256 + 7)
