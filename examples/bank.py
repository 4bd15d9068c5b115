"""A little bank: classes, properties, a context manager, and exceptions caught and raised again.

./scripts/just run examples/bank.py
"""

from contextlib import contextmanager
from dataclasses import dataclass, field


class InsufficientFunds(Exception):
    """Somebody wants more money than there is."""


@dataclass
class Account:
    owner: str
    balance: int = 0
    history: list[tuple[str, int]] = field(default_factory=list)

    @property
    def in_debt(self):
        return self.balance < 0

    def deposit(self, amount):
        self.balance += amount
        self.history.append(("deposit", amount))

    def withdraw(self, amount):
        if amount > self.balance:
            raise InsufficientFunds(f"{self.owner} has {self.balance}, not {amount}")
        self.balance -= amount
        self.history.append(("withdraw", amount))


@contextmanager
def transaction(*accounts):
    """Either everything inside happens, or nothing."""
    before = [(account.balance, list(account.history)) for account in accounts]
    try:
        yield
    except InsufficientFunds:
        for account, (balance, history) in zip(accounts, before, strict=True):
            account.balance, account.history = balance, history
        raise


def transfer(source, target, amount):
    with transaction(source, target):
        target.deposit(amount)
        source.withdraw(amount)


def main():
    ada, bob = Account("Ada", 100), Account("Bob", 20)
    for source, target, amount in [(ada, bob, 30), (bob, ada, 500), (bob, ada, 5)]:
        try:
            transfer(source, target, amount)
        except InsufficientFunds as problem:
            print(f"refused: {problem}")
        else:
            print(f"{source.owner} → {target.owner}: {amount}")
    for account in (ada, bob):
        print(f"{account.owner}: {account.balance}, in debt: {account.in_debt}, history: {account.history}")


if __name__ == "__main__":
    main()
