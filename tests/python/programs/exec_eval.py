"""exec and eval: not recorded for text, recorded when compiled for a real file."""

namespace = {"x": 3}
exec("y = x * 2\ndef f(a):\n    return a + y", namespace)
print(namespace["y"], namespace["f"](1), eval("x + y", namespace))


def local_scope(a):
    b = eval("a + 1")
    scope = {}
    exec("c = a * 10", {"a": a}, scope)
    return b, scope["c"]


def callback(n):
    return n * 100


print(local_scope(2), eval("callback(2)"), eval("[callback(i) for i in range(2)]"))
source = "first = 1\nsecond = first + 1\n"
code = compile(source, __file__, "exec")
scope = {"__name__": "compiled"}
exec(code, scope)
print(scope["second"])
separate = {}
exec(code, {"__name__": "separate"}, separate)
print(separate)
expression = compile("callback(3) + 1", __file__, "eval")
print(eval(expression))
try:
    exec("raise ValueError('from text')")
except ValueError as error:
    print(error)
make = eval("lambda k: [k, callback(k)]")
print(make(1))
