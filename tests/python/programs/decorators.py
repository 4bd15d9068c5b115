"""Decorators: plain, with arguments, stacked, on methods and classes, as classes."""

import functools


def traced(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        result = function(*args, **kwargs)
        calls.append((function.__name__, result))
        return result

    return wrapper


def repeat(times, *, reverse=False):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(*args):
            results = [function(*args) for _ in range(times)]
            return results[::-1] if reverse else results

        return wrapper

    return decorate


class Memo:
    def __init__(self, function):
        functools.update_wrapper(self, function)
        self.function = function
        self.memo = {}

    def __call__(self, *args):
        if args not in self.memo:
            self.memo[args] = self.function(*args)
        return self.memo[args]


def register(cls):
    cls.registered = True
    return cls


calls = []


@traced
@repeat(2, reverse=True)
def greet(name):
    return f"hi {name}"


@Memo
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


@functools.lru_cache(maxsize=None)
def cached(n):
    return n * 2


@register
class Service:
    @traced
    def run(self, x):
        return x + 1

    @staticmethod
    @traced
    def helper():
        return "helped"


print(greet("you"), greet.__name__, fib(8), cached(3), cached(3), Service().run(1), Service.helper())
print(Service.registered, calls)
