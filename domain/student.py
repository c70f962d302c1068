"""Student's t distribution for whole degrees of freedom."""

import math

_STEPS = 200  # of bisection: down to the last bit


def quantile(probability: float, degrees: int) -> float:
    """The t below which so much lies; probability from 0.5 up to, not including, 1."""
    low, high = 0.0, 1.0
    while cumulative(high, degrees) < probability:
        high *= 2
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if cumulative(middle, degrees) < probability:
            low = middle
        else:
            high = middle
    return high


def cumulative(t: float, degrees: int) -> float:
    """For t from 0 on. Abramowitz and Stegun, 26.7.3 and 26.7.4."""
    angle = math.atan(t / math.sqrt(degrees))
    sine, cosine = math.sin(angle), math.cos(angle)
    is_odd = degrees % 2 == 1
    term, total = (cosine, cosine) if is_odd else (1.0, 1.0)
    if degrees == 1:
        total = 0.0
    for n in range(3 if is_odd else 2, degrees - 1, 2):
        term *= cosine**2 * (n - 1) / n
        total += term
    within = 2 / math.pi * (angle + sine * total) if is_odd else sine * total
    return (1 + within) / 2
