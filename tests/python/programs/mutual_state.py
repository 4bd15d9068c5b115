"""A small bank: objects calling each other, with exceptions as control flow."""


class Insufficient(Exception):
    pass


class Account:
    def __init__(self, owner, balance=0):
        self.owner = owner
        self.balance = balance
        self.history = []

    def deposit(self, amount):
        if amount <= 0:
            raise ValueError("amount")
        self.balance += amount
        self.history.append(("+", amount))

    def withdraw(self, amount):
        if amount > self.balance:
            raise Insufficient(self.owner)
        self.balance -= amount
        self.history.append(("-", amount))


class Bank:
    def __init__(self):
        self.accounts = {}

    def open(self, owner, **options):
        self.accounts[owner] = Account(owner, **options)
        return self.accounts[owner]

    def transfer(self, source, target, amount):
        giver, taker = self.accounts[source], self.accounts[target]
        before = giver.balance, taker.balance
        try:
            giver.withdraw(amount)
            taker.deposit(amount)
        except Exception:
            giver.balance, taker.balance = before
            raise
        return giver.balance


bank = Bank()
bank.open("ann", balance=10)
bank.open("bob")
for source, target, amount in [("ann", "bob", 4), ("bob", "ann", 9), ("ann", "bob", -1), ("ann", "eve", 1)]:
    try:
        print(bank.transfer(source, target, amount))
    except (Insufficient, ValueError, KeyError) as error:
        print(type(error).__name__, error)
print({owner: account.balance for owner, account in bank.accounts.items()})
