# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Compiled inner loops of `maze`: breadth-first search, generation."""

import numpy as np

from lrm_jax.data.jit import kernel, next_random


@kernel
def near_cell(cell, k, side):
    """Return the k-th near cell (down, left, right, up), or -1 off the board."""
    row = cell // side
    column = cell - row * side
    if k == 0:
        return cell + side if row < side - 1 else -1
    if k == 1:
        return cell - 1 if column > 0 else -1
    if k == 2:
        return cell + 1 if column < side - 1 else -1
    return cell - side if row > 0 else -1


@kernel
def distances(wall, start, side, dist, parent, queue):
    """Fill steps from `start` to each cell (-1: not reached); return cells reached.

    `queue[:reached]` is left in order of distance, `parent` with the cell each was
    first reached from.
    """
    for i in range(dist.size):
        dist[i] = -1
    dist[start] = 0
    parent[start] = -1
    queue[0] = start
    head = 0
    tail = 1
    while head < tail:
        cell = queue[head]
        head += 1
        for k in range(4):
            near = near_cell(cell, k, side)
            if near >= 0 and not wall[near] and dist[near] < 0:
                dist[near] = dist[cell] + 1
                parent[near] = cell
                queue[tail] = near
                tail += 1
    return tail


@kernel
def is_lone_path(dist, parent, goal, side):
    """Whether the path back from the goal is the only shortest one."""
    cell = goal
    while parent[cell] >= 0:
        closer = 0
        for k in range(4):
            near = near_cell(cell, k, side)
            if near >= 0 and dist[near] == dist[cell] - 1:
                closer += 1
        if closer > 1:
            return False
        cell = parent[cell]
    return True


@kernel
def solve_all(walls, starts, goals, side):
    """Return shortest paths bool `[n, cells]` and steps `[n]` (-1: no path)."""
    n, cells = walls.shape
    paths = np.zeros((n, cells), np.bool_)
    steps = np.zeros(n, np.int64)
    dist = np.zeros(cells, np.int64)
    parent = np.zeros(cells, np.int64)
    queue = np.zeros(cells, np.int64)
    for p in range(n):
        distances(walls[p], starts[p], side, dist, parent, queue)
        steps[p] = dist[goals[p]]
        if steps[p] >= 0:
            cell = goals[p]
            while cell >= 0:
                paths[p, cell] = True
                cell = parent[cell]
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
    dist = np.zeros(cells, np.int64)
    parent = np.zeros(cells, np.int64)
    queue = np.zeros(cells, np.int64)
    for _ in range(attempts):
        chance = low + (high - low) * next_random(state) / 4294967296.0
        bound = np.int64(chance * 4294967296.0)
        for i in range(cells):
            wall[i] = next_random(state) < bound
        start = next_random(state) % cells
        if wall[start]:
            continue
        reached = distances(wall, start, side, dist, parent, queue)
        if reached <= min_steps:
            continue
        end = queue[reached - 1]
        reached = distances(wall, end, side, dist, parent, queue)
        if dist[queue[reached - 1]] < min_steps:
            continue
        for _ in range(16):
            start = next_random(state) % cells
            if wall[start]:
                continue
            reached = distances(wall, start, side, dist, parent, queue)
            far = 0
            while far < reached and dist[queue[reached - 1 - far]] >= min_steps:
                far += 1
            if far > next_random(state) % enough:
                goal = queue[reached - 1 - next_random(state) % far]
                if not is_lone_path(dist, parent, goal, side):
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
