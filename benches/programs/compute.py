"""Integer and floating-point arithmetic of the interpreter; prints its time."""
import time


def collatz(limit):
    steps = 0
    for number in range(1, limit):
        while number != 1:
            number = 3 * number + 1 if number % 2 else number // 2
            steps += 1
    return steps


def waves(count):
    total = 0.0
    for at in range(1, count):
        total += at**0.5 / (1 + total * total)
    return total


def work():
    return collatz(30000) + int(waves(500000))


result = work()
start = time.perf_counter_ns()
result += work() + work()
print("result", result)
print("time_ns", time.perf_counter_ns() - start)
