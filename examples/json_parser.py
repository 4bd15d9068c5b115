"""A JSON parser in sixty lines: generators, recursion over real data, and an error with a position.

./scripts/just run examples/json_parser.py
"""

import re

TOKEN = re.compile(
    r"""\s*(?:
        (?P<punctuation>[{}\[\],:])
      | (?P<string>"(?:[^"\\]|\\.)*")
      | (?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
      | (?P<word>true|false|null)
    )\s*""",
    re.VERBOSE,
)
WORDS = {"true": True, "false": False, "null": None}
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


def tokens(text):
    position = 0
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"unexpected {text[position]!r} at position {position}")
        yield match.lastgroup, match[match.lastgroup]
        position = match.end()
    yield "end", ""


def parse(text):
    stream = tokens(text)
    value = parse_value(stream, *next(stream))
    kind, token = next(stream)
    if kind != "end":
        raise ValueError(f"unexpected {token!r} after the value")
    return value


def parse_value(stream, kind, token):
    match kind, token:
        case "number", _:
            return float(token) if any(c in token for c in ".eE") else int(token)
        case "string", _:
            return parse_string(token)
        case "word", _:
            return WORDS[token]
        case "punctuation", "[":
            return list(parse_items(stream, "]", parse_value))
        case "punctuation", "{":
            return dict(parse_items(stream, "}", parse_pair))
    raise ValueError(f"unexpected {token or 'end'!r}")


def parse_items(stream, closing, parse_item):
    kind, token = next(stream)
    if token == closing and kind == "punctuation":
        return
    while True:
        yield parse_item(stream, kind, token)
        kind, token = next(stream)
        if token == closing:
            return
        if token != ",":
            raise ValueError(f"expected ',' or {closing!r}, not {token or 'end'!r}")
        kind, token = next(stream)


def parse_pair(stream, kind, token):
    if kind != "string":
        raise ValueError(f"a key must be a string, not {token or 'end'!r}")
    _, colon = next(stream)
    if colon != ":":
        raise ValueError(f"expected ':', not {colon or 'end'!r}")
    return parse_string(token), parse_value(stream, *next(stream))


def parse_string(token):
    escape = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))")
    return escape.sub(lambda m: chr(int(m[1], 16)) if m[1] else ESCAPES.get(m[2], m[2]), token[1:-1])


def main():
    document = '{"name": "Ada \\u2764", "born": 1815, "tags": ["poet", "countess"], "ratio": -1.5e3, "alive": false}'
    print(parse(document))
    for broken in ("[1, 2", '{"a" 1}', "[1, ?]"):
        try:
            parse(broken)
        except ValueError as problem:
            print(f"{broken!r}: {problem}")


if __name__ == "__main__":
    main()
