"""Programs made at random: functions that create, share, mutate in place, pass on and let go of values of all kinds.

Invariants:
- A program of one seed is the same everywhere and ends by itself; whatever its statements raise is caught inside it.
- Values stay within the recorder's default limits, so that what a trace shows can be compared whole.
"""

from __future__ import annotations

from random import Random

VARIABLES = ("a", "b", "c", "d", "e")
TEXTS = ("", "text", "naïve", "\U0001f40d", "\udc80", "x" * 40, "a\nb")
INTEGERS = (0, 1, -1, 255, 2**31, -(2**63), 2**63, -(10**30), 7)
FLOATS = ("0.0", "-0.0", "1.5", "1e300", "float('inf')", "float('nan')", "0.1")

HEAD = """\
class Plain:
    def __init__(self, value):
        self.value = value
        self.more = [value]


def grow(thing, extra=None):
    if isinstance(thing, list):
        thing.append(extra)
    elif isinstance(thing, dict):
        thing[len(thing)] = extra
    elif isinstance(thing, set):
        thing.add(len(thing))
    return thing


def countdown(n):
    got = None
    while n:
        got = yield n
        n -= 1
    return got


"""


class Writer:
    """Writes one program."""

    def __init__(self, seed: int, functions: int = 10) -> None:
        self._random = Random(seed)
        self._lines: list[str] = []
        self._functions = functions
        self._inside = True

    def program(self) -> str:
        """The source text."""
        for number in range(self._functions):
            self._function(number)
        self._inside = False
        calls = "".join(f"function_{number}({self._value(1)})\n" for number in range(self._functions))
        return HEAD + "\n".join(self._lines) + "\n" + calls

    def _function(self, number: int) -> None:
        self._lines.append(f"def function_{number}(argument, *rest, key=3, **named):")
        for name in VARIABLES:
            self._lines.append(f"    {name} = {self._value(2)}")
        self._block(1, self._random.randint(4, 9))
        self._lines.append(f"    return {self._random.choice(VARIABLES)}")
        self._lines.append("\n")

    def _block(self, depth: int, statements: int) -> None:
        for _ in range(statements):
            self._statement(depth)

    def _add(self, depth: int, text: str) -> None:
        self._lines.append("    " * depth + text)

    def _statement(self, depth: int) -> None:
        simple = (self._assign, self._mutate, self._augment, self._alias, self._call, self._unbind, self._object)
        compound = (self._loop, self._attempt, self._branch, self._generator, self._comprehension, self._closure)
        self._random.choice(simple if depth >= 3 else simple * 2 + compound)(depth)

    def _name(self) -> str:
        return self._random.choice(VARIABLES)

    def _value(self, depth: int) -> str:
        choice = self._random.randrange(12 if depth else 6)
        items = [self._value(depth - 1) for _ in range(self._random.randint(0, 4))] if choice >= 6 else []
        match choice:
            case 0 | 1:
                return repr(self._random.choice(INTEGERS) + self._random.randint(0, 3))
            case 2:
                return self._random.choice(FLOATS)
            case 3:
                return ascii(self._random.choice(TEXTS))
            case 4:
                return self._random.choice(("None", "True", "False", "argument" if self._inside else "None", "()"))
            case 5:
                return repr(bytes(self._random.choices(range(256), k=3)))
            case 6 | 7:
                return f"[{', '.join(items)}]"
            case 8:
                return f"({', '.join(items)}{',' if len(items) == 1 else ''})"
            case 9 | 10:
                return "{" + ", ".join(f"{ascii(f'k{n}')}: {item}" for n, item in enumerate(items)) + "}"
            case _:
                return f"set(range({self._random.randint(0, 5)}))"

    def _assign(self, depth: int) -> None:
        self._add(depth, f"{self._name()} = {self._value(2)}")

    def _guarded(self, depth: int, statement: str) -> None:
        self._add(depth, "try:")
        self._add(depth + 1, statement)
        self._add(depth, "except Exception as error:")
        self._add(depth + 1, "kind = type(error).__name__")

    def _mutate(self, depth: int) -> None:
        name, value = self._name(), self._value(1)
        statements = (
            f"{name}.append({value})",
            f"{name}.pop()",
            f"{name}[0] = {value}",
            f"{name}['k1'] = {value}",
            f"{name}.clear()",
            f"{name}.reverse()",
            f"{name}.update(extra={value})",
            f"{name}.add(11)",
            f"{name}[0].append({value})",
            f"{name}['k0'].append({value})",
            f"del {name}[0]",
            f"{name}[:] = {name}[1:]",
            f"{name}.insert(0, {name})",
        )
        self._guarded(depth, self._random.choice(statements))

    def _augment(self, depth: int) -> None:
        operator = self._random.choice(("+=", "*=", "|=", "-="))
        # A list times a random number would take all memory there is.
        operands = ("0", "1", "2") if operator == "*=" else ("1", "'more'", "[1]", "{9}", "0.5", self._name())
        self._guarded(depth, f"{self._name()} {operator} {self._random.choice(operands)}")

    def _alias(self, depth: int) -> None:
        self._add(depth, f"{self._name()} = {self._name()}")

    def _call(self, depth: int) -> None:
        self._guarded(depth, f"{self._name()} = grow({self._name()}, {self._name()})")

    def _unbind(self, depth: int) -> None:
        name = self._name()
        self._add(depth, f"del {name}")
        self._add(depth, f"{name} = {self._value(1)}")

    def _object(self, depth: int) -> None:
        self._add(depth, f"thing = Plain({self._name()})")
        self._add(depth, f"thing.value = {self._name()}")
        self._add(depth, "content = thing.more")

    def _loop(self, depth: int) -> None:
        self._add(depth, f"for turn in range({self._random.randint(1, 4)}):")
        self._block(depth + 1, self._random.randint(1, 3))

    def _attempt(self, depth: int) -> None:
        self._add(depth, "try:")
        self._block(depth + 1, 1)
        self._add(depth + 1, self._random.choice(("1 / 0", "raise KeyError('k')", "{}['missing']", "pass")))
        self._add(depth, "except (ZeroDivisionError, KeyError):")
        self._block(depth + 1, 1)
        self._add(depth, "finally:")
        self._block(depth + 1, 1)

    def _branch(self, depth: int) -> None:
        self._add(depth, f"if {self._name()}:")
        self._block(depth + 1, 1)
        self._add(depth, "else:")
        self._block(depth + 1, 1)

    def _generator(self, depth: int) -> None:
        self._add(depth, f"steps = countdown({self._random.randint(0, 3)})")
        self._add(depth, "for left in steps:")
        self._block(depth + 1, 1)
        if self._random.random() < 0.5:
            self._add(depth + 1, "break")

    def _comprehension(self, depth: int) -> None:
        self._add(depth, f"{self._name()} = [n * 2 for n in range({self._random.randint(0, 4)})]")

    def _closure(self, depth: int) -> None:
        kept = self._name()
        self._add(depth, f"def inner(given={self._value(1)}):")
        self._add(depth + 1, f"held = {kept}")
        self._add(depth + 1, "return held, given")
        self._add(depth, f"{self._name()} = inner()")
