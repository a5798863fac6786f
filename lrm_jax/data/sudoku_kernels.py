# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""Compiled inner loops of `sudoku`: search, generation, canonical form.

Grids are uint8 `[cells]`, 0 for an open cell. A candidate set is a bit mask of
digits (bit d - 1). `units` is int32 `[3 * side, side]` (rows, columns, boxes) and
`peers` int32 `[cells, n_peers]`. The search follows the rating rule to the letter:
naked and hidden singles to a fixpoint, then the open cell with the fewest
candidates (lowest index first), its digits in ascending order. Loops in place of
slice assignments, and one integer type, keep the time to compile low.
"""

import numpy as np

from lrm_jax.data.jit import kernel, next_random


@kernel
def shuffle(values, state):
    """Shuffle in place (Fisher-Yates)."""
    for i in range(values.size - 1, 0, -1):
        j = next_random(state) % (i + 1)
        values[i], values[j] = values[j], values[i]


@kernel
def assign(cand, solved, cell, mask, peers, queue):
    """Set one cell and all naked singles that follow; false on contradiction."""
    head = 0
    tail = 1
    queue[0] = cell
    cand[cell] = mask
    solved[cell] = True
    while head < tail:
        at = queue[head]
        head += 1
        bit = cand[at]
        for k in range(peers.shape[1]):
            peer = peers[at, k]
            if cand[peer] & bit:
                rest = cand[peer] & ~bit
                if rest == 0:
                    return False
                cand[peer] = rest
                if rest & (rest - 1) == 0 and not solved[peer]:
                    solved[peer] = True
                    queue[tail] = peer
                    tail += 1
    return True


@kernel
def propagate(cand, solved, units, peers, queue):
    """Assign hidden (and naked) singles to a fixpoint; false on contradiction."""
    side = units.shape[1]
    full = (1 << side) - 1
    changed = True
    while changed:
        changed = False
        for u in range(units.shape[0]):
            once = 0
            twice = 0
            for k in range(side):
                c = cand[units[u, k]]
                twice |= once & c
                once |= c
            if once != full:
                return False
            hidden = once & ~twice
            if hidden == 0:
                continue
            for k in range(side):
                cell = np.int64(units[u, k])
                here = cand[cell] & hidden
                if here and not solved[cell]:
                    if here & (here - 1):
                        return False
                    if not assign(cand, solved, cell, here, peers, queue):
                        return False
                    changed = True
    return True


@kernel
def load(givens, cand, solved, units, peers, queue):
    """Fill candidate sets from clues and propagate; false on contradiction."""
    full = (1 << units.shape[1]) - 1
    for i in range(givens.size):
        cand[i] = full
        solved[i] = False
    for i in range(givens.size):
        if givens[i]:
            bit = 1 << (givens[i] - 1)
            if cand[i] & bit == 0:
                return False
            if not solved[i] and not assign(cand, solved, i, bit, peers, queue):
                return False
    return propagate(cand, solved, units, peers, queue)


@kernel
def count_bits(mask):
    """Return how many bits are set."""
    count = 0
    while mask:
        mask &= mask - 1
        count += 1
    return count


@kernel
def fewest_candidates(cand, solved):
    """Return the open cell with the fewest candidates, the first of them; or -1."""
    best = -1
    fewest = 100
    for i in range(cand.size):
        if not solved[i]:
            count = count_bits(cand[i])
            if count < fewest:
                fewest = count
                best = i
                if count == 2:
                    break
    return best


@kernel
def read_digits(cand, solution):
    """Write the digits of a solved board."""
    for i in range(cand.size):
        digit = 1
        while cand[i] >> digit:
            digit += 1
        solution[i] = digit


@kernel
def pick_bit(rest, state):
    """Return the lowest candidate, or a random one where there is a random state."""
    if state[0]:
        skip = next_random(state) % count_bits(rest)
        for _ in range(skip):
            rest &= rest - 1
    return rest & -rest


@kernel
def search(cands, solveds, limit, state, units, peers, queue, solution):
    """Count solutions below a propagated root (row 0 of the stacks) up to a limit.

    `state` is a random state: with a non-zero state digits are tried in random
    order (to fill a grid), with zero in ascending order. Returns (solutions,
    candidates refuted before the first solution).
    """
    n = cands.shape[1]
    tries = np.zeros(n + 1, np.int64)
    cells = np.zeros(n + 1, np.int64)
    found = 0
    refuted = 0
    depth = 0
    fresh = True
    while depth >= 0:
        if fresh:
            fresh = False
            cell = fewest_candidates(cands[depth], solveds[depth])
            if cell >= 0:
                cells[depth] = cell
                tries[depth] = cands[depth, cell]
                continue
            if found == 0:
                read_digits(cands[depth], solution)
            found += 1
            if found >= limit:
                break
            depth -= 1
            continue
        rest = tries[depth]
        if rest == 0:
            # Every digit here failed, so the candidate that led here is refuted.
            depth -= 1
            if depth >= 0 and found == 0:
                refuted += 1
            continue
        bit = pick_bit(rest, state)
        tries[depth] = rest & ~bit
        child, done = cands[depth + 1], solveds[depth + 1]
        for i in range(n):
            child[i] = cands[depth, i]
            done[i] = solveds[depth, i]
        good = assign(child, done, cells[depth], bit, peers, queue)
        if good and propagate(child, done, units, peers, queue):
            depth += 1
            fresh = True
        elif found == 0:
            refuted += 1
    return found, refuted


@kernel
def solve_all(puzzles, limit, units, peers):
    """Solve every row: (first solutions [n, cells], counts [n], ratings [n])."""
    n, cells = puzzles.shape
    solutions = np.zeros((n, cells), np.uint8)
    counts = np.zeros(n, np.int64)
    ratings = np.zeros(n, np.int64)
    cands = np.zeros((cells + 1, cells), np.int64)
    solveds = np.zeros((cells + 1, cells), np.bool_)
    queue = np.zeros(cells, np.int64)
    state = np.zeros(1, np.uint64)
    for p in range(n):
        if load(puzzles[p], cands[0], solveds[0], units, peers, queue):
            counts[p], ratings[p] = search(
                cands, solveds, limit, state, units, peers, queue, solutions[p]
            )
    return solutions, counts, ratings


@kernel
def is_needed(puzzle, cell, cands, solveds, units, peers, queue, scratch):
    """Whether some solution without this clue has another digit there."""
    digit = puzzle[cell]
    puzzle[cell] = 0
    good = load(puzzle, cands[0], solveds[0], units, peers, queue)
    puzzle[cell] = digit
    bit = 1 << (digit - 1)
    if not good or cands[0, cell] & bit == 0:
        return good
    rest = cands[0, cell] & ~bit
    if rest == 0:
        return False
    cands[0, cell] = rest
    if rest & (rest - 1) == 0 and not assign(
        cands[0], solveds[0], cell, rest, peers, queue
    ):
        return False
    if not propagate(cands[0], solveds[0], units, peers, queue):
        return False
    state = np.zeros(1, np.uint64)
    found, _ = search(cands, solveds, np.int64(1), state, units, peers, queue, scratch)
    return found > 0


@kernel
def minimal_all(puzzles, units, peers):
    """Whether each clue of each (uniquely solvable) row is needed."""
    n, cells = puzzles.shape
    result = np.ones(n, np.bool_)
    cands = np.zeros((cells + 1, cells), np.int64)
    solveds = np.zeros((cells + 1, cells), np.bool_)
    queue = np.zeros(cells, np.int64)
    scratch = np.zeros(cells, np.uint8)
    for p in range(n):
        for i in range(cells):
            if puzzles[p, i] and not is_needed(
                puzzles[p], i, cands, solveds, units, peers, queue, scratch
            ):
                result[p] = False
                break
    return result


@kernel
def generate_all(seeds, units, peers):
    """Make one minimal puzzle from each seed: (puzzles, solutions, ratings)."""
    cells = peers.shape[0]
    n = seeds.size
    puzzles = np.zeros((n, cells), np.uint8)
    solutions = np.zeros((n, cells), np.uint8)
    ratings = np.zeros(n, np.int64)
    cands = np.zeros((cells + 1, cells), np.int64)
    solveds = np.zeros((cells + 1, cells), np.bool_)
    queue = np.zeros(cells, np.int64)
    scratch = np.zeros(cells, np.uint8)
    state = np.zeros(1, np.uint64)
    ascending = np.zeros(1, np.uint64)
    order = np.zeros(cells, np.int64)
    for p in range(n):
        state[0] = seeds[p]
        load(puzzles[p], cands[0], solveds[0], units, peers, queue)
        search(cands, solveds, np.int64(1), state, units, peers, queue, solutions[p])
        for i in range(cells):
            puzzles[p, i] = solutions[p, i]
            order[i] = i
        shuffle(order, state)
        for i in range(cells):
            if not is_needed(
                puzzles[p], order[i], cands, solveds, units, peers, queue, scratch
            ):
                puzzles[p, order[i]] = 0
        load(puzzles[p], cands[0], solveds[0], units, peers, queue)
        _, ratings[p] = search(
            cands, solveds, np.int64(1), ascending, units, peers, queue, scratch
        )
    return puzzles, solutions, ratings


@kernel
def canonical_all(puzzles, box_rows, box_cols, column_orders):
    """Return the smallest equivalent of every row, `[n, cells]`.

    Branch and bound over (transpose, column order, row order): rows are appended
    one by one, digits renamed in order of first use, and a branch is left as soon
    as a row exceeds the best one known at that depth.
    """
    n, cells = puzzles.shape
    side = box_rows * box_cols
    result = np.zeros((n, cells), np.uint8)
    turns = 2 if box_rows == box_cols else 1
    names = np.zeros((side + 1, side + 1), np.int64)
    used = np.zeros(side + 1, np.int64)
    pick = np.zeros(side + 1, np.int64)
    grid = np.zeros((side, side), np.int64)
    row = np.zeros(side, np.int64)
    for p in range(n):
        best = result[p]
        for j in range(cells):
            best[j] = 255
        for turn in range(turns):
            for k in range(column_orders.shape[0]):
                for i in range(side):
                    for j in range(side):
                        c = column_orders[k, j]
                        at = c * side + i if turn else i * side + c
                        grid[i, j] = puzzles[p, at]
                depth = 0
                pick[0] = -1
                taken = 0
                used[0] = 0
                while depth >= 0:
                    pick[depth] += 1
                    r = pick[depth]
                    if r >= side:
                        depth -= 1
                        if depth >= 0:
                            taken &= ~(1 << pick[depth])
                        continue
                    if taken >> r & 1:
                        continue
                    # Rows of a begun band come first; finished bands are all taken.
                    if depth % box_rows and (
                        r // box_rows != pick[depth - 1] // box_rows
                    ):
                        continue
                    for d in range(side + 1):
                        names[depth + 1, d] = names[depth, d]
                    used[depth + 1] = used[depth]
                    order = 0
                    for j in range(side):
                        d = grid[r, j]
                        if d and names[depth + 1, d] == 0:
                            used[depth + 1] += 1
                            names[depth + 1, d] = used[depth + 1]
                        v = names[depth + 1, d] if d else 0
                        row[j] = v
                        if order == 0:
                            b = best[depth * side + j]
                            if v < b:
                                order = -1
                            elif v > b:
                                order = 1
                                break
                    if order > 0:
                        continue
                    if order < 0:
                        for j in range(side):
                            best[depth * side + j] = row[j]
                        for j in range((depth + 1) * side, cells):
                            best[j] = 255
                    if depth + 1 < side:
                        taken |= 1 << r
                        depth += 1
                        pick[depth] = -1
    return result
