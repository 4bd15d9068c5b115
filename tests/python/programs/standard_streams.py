"""Reads stdin, writes stdout and stderr, in text and in bytes."""

import io
import sys

name = input("name? ")
print("hello", name)
rest = sys.stdin.read()
print(len(rest.splitlines()), "more lines", file=sys.stderr)
sys.stdout.write("no newline")
sys.stdout.flush()
print()
sys.stdout.buffer.write(b"bytes\n")
sys.stdout.flush()
print(isinstance(sys.stdout, io.TextIOBase), sys.stdout.encoding.lower(), end="!\n")
