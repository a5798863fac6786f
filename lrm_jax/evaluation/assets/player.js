// Copyright 2026 The LRM-JAX Authors. SPDX-License-Identifier: Apache-2.0
// Plays traces of thought. Step 0 is the puzzle, step t the answer after t steps.
"use strict";
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const $ = (root, name) => root.querySelector(`[data-part="${name}"]`);
  const percent = (x) => `${Math.round(100 * x)} %`;

  function svg(name, attributes, text) {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    return node;
  }

  class Player {
    constructor(root, data) {
      this.root = root;
      this.view = data.view;
      this.traces = data.traces;
      this.timer = null;
      for (const name of ["board", "puzzle", "slider", "status", "chart", "play", "first",
        "back", "next", "last", "speed"]) this[name] = $(root, name);
      this.traces.forEach((trace, i) => this.puzzle.add(new Option(trace.name, i)));
      this.listen();
      const pinned = new URLSearchParams(location.hash.slice(1));
      this.open(Math.min(Number(pinned.get("puzzle")) || 0, this.traces.length - 1));
      const step = pinned.get("step");
      if (step !== null) this.show(step === "last" ? this.steps : Number(step));
      else if (matchMedia("(prefers-reduced-motion: reduce)").matches) this.show(this.steps);
      else this.start();
    }

    get trace() { return this.traces[this.index]; }
    get steps() { return this.trace.preds.length; }

    listen() {
      addEventListener("resize", () => this.fit());
      this.puzzle.onchange = () => { this.pause(); this.open(Number(this.puzzle.value)); };
      this.slider.oninput = () => { this.pause(); this.show(Number(this.slider.value)); };
      this.play.onclick = () => (this.timer ? this.pause() : this.start());
      this.first.onclick = () => this.go(0);
      this.back.onclick = () => this.go(this.step - 1);
      this.next.onclick = () => this.go(this.step + 1);
      this.last.onclick = () => this.go(this.steps);
      this.speed.onchange = () => { if (this.timer) this.start(); };
      const keys = {
        " ": () => this.play.onclick(), ArrowLeft: () => this.go(this.step - 1),
        ArrowRight: () => this.go(this.step + 1), Home: () => this.go(0),
        End: () => this.go(this.steps), "[": () => this.turn(-1), "]": () => this.turn(1),
      };
      document.addEventListener("keydown", (event) => {
        const tag = event.target.tagName;
        if (event.ctrlKey || event.metaKey || event.altKey || tag === "SELECT") return;
        if (event.key === " " && tag === "BUTTON") return;
        if (!(event.key in keys)) return;
        event.preventDefault();
        keys[event.key]();
      });
    }

    turn(by) {
      this.pause();
      this.open((this.index + by + this.traces.length) % this.traces.length);
    }

    go(step) { this.pause(); this.show(step); }

    start() {
      clearInterval(this.timer);
      if (this.step >= this.steps) this.show(0);
      this.timer = setInterval(() => {
        this.show(this.step + 1);
        if (this.step >= this.steps) this.pause();
      }, 900 / Number(this.speed.value));
      this.announce();
    }

    pause() {
      clearInterval(this.timer);
      this.timer = null;
      this.announce();
    }

    announce() {
      const playing = this.timer !== null;
      this.play.textContent = playing ? "❚❚ Pause" : "▶ Play";
      this.play.setAttribute("aria-pressed", String(playing));
      // A screen reader hears where a pause or a step leads, not every frame.
      this.status.setAttribute("aria-live", playing ? "off" : "polite");
    }

    open(index) {
      this.index = index;
      this.puzzle.value = String(index);
      this.slider.max = String(this.steps);
      this.build();
      this.drawChart();
      this.step = 0;
      this.show(0);
    }

    build() {
      const { rows, cols } = this.view;
      this.fit();
      this.board.style.gridTemplateColumns = `repeat(${cols}, var(--size))`;
      this.board.setAttribute("aria-rowcount", rows);
      this.board.setAttribute("aria-colcount", cols);
      this.cells = [];
      const lines = [];
      for (let r = 0; r < rows; r++) {
        const line = document.createElement("div");
        line.className = "row";
        line.setAttribute("role", "row");
        for (let c = 0; c < cols; c++) {
          const cell = document.createElement("div");
          cell.setAttribute("role", "gridcell");
          cell.dataset.cell = r * cols + c;
          this.cells.push(cell);
          line.append(cell);
        }
        lines.push(line);
      }
      this.board.replaceChildren(...lines);
    }

    fit() {
      const { cols, kind } = this.view;
      const room = Math.min(560, this.root.clientWidth - 44);
      const most = kind === "maze" || kind === "arc" ? 26 : 54;
      const size = Math.max(9, Math.min(most, Math.floor(room / cols) - 1));
      this.board.style.setProperty("--size", `${size}px`);
    }

    boxClasses(i) {
      const { rows, cols, box_rows, box_cols } = this.view;
      if (!box_rows || !box_cols) return [];
      const [r, c] = [Math.floor(i / cols), i % cols];
      const names = [];
      if ((c + 1) % box_cols === 0 && c + 1 < cols) names.push("box-right");
      if ((r + 1) % box_rows === 0 && r + 1 < rows) names.push("box-below");
      return names;
    }

    show(step) {
      const t = Math.max(0, Math.min(this.steps, step | 0));
      const { trace } = this;
      const now = t ? trace.preds[t - 1] : trace.inputs;
      const before = t > 1 ? trace.preds[t - 2] : trace.inputs;
      this.step = t;
      this.cells.forEach((cell, i) => {
        const given = trace.givens[i] === "1" && now[i] === trace.inputs[i];
        const sure = t ? Number(trace.confidence[t - 1].slice(2 * i, 2 * i + 2)) / 99 : 0;
        const mark = t ? trace.marks[t - 1][i] : ".";
        const changed = t > 0 && now[i] !== before[i];
        const names = ["cell", ...this.boxClasses(i)];
        if (given) names.push("given");
        else if (mark === "r") names.push("right");
        if (mark === "w") names.push("wrong");
        if (changed) names.push("changed");
        if (this.view.kind === "maze") names.push(...this.mazeClasses(now[i], trace, i, t));
        cell.className = names.join(" ");
        cell.textContent = now[i] === "." && this.view.kind === "sudoku" ? "" : now[i];
        cell.style.setProperty("--c", given ? "0" : sure.toFixed(2));
        if (this.view.kind === "arc") this.paint(cell, now[i]);
        cell.setAttribute("aria-label", this.describe(now[i], given, mark, sure, i, t));
      });
      this.tell(t);
      this.moveCursor(t);
    }

    mazeClasses(char, trace, i, t) {
      if (char === "#") return ["wall"];
      if (char === "S" || char === "G") return ["end"];
      if (char === "o") return ["path"];
      return t && trace.labels && trace.labels[i] === "o" ? ["missing"] : [];
    }

    paint(cell, char) {
      const colours = ["#111111", "#1e74d8", "#ff4136", "#2ecc40", "#ffdc00", "#aaaaaa",
        "#f012be", "#ff851b", "#7fdbff", "#870c25"];
      const colour = colours[char];
      cell.style.background = colour ?? "transparent";
      cell.style.color = colour && !"23457 8".includes(char) ? "#ffffff" : "#111111";
    }

    describe(char, given, mark, sure, i, t) {
      const { cols, kind } = this.view;
      const names = kind === "maze"
        ? { "#": "wall", " ": "open", S: "start", G: "goal", o: "path" }
        : { ".": "empty", "?": "no answer", "|": "end of grid" };
      const parts = [`row ${Math.floor(i / cols) + 1} column ${(i % cols) + 1}`,
        names[char] ?? char];
      if (given) parts.push("given");
      if (t && !given) parts.push(`${percent(sure)} sure`);
      if (mark === "w") parts.push("wrong");
      if (mark === "r" && !given) parts.push("right");
      return parts.join(", ");
    }

    count(t) {
      const marks = this.trace.marks[t - 1];
      const known = [...marks].filter((m) => m !== ".").length;
      return { known, wrong: [...marks].filter((m) => m === "w").length };
    }

    tell(t) {
      this.slider.value = String(t);
      this.slider.setAttribute("aria-valuetext", t ? `step ${t} of ${this.steps}` : "the puzzle");
      this.first.disabled = this.back.disabled = t === 0;
      this.next.disabled = this.last.disabled = t === this.steps;
      const bold = document.createElement("strong");
      bold.textContent = t ? `Step ${t} of ${this.steps}` : "The puzzle, before any thought";
      const lines = [bold];
      if (t) {
        const { known, wrong } = this.count(t);
        const span = document.createElement("span");
        if (known) {
          span.className = wrong ? "bad" : "good";
          span.textContent = wrong ? `✕ ${wrong} of ${known} cells wrong`
            : `✓ solved: all ${known} cells right`;
          lines.push(document.createElement("br"), span);
        }
        const halt = this.trace.halt[t - 1];
        const verdict = halt > 0.5 ? "would stop here" : "would go on";
        lines.push(document.createElement("br"),
          `Halting probability ${percent(halt)}: ${verdict}`);
      }
      this.status.replaceChildren(...lines);
    }

    drawChart() {
      const [width, height, left, top, bottom] = [420, 230, 46, 32, 42];
      const { halt, marks } = this.trace;
      const right = width - 10;
      this.x = (t) => left + ((right - left) * t) / Math.max(1, this.steps);
      this.y = (p) => top + (height - top - bottom) * (1 - p);
      const line = (values) => values.map((v, i) =>
        `${i ? "L" : "M"}${this.x(i + 1).toFixed(1)} ${this.y(v).toFixed(1)}`).join("");
      const parts = [];
      for (const p of [0, 0.5, 1]) {
        parts.push(svg("line", { x1: left, x2: right, y1: this.y(p), y2: this.y(p),
          class: p === 0.5 ? "half" : "axis" }));
        parts.push(svg("text", { x: left - 6, y: this.y(p) + 5, "text-anchor": "end" },
          `${100 * p}%`));
      }
      const every = Math.ceil(this.steps / 8);
      for (let t = 0; t <= this.steps; t += every) {
        parts.push(svg("text", { x: this.x(t), y: height - bottom + 18,
          "text-anchor": "middle" }, t));
      }
      parts.push(svg("text", { x: (left + right) / 2, y: height - 4,
        "text-anchor": "middle" }, "step of thought"));
      const known = [...marks[0]].some((m) => m !== ".");
      if (known) {
        const share = marks.map((_, i) => {
          const { known: n, wrong } = this.count(i + 1);
          return 1 - wrong / n;
        });
        parts.push(svg("path", { d: line(share), class: "share" }));
        parts.push(svg("line", { x1: left + 190, x2: left + 218, y1: 10, y2: 10, class: "share" }));
        parts.push(svg("text", { x: left + 224, y: 15, class: "key" }, "cells right"));
      }
      parts.push(svg("path", { d: line(halt), class: "halt" }));
      parts.push(svg("line", { x1: left, x2: left + 28, y1: 10, y2: 10, class: "halt" }));
      parts.push(svg("text", { x: left + 34, y: 15, class: "key" }, "halting probability"));
      this.cursor = svg("line", { class: "cursor", y1: top, y2: height - bottom });
      this.dot = svg("circle", { class: "dot", r: 5 });
      parts.push(this.cursor, this.dot);
      this.chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
      this.chart.setAttribute("aria-label", "Halting probability by step: " +
        halt.map((h, i) => `${i + 1}: ${percent(h)}`).join(", "));
      this.chart.replaceChildren(...parts);
      this.chart.onclick = (event) => {
        const box = this.chart.getBoundingClientRect();
        const at = ((event.clientX - box.left) / box.width) * width;
        this.go(Math.round(((at - left) / (right - left)) * this.steps));
      };
    }

    moveCursor(t) {
      this.cursor.setAttribute("x1", this.x(t));
      this.cursor.setAttribute("x2", this.x(t));
      this.dot.setAttribute("visibility", t ? "visible" : "hidden");
      if (!t) return;
      this.dot.setAttribute("cx", this.x(t));
      this.dot.setAttribute("cy", this.y(this.trace.halt[t - 1]));
    }
  }

  const root = document.querySelector(".player");
  new Player(root, JSON.parse(document.getElementById("traces").textContent));
})();
