"""sys.exit without an argument is success."""

import sys


def main():
    print("fine")


sys.exit(main())
