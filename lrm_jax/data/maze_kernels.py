# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Compiled inner loops of `maze`: breadth-first search, generation."""

import numpy as np

from lrm_jax.data.jit import kernel


@kernel
def next_random(state):
    """Advance a splitmix64 state (uint64 `[1]`) and return 32 random bits."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.int64((z ^ (z >> np.uint64(31))) >> np.uint64(32))


@kernel
def distances(wall, start, side, dist, queue):
    """Fill steps from `start` to each cell (-1: not reached); return cells reached.

    `queue[:reached]` is left in order of distance.
    """
    dist[:] = -1
    dist[start] = 0
    queue[0] = start
    head = 0
    tail = 1
    while head < tail:
        cell = queue[head]
        head += 1
        row = cell // side
        column = cell - row * side
        for k in range(4):
            if k == 0:
                inside, near = row > 0, cell - side
            elif k == 1:
                inside, near = column > 0, cell - 1
            elif k == 2:
                inside, near = column < side - 1, cell + 1
            else:
                inside, near = row < side - 1, cell + side
            if inside and not wall[near] and dist[near] < 0:
                dist[near] = dist[cell] + 1
                queue[tail] = near
                tail += 1
    return tail


@kernel
def trace(dist, goal, side, path):
    """Mark a shortest path back from the goal; return whether it is the only one.

    Each step goes to the first near cell (up, left, right, down) that is closer.
    """
    path[:] = False
    cell = goal
    path[cell] = True
    only = True
    while dist[cell] > 0:
        row = cell // side
        column = cell - row * side
        closer = dist[cell] - 1
        step = 0
        if row < side - 1 and dist[cell + side] == closer:
            step = side
        if column < side - 1 and dist[cell + 1] == closer:
            only = only and step == 0
            step = 1
        if column > 0 and dist[cell - 1] == closer:
            only = only and step == 0
            step = -1
        if row > 0 and dist[cell - side] == closer:
            only = only and step == 0
            step = -side
        cell += step
        path[cell] = True
    return only


@kernel
def solve_all(walls, starts, goals, side):
    """Return shortest paths bool `[n, cells]` and steps `[n]` (-1: no path)."""
    n, cells = walls.shape
    paths = np.zeros((n, cells), np.bool_)
    steps = np.zeros(n, np.int64)
    dist = np.zeros(cells, np.int64)
    queue = np.zeros(cells, np.int64)
    for p in range(n):
        distances(walls[p], starts[p], side, dist, queue)
        steps[p] = dist[goals[p]]
        if steps[p] >= 0:
            trace(dist, goals[p], side, paths[p])
    return paths, steps


@kernel
def generate_one(wall, state, side, min_steps, low, high, enough, attempts):
    """Draw walls, start and goal until the goal is far enough: (start, goal).

    A board is first asked for its (approximate) longest path; then some starts
    are tried, each kept with a chance that grows with the number of cells far
    from it, up to `enough` of them; a lone shortest path is drawn again. Returns
    (-1, -1) after `attempts` boards.
    """
    cells = side * side
    path = np.zeros(cells, np.bool_)
    dist = np.zeros(cells, np.int64)
    queue = np.zeros(cells, np.int64)
    for _ in range(attempts):
        chance = low + (high - low) * next_random(state) / 4294967296.0
        bound = np.int64(chance * 4294967296.0)
        for i in range(cells):
            wall[i] = next_random(state) < bound
        start = next_random(state) % cells
        if wall[start]:
            continue
        reached = distances(wall, start, side, dist, queue)
        if reached <= min_steps:
            continue
        reached = distances(wall, queue[reached - 1], side, dist, queue)
        if dist[queue[reached - 1]] < min_steps:
            continue
        for _ in range(16):
            start = next_random(state) % cells
            if wall[start]:
                continue
            reached = distances(wall, start, side, dist, queue)
            far = 0
            while far < reached and dist[queue[reached - 1 - far]] >= min_steps:
                far += 1
            if far > next_random(state) % enough:
                goal = queue[reached - 1 - next_random(state) % far]
                if not trace(dist, goal, side, path):
                    return start, goal
    return -1, -1


@kernel
def generate_all(seeds, side, min_steps, low, high, enough, attempts):
    """Make one maze from each seed: (walls, starts, goals)."""
    n = seeds.size
    cells = side * side
    walls = np.zeros((n, cells), np.bool_)
    starts = np.zeros(n, np.int64)
    goals = np.zeros(n, np.int64)
    state = np.zeros(1, np.uint64)
    for p in range(n):
        state[0] = seeds[p]
        starts[p], goals[p] = generate_one(
            walls[p], state, side, min_steps, low, high, enough, attempts
        )
        if starts[p] < 0:
            break
    return walls, starts, goals
