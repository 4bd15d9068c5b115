"""An independent account of what a Python program does, to hold recorded traces against.

Nothing here shares code with the recorder. `settrace` tells the story through `sys.settrace`;
`monitoring` tells it a second time through `sys.monitoring`, only to prove the first one right (see
`test_oracle.py`). Both yield the model that a trace is read into:

- `Call`: a frame is entered. A function's start has its arguments; a resumed generator or coroutine has none;
  one that an exception is thrown into has the single argument `exception`.
- `Step`: a line is about to run, with what every visible variable holds.
- `Return`: a frame is left, by return, yield or exception, with the value or the exception.

Where `sys.settrace` and `sys.monitoring` differ, and what is done about it
---------------------------------------------------------------------------
1. A backward jump within a line (`for x in y: f(x)`, a one-line comprehension) is a further `line` event for
   settrace, none for monitoring. The oracle makes no Step of a line where its frame already is, the line that a
   generator was suspended on included. `model.normalise` does the same to a recorded trace, within an activation.
2. settrace has one event `call` for start, resume and throw. They are told apart by what follows: an
   `exception` event at the very instruction the frame was entered at is a throw.
3. settrace reports unwinding as `return` of None, without the exception. See `settrace.Activation`.
4. A generator converts a StopIteration that leaves it into a RuntimeError after the last event that settrace
   sends of it; the oracle does the same to its expectation.
5. Reading `frame.f_locals` inside a trace function changes programs on CPython 3.12 (it keeps objects alive and
   writes back); variables are read one by one with `PyFrame_GetVar` instead.

Not a difference, though it looks like one: the missing first line of a class body on 3.13, lines of
multi-line expressions, generators closed without being resumed. Both mechanisms agree on each.
"""
