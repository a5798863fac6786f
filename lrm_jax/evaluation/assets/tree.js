// Copyright 2026 The LRM-JAX Authors. SPDX-License-Identifier: Apache-2.0
// Opens search trees node by node; rows are made when their parent is opened.
"use strict";
(() => {
  const $ = (root, name) => root.querySelector(`[data-part="${name}"]`);

  function element(name, className, text) {
    const node = document.createElement(name);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text; // never innerHTML: steps are data
    return node;
  }

  const number = (x) => (x === null ? "–" : x.toFixed(3));
  const oneLine = (text) => text.replace(/\n/g, "⏎");

  class Trees {
    constructor(root, data) {
      this.root = root;
      this.trees = data.trees;
      this.view = data.view || null;
      for (const name of ["tree", "best", "open", "close", "order", "where", "nodes", "detail"]) {
        this["$" + name] = $(root, name);
      }
      this.trees.forEach((tree, i) => {
        const ends = tree.right.filter((x) => x === true).length;
        const option = element("option", "", `${i + 1}: ${oneLine(tree.prompt).slice(0, 60)}` +
          (ends ? ` (${ends} right)` : ""));
        option.value = i;
        this.$tree.append(option);
      });
      this.$tree.addEventListener("change", () => this.show(Number(this.$tree.value)));
      this.$order.addEventListener("change", () => this.draw());
      this.$best.addEventListener("click", () => this.choose(this.best));
      this.$open.addEventListener("click", () => this.openAll(true));
      this.$close.addEventListener("click", () => this.openAll(false));
      this.$nodes.addEventListener("keydown", (event) => this.key(event));
      const pinned = new URLSearchParams(location.hash.slice(1));
      const at = Number(pinned.get("tree") || 1) - 1;
      this.show(at >= 0 && at < this.trees.length ? at : 0);
      const node = Number(pinned.get("node"));
      if (node > 0 && node < this.tree.parents.length) this.choose(node);
    }

    show(index) {
      this.index = index;
      this.tree = this.trees[index];
      this.$tree.value = index;
      const { parents } = this.tree;
      this.children = parents.map(() => []);
      parents.forEach((parent, node) => { if (parent >= 0) this.children[parent].push(node); });
      this.opened = new Set([0]);
      this.best = this.findBest();
      this.bestPath = new Set(this.path(this.best));
      this.chosen = 0;
      this.choose(this.best);
      const made = parents.length - 1;
      const ends = this.tree.terminal.filter(Boolean).length;
      this.$where.textContent = [this.tree.method, `${this.tree.visits[0]} visits, ${made} nodes, ${ends} ends`,
        this.tree.gold && `true answer ${this.tree.gold}`].filter(Boolean).join(" · ");
    }

    // The end that a right answer, then value, then visits put first; the root without ends.
    findBest() {
      const { terminal, answers, right, qvalues, visits } = this.tree;
      let best = 0;
      const before = (a, b) => {
        const key = (i) => [right[i] === true ? 1 : 0, qvalues[i] ?? -Infinity, visits[i]];
        const [x, y] = [key(a), key(b)];
        for (let i = 0; i < x.length; i++) if (x[i] !== y[i]) return x[i] > y[i];
        return false;
      };
      terminal.forEach((end, i) => {
        if (end && i && answers[i] !== null && (best === 0 || before(i, best))) best = i;
      });
      return best;
    }

    path(node) {
      const found = [];
      for (; node >= 0; node = this.tree.parents[node]) found.push(node);
      return found.reverse();
    }

    ordered(nodes) {
      const order = this.$order.value;
      if (order === "age") return nodes;
      const keys = order === "visits" ? this.tree.visits : this.tree.qvalues;
      return [...nodes].sort((a, b) => (keys[b] ?? -Infinity) - (keys[a] ?? -Infinity) || a - b);
    }

    rows() {
      const found = [];
      const stack = [[0, 0]];
      while (stack.length) {
        const [node, depth] = stack.pop();
        found.push([node, depth]);
        if (!this.opened.has(node)) continue;
        for (const child of this.ordered(this.children[node]).reverse()) stack.push([child, depth + 1]);
      }
      return found;
    }

    draw() {
      this.$nodes.replaceChildren(...this.rows().map(([node, depth]) => this.row(node, depth)));
      this.detail();
    }

    row(node, depth) {
      const tree = this.tree;
      const row = element("div", "node");
      row.dataset.node = node;
      row.setAttribute("role", "treeitem");
      row.setAttribute("aria-level", depth + 1);
      row.setAttribute("aria-selected", node === this.chosen);
      row.tabIndex = node === this.chosen ? 0 : -1;
      row.style.setProperty("--depth", depth);
      const inner = this.children[node].length > 0;
      const isOpen = this.opened.has(node);
      const twist = element("button", "twist", inner ? (isOpen ? "▾" : "▸") : "·");
      twist.type = "button";
      twist.tabIndex = -1;
      twist.setAttribute("aria-label", isOpen ? "Close" : "Open");
      if (inner) {
        row.setAttribute("aria-expanded", isOpen);
        twist.addEventListener("click", (event) => { event.stopPropagation(); this.toggle(node); });
      }
      const share = element("div", "share");
      share.style.setProperty("--share", tree.visits[node] / Math.max(1, tree.visits[0]));
      share.append(element("span", "", tree.visits[node]));
      const value = element("div", "value", number(tree.qvalues[node]));
      value.style.setProperty("--v", Math.min(1, Math.max(0, tree.qvalues[node] ?? 0)));
      const step = element("div", "step", node ? oneLine(tree.steps[node]) : "the problem");
      if (!node) step.classList.add("none");
      if (tree.terminal[node]) {
        row.classList.add(tree.right[node] === true ? "right" : tree.answers[node] === null ? "dead"
          : tree.right[node] === false ? "wrong" : "end");
      }
      if (this.bestPath.has(node) && this.best) row.classList.add("best");
      row.append(twist, share, value, step);
      row.addEventListener("click", () => this.choose(node));
      return row;
    }

    toggle(node) {
      if (!this.opened.delete(node)) this.opened.add(node);
      this.draw();
    }

    openAll(on) {
      this.opened = new Set(on ? this.tree.parents.map((_, i) => i) : [0]);
      this.draw();
    }

    choose(node) {
      this.chosen = node;
      for (const i of this.path(node).slice(0, -1)) this.opened.add(i);
      this.draw();
      const row = this.$nodes.querySelector(`[data-node="${node}"]`);
      if (row && row.scrollIntoView) row.scrollIntoView({ block: "nearest" });
    }

    key(event) {
      const rows = this.rows().map(([node]) => node);
      const at = rows.indexOf(this.chosen);
      const inner = this.children[this.chosen].length > 0;
      if (event.key === "ArrowDown" && at + 1 < rows.length) this.choose(rows[at + 1]);
      else if (event.key === "ArrowUp" && at > 0) this.choose(rows[at - 1]);
      else if (event.key === "ArrowRight" && inner && !this.opened.has(this.chosen)) this.toggle(this.chosen);
      else if (event.key === "ArrowLeft" && inner && this.opened.has(this.chosen)) this.toggle(this.chosen);
      else if (event.key === "ArrowLeft" && this.chosen) this.choose(this.tree.parents[this.chosen]);
      else return;
      event.preventDefault();
      this.$nodes.querySelector(`[data-node="${this.chosen}"]`).focus();
    }

    detail() {
      const tree = this.tree;
      const node = this.chosen;
      const parts = [];
      if (tree.boards && this.view) parts.push(this.board(tree.boards[node], tree.boards[tree.parents[node]]));
      const written = element("div", "written");
      written.append(element("span", "prompt-text", tree.prompt + (tree.boards ? "" : "\n")));
      for (const i of this.path(node).slice(1)) {
        written.append(element("span", i === node ? "own" : "", tree.steps[i]));
      }
      if (!tree.boards || tree.steps.some((x) => x)) parts.push(written);
      const list = element("dl");
      const put = (name, text) => list.append(element("dt", "", name), element("dd", "", text));
      put("node", `${node} of ${tree.parents.length - 1}`);
      put("visits", tree.visits[node]);
      put("value", number(tree.values[node]));
      if (node) put("seen from parent", number(tree.qvalues[node]));
      if (node) put("prior", number(tree.priors[node]));
      if (tree.answers[node] !== null) put("answer", tree.answers[node]);
      if (tree.right[node] !== null) put("verdict", tree.right[node] ? "right" : "wrong");
      const state = tree.terminal[node] ? (tree.answers[node] === null ? "dead end" : "end")
        : tree.closed[node] ? "all below is known" : "open";
      put("state", state);
      parts.push(list);
      this.$detail.replaceChildren(...parts);
    }

    board(cells, before) {
      const { rows, cols, box_rows, box_cols } = this.view;
      const board = element("div", "board");
      board.style.setProperty("--size", `${Math.max(14, Math.min(36, Math.floor(300 / cols)))}px`);
      board.style.gridTemplateColumns = `repeat(${cols}, var(--size))`;
      [...cells].forEach((char, i) => {
        const cell = element("div", "cell", char);
        const row = Math.floor(i / cols);
        const col = i % cols;
        if (box_cols && (col + 1) % box_cols === 0 && col + 1 < cols) cell.classList.add("box-right");
        if (box_rows && (row + 1) % box_rows === 0 && row + 1 < rows) cell.classList.add("box-below");
        if (before !== undefined && before !== null && [...before][i] !== char) cell.classList.add("changed");
        board.append(cell);
      });
      return board;
    }
  }

  const data = JSON.parse(document.getElementById("trees").textContent);
  window.trees = new Trees(document.querySelector(".trees"), data);
})();
