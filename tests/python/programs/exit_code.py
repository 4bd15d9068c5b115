"""sys.exit with a number, below other frames, through finally."""

import sys


def leave(code):
    try:
        sys.exit(code)
    finally:
        print("cleaning up")


print("leaving")
leave(3)
