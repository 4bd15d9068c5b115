"""Two threads that take turns: their events interleave strictly, their variables never mix."""

import threading

turns = [threading.Event(), threading.Event()]


def player(number, rounds):
    mine, other = turns[number], turns[1 - number]
    log = []
    for shot in range(rounds):
        mine.wait()
        mine.clear()
        value = number * 100 + shot
        log.append(value)
        other.set()
    return log


players = [threading.Thread(target=player, args=(n, 4), name=f"player-{n}") for n in range(2)]
for thread in players:
    thread.start()
turns[0].set()
for thread in players:
    thread.join()
print("played")
