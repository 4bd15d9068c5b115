"""Globals read, written, deleted and shadowed by functions; builtins shadowed by globals."""

counter = 0
settings = {"depth": 1}
len_alias = len
label = "global"


def bump(by):
    global counter
    counter += by
    return counter


def create():
    global created
    created = [counter]


def destroy():
    global created
    del created


def shadow():
    label = "local"
    return label


def reads_inner():
    def inner():
        return label, settings["depth"], counter

    settings["depth"] += 1
    return inner()


def undefined():
    try:
        return undefined_name
    except NameError as error:
        return str(error)


def shadowed_builtin():
    return max


bump(2)
create()
print(counter, created)
destroy()
max = "shadow"
print(shadow(), reads_inner(), undefined(), shadowed_builtin(), len_alias("abc"))
del max
label = ("rebound", [label])
print(reads_inner(), max(1, 2))
