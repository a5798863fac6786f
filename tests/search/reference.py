# Copyright 2026 The LRM-JAX Authors.
# SPDX-License-Identifier: Apache-2.0
"""A second tree search, of objects and recursion in NumPy's float64.

Written from the papers and from the rules that `SearchConfig` states, to compare with;
it shares no code with the package. One problem at a time, no batches, no ids.
"""

import math

import numpy as np


class Node:
    def __init__(self, mdp, index, state, reward, discount):
        self.mdp, self.index, self.state = mdp, index, state
        self.reward, self.discount = float(reward), float(discount)
        valid = np.asarray(mdp.valid[index, state])
        self.terminal = bool(mdp.terminal[index, state]) or not valid.any()
        self.valid = valid & (not self.terminal)
        self.logits = np.asarray(mdp.prior_logits[index, state], np.float64)
        self.raw = 0.0 if self.terminal else float(mdp.value[index, state])
        self.visits, self.value = 0, 0.0
        self.children = {}
        self.done = False

    @property
    def q(self):
        return self.reward + self.discount * self.value

    def make_child(self, action):
        edge = (self.index, self.state, action)
        state = int(self.mdp.next_state[edge])
        child = Node(
            self.mdp, self.index, state, self.mdp.reward[edge], self.mdp.discount[edge]
        )
        self.children[action] = child
        return child

    @property
    def closed(self):
        if not self.done and self.visits > 0:  # once closed, closed for good
            self.done = all(
                a in self.children and self.children[a].closed
                for a in np.flatnonzero(self.valid)
            )
        return self.done


class Reference:
    """One tree; `config` is read for its numbers only."""

    def __init__(self, mdp, index, config, *, gumbel=None, simulations=None):
        self.config, self.gumbel = config, gumbel
        self.budget = config.simulations if simulations is None else simulations
        self.root = Node(mdp, index, 0, 0.0, 1.0)
        self.root.visits, self.root.value = 1, self.root.raw
        self.order = [self.root]
        self.spent = 0
        self.schedule = None
        if config.method == "gumbel":
            m = min(int(self.root.valid.sum()), config.max_considered)
            self.schedule = halving(m, self.budget)
        for _ in range(self.budget):
            if self.root.terminal or (self.masks and self.root.closed):
                break
            self.simulate(self.root, 0)
            self.spent += 1

    @property
    def masks(self):
        return self.config.solved == "mask"

    def simulate(self, node, depth):
        """Go one down; return what the node is worth in this simulation."""
        action = self.choose(node, at_root=depth == 0)
        child = node.children.get(action)
        was_closed = child is not None and child.closed
        limit = self.config.max_depth or math.inf
        if child is None:
            child = node.make_child(action)
            self.order.append(child)
            child.visits, child.value = 1, child.raw
            got = child.raw
        elif child.terminal or depth + 1 >= limit:
            child.visits += 1
            got = child.raw
        else:
            got = self.simulate(child, depth + 1)
        here = child.reward + child.discount * got
        node.visits += 1
        if self.config.backup == "max":
            node.value = here = max(c.q for c in node.children.values())
        else:
            node.value += (here - node.value) / node.visits
        if self.masks and child.closed and not was_closed and node.closed:
            node.value = here = max(c.q for c in node.children.values())
        return here

    def choose(self, node, *, at_root):
        config = self.config
        actions = range(len(node.valid))
        n = np.array([self.count(node, a) for a in actions])
        allowed = node.valid.copy()
        if self.masks:
            for a, child in node.children.items():
                allowed[a] &= not child.closed
        if config.method == "uct":
            value = self.scaled(node, n)
            score = np.array(
                [
                    value[a] + config.uct_c * math.sqrt(math.log(node.visits) / n[a])
                    if n[a]
                    else math.inf
                    for a in actions
                ]
            )
        elif config.method == "puct":
            c = config.pb_c_init + math.log(
                (node.visits + config.pb_c_base + 1) / config.pb_c_base
            )
            prior = softmax(node.logits, node.valid)
            score = self.scaled(node, n) + c * prior * math.sqrt(node.visits) / (1 + n)
        elif at_root:
            top = node.logits[node.valid].max()
            score = self.gumbel + (node.logits - top) + self.scaled(node, n)
            wanted = allowed & (n == self.schedule[n.sum()])
            allowed = wanted if wanted.any() else allowed
        else:
            policy = softmax(node.logits + self.scaled(node, n), node.valid)
            score = policy - n / (1 + n.sum())
        best = None
        for a in actions:
            if allowed[a] and (best is None or score[a] > score[best]):
                best = a
        return best

    @staticmethod
    def count(node, action):
        return node.children[action].visits if action in node.children else 0

    def scaled(self, node, n):
        """What values say in a score."""
        config = self.config
        how = config.q_transform
        if how == "auto":
            how = {"puct": "parent_siblings", "uct": "none", "gumbel": "mix"}[
                config.method
            ]
        q = {a: child.q for a, child in node.children.items()}
        if how == "none":
            return np.array([q.get(a, node.value) for a in range(len(n))])
        if how == "min_max":
            low, high = config.value_range
            return np.array(
                [(q.get(a, low) - low) / (high - low) for a in range(len(n))]
            )
        if how == "parent_siblings":
            known = [node.value, *q.values()]
            low, high = min(known), max(known)
            width = max(high - low, 1e-8)
            return np.array([(q.get(a, low) - low) / width for a in range(len(n))])
        prior = softmax(node.logits, node.valid)
        mix = node.raw
        if q:
            total = sum(prior[a] for a in q)
            mean = sum(prior[a] * q[a] for a in q) / total
            mix = (node.raw + n.sum() * mean) / (1 + n.sum())
        full = np.array([q.get(a, mix) for a in range(len(n))])
        if config.rescale_values:
            low, high = full[node.valid].min(), full[node.valid].max()
            full = (full - low) / max(high - low, 1e-8)
        return (config.maxvisit_init + n.max()) * config.value_scale * full


def halving(m, budget):
    """The visit counts that sequential halving looks for, from the paper's figure."""
    if m <= 1:
        return list(range(budget))
    out, phases, left, seen = [], math.ceil(math.log2(m)), m, 0
    while len(out) < budget:
        for _ in range(max(1, budget // (phases * left))):
            out += [seen] * left
            seen += 1
        left = max(2, left // 2)
    return out[:budget]


def softmax(logits, valid):
    out = np.zeros(len(logits))
    shifted = logits[valid] - logits[valid].max()
    out[valid] = np.exp(shifted) / np.exp(shifted).sum()
    return out
