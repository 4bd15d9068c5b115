"""Names that become globals late, hide builtins, and go again, in code that is warm by then."""


def read(count):
    total = 0
    for i in range(count):
        if i == 40:
            globals()["late"] = i
        if 40 < i < 60:
            total += late
        if i == 60:
            del globals()["late"]
        if i == 70:
            globals()["len"] = lambda value: 1
            globals()["min"] = 5
        if i == 80:
            del globals()["len"]
            globals()["late"] = "back"
        total += len("abc")
    return total


def many(count):
    # The namespace grows until its table is made anew, with names that were not there before.
    for i in range(count):
        globals()[f"made_{i}"] = i
        if i == 30:
            globals()["wanted"] = [i]
        if i > 30:
            wanted.append(i)
    for i in range(count):
        del globals()[f"made_{i}"]
    return wanted


print(read(100), min)
del globals()["min"]
print(len(many(50)))
