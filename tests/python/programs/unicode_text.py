"""Text of all kinds: other scripts, emoji, control characters, lone surrogates, identifiers that are not ASCII."""

naïve = "é"
变量 = "汉字"
emoji = "👩‍👩‍👧 🏳️‍🌈"
control = "tab\tnewline\nnull\x00bell\x07 quote\" back\\slash"
lone = "broken \ud800 and \udcff end"
combining = "e\u0301" + "\u202e" + "rtl"
raw_bytes = b"\x00\xff\x80abc'\""
undecodable = b"caf\xe9".decode("utf-8", "surrogateescape")
table = {"ключ": "значение", 变量: naïve, "": ""}


def приветствие(имя):
    ответ = f"привет, {имя}"
    return ответ


def escape(text):
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


print(приветствие("мир"), 变量, naïve, ascii(emoji))
print(ascii(control), escape(lone), ascii(combining), raw_bytes, escape(undecodable), len(table))
try:
    raise ValueError(lone)
except ValueError as error:
    print(escape(str(error)))
