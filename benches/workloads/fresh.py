"""A program whose values do not repeat: hashes and random text at every line, n*100 iterations."""

import hashlib
import random


def scramble(state, text):
    digest = hashlib.sha256(text.encode()).hexdigest()
    number = int(digest[:15], 16) ^ state
    share = number / (1 << 60)
    word = digest[20:52]
    return number, share, word


def main(n):
    random.seed(1)
    state, text, total = 0, "seed", 0.0
    for _ in range(n * 100):
        state, share, text = scramble(state, text)
        total += share
        noise = random.getrandbits(62)
        state ^= noise
    return total
