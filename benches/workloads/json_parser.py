"""strings: a JSON parser and writer in pure Python, n documents."""

DOC = (
    '{"id": 17, "name": "widget \\"x\\"", "tags": ["a", "bb", "ccc"], '
    '"price": 12.75, "dims": {"w": 3, "h": -4.5e1, "ok": true, "no": false, "nil": null}, '
    '"rows": [[1, 2, 3], [4, 5, 6], [], {}], "txt": "line\\nfeed \\u00e9"}'
)

WS = " \t\r\n"
ESC = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f"}


class ParseError(ValueError):
    pass


def skip(s, i):
    while i < len(s) and s[i] in WS:
        i += 1
    return i


def parse_string(s, i):
    out = []
    i += 1
    while True:
        c = s[i]
        if c == '"':
            return "".join(out), i + 1
        if c == "\\":
            e = s[i + 1]
            if e == "u":
                out.append(chr(int(s[i + 2 : i + 6], 16)))
                i += 6
                continue
            out.append(ESC[e])
            i += 2
            continue
        out.append(c)
        i += 1


def parse_number(s, i):
    j = i
    while j < len(s) and s[j] in "+-0123456789.eE":
        j += 1
    t = s[i:j]
    if "." in t or "e" in t or "E" in t:
        return float(t), j
    return int(t), j


def parse_array(s, i):
    res = []
    i = skip(s, i + 1)
    if s[i] == "]":
        return res, i + 1
    while True:
        v, i = parse_value(s, i)
        res.append(v)
        i = skip(s, i)
        if s[i] == "]":
            return res, i + 1
        if s[i] != ",":
            raise ParseError(i)
        i += 1


def parse_object(s, i):
    res = {}
    i = skip(s, i + 1)
    if s[i] == "}":
        return res, i + 1
    while True:
        i = skip(s, i)
        k, i = parse_string(s, i)
        i = skip(s, i)
        if s[i] != ":":
            raise ParseError(i)
        v, i = parse_value(s, i + 1)
        res[k] = v
        i = skip(s, i)
        if s[i] == "}":
            return res, i + 1
        if s[i] != ",":
            raise ParseError(i)
        i += 1


def parse_value(s, i):
    i = skip(s, i)
    c = s[i]
    if c == "{":
        return parse_object(s, i)
    if c == "[":
        return parse_array(s, i)
    if c == '"':
        return parse_string(s, i)
    if s.startswith("true", i):
        return True, i + 4
    if s.startswith("false", i):
        return False, i + 5
    if s.startswith("null", i):
        return None, i + 4
    return parse_number(s, i)


def dump(v):
    if v is None:
        return "null"
    if v is True:
        return "true"
    if v is False:
        return "false"
    if isinstance(v, str):
        return '"' + v.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    if isinstance(v, list):
        return "[" + ",".join([dump(x) for x in v]) + "]"
    if isinstance(v, dict):
        return "{" + ",".join([dump(k) + ":" + dump(x) for k, x in v.items()]) + "}"
    return repr(v)


def main(n):
    tot = 0
    for k in range(n):
        v, _ = parse_value(DOC, 0)
        v["id"] = k
        txt = dump(v)
        tot += len(txt)
        try:
            parse_value('{"a" 1}', 0)
        except ParseError:
            tot += 1
    return tot
