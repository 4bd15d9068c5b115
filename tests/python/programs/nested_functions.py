"""Functions three and more levels deep, each with variables of its own and shared ones."""


def outer(a):
    b = a + 1

    def middle(c):
        d = b + c

        def inner(e):
            nonlocal d
            f = a + b + c + d + e
            d += 1

            def innermost(g):
                nonlocal b
                b += g
                return f + b + d

            return innermost(f)

        first = inner(d)
        return first + inner(first)

    result = middle(b)
    return result, b


print(outer(1))
print(outer(-5))


def recursive_closure(n):
    def go(k):
        if k == 0:
            return n
        return go(k - 1) + k

    return go(n)


print(recursive_closure(4))
