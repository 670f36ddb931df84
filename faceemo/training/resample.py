"""The bootstrap behind every interval: people are drawn, each with all their pictures, which are not independent."""

import numpy as np

CELLS = 1 << 24  # of draws in memory at once


def sums_over_people(cells: np.ndarray, person: np.ndarray, resamples: int) -> np.ndarray:
    """float64 [resamples, K]: sums of cells [N, K] over the pictures of people drawn with replacement.

    person: [N], whose each picture is. The same people are drawn every time.
    """
    people = {one: number for number, one in enumerate(sorted(set(person), key=str))}
    number = np.array([people[one] for one in person])
    sums = np.zeros((len(people), cells.shape[1]))
    np.add.at(sums, number, cells)
    random, share = np.random.default_rng(0), np.full(len(people), 1 / len(people))
    drawn, rows = [], max(CELLS // len(people), 1)
    for start in range(0, resamples, rows):
        drawn.append(random.multinomial(len(people), share, size=min(rows, resamples - start)) @ sums)
    return np.concatenate(drawn)
