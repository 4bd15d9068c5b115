"""line-heavy: tight arithmetic loop, 6 locals, n*1000 iterations."""


def main(n):
    x = 12345
    a = 0
    b = 0
    for i in range(n * 1000):
        x = (x * 1103515245 + 12345) & 0x7FFFFFFF
        if x & 1:
            a += x
        else:
            b ^= x
        a &= 0xFFFFFFFF
    return a ^ b
