// Copyright 2026 The LRM-JAX Authors. SPDX-License-Identifier: Apache-2.0
// Shows the completions of one training step, those of a prompt side by side.
"use strict";
(() => {
  const $ = (root, name) => root.querySelector(`[data-part="${name}"]`);
  const UNLIKELY = 3.9; // nats: a token of 2 % or less has the full shade
  const PARTS = { t: "thought", a: "answer", g: "tag", o: "text" };
  const MARKS = { right: "✓", wrong: "✗" };
  const STOPS = { length: "cut off at its limit", id: "end token", stop_id: "end token",
    string: "stop string", stop_string: "stop string" };

  function element(name, className, text) {
    const node = document.createElement(name);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text; // never innerHTML: completions are data
    return node;
  }

  const signed = (x) => (x > 0 ? "+" : x < 0 ? "−" : "") + Math.abs(x).toFixed(2);
  const number = (x) => (x === null ? "unknown" : String(x));

  class Completions {
    constructor(root, data) {
      this.root = root;
      this.groups = data.groups;
      this.scale = data.scale;
      this.steps = [...new Set(this.groups.map((g) => g.step))].sort((a, b) => a - b);
      for (const name of ["first", "back", "next", "last", "verdict", "split", "shade",
        "slider", "where", "token", "groups"]) this["$" + name] = $(root, name);
      this.$slider.max = this.steps.length - 1;
      this.choices(this.$verdict, this.groups.flatMap((g) => g.samples.map((s) => s.verdict)));
      this.choices(this.$split, this.groups.flatMap((g) => g.samples.map(() => g.split)));
      const pinned = new URLSearchParams(location.hash.slice(1));
      for (const name of ["verdict", "split"]) {
        const options = [...this["$" + name].options].map((o) => o.value);
        if (options.includes(pinned.get(name))) this["$" + name].value = pinned.get(name);
      }
      this.listen();
      const step = pinned.get("step");
      const at = this.steps.findIndex((s) => s >= Number(step));
      this.go(step === null || at < 0 ? this.steps.length - 1 : at);
    }

    choices(select, values) {
      const counts = new Map();
      for (const value of values) counts.set(value, (counts.get(value) || 0) + 1);
      select.add(new Option(`all (${values.length})`, ""));
      for (const [value, count] of [...counts].sort((a, b) => b[1] - a[1])) {
        select.add(new Option(`${value.replace("_", " ")} (${count})`, value));
      }
    }

    listen() {
      this.$slider.oninput = () => this.go(Number(this.$slider.value));
      this.$first.onclick = () => this.go(0);
      this.$back.onclick = () => this.go(this.at - 1);
      this.$next.onclick = () => this.go(this.at + 1);
      this.$last.onclick = () => this.go(this.steps.length - 1);
      this.$verdict.onchange = this.$split.onchange = () => this.go(this.at);
      this.$shade.onchange = () => this.shade();
      this.$groups.onpointerover = (event) => {
        const about = event.target.dataset && event.target.dataset.about;
        if (about) this.$token.textContent = about;
      };
      const keys = {
        ArrowLeft: () => this.go(this.at - 1), ArrowRight: () => this.go(this.at + 1),
        Home: () => this.go(0), End: () => this.go(this.steps.length - 1),
      };
      document.addEventListener("keydown", (event) => {
        const tag = event.target.tagName;
        if (event.ctrlKey || event.metaKey || event.altKey) return;
        if (tag === "SELECT" || tag === "INPUT" || !(event.key in keys)) return;
        event.preventDefault();
        keys[event.key]();
      });
    }

    wanted(group, sample) {
      return (!this.$verdict.value || sample.verdict === this.$verdict.value)
        && (!this.$split.value || group.split === this.$split.value);
    }

    found(at) {
      const here = this.groups.filter((g) => g.step === this.steps[at]);
      return here.map((group) => [group, group.samples.filter((s) => this.wanted(group, s))])
        .filter(([, samples]) => samples.length);
    }

    go(at) {
      this.at = Math.max(0, Math.min(at, this.steps.length - 1));
      const step = this.steps[this.at];
      const found = this.found(this.at);
      const here = this.groups.filter((g) => g.step === step);
      const all = here.flatMap((g) => g.samples);
      const right = all.filter((s) => s.verdict === "right").length;
      const shown = found.reduce((n, [, samples]) => n + samples.length, 0);
      this.$slider.value = this.at;
      this.$slider.setAttribute("aria-valuetext", `step ${step}`);
      this.$first.disabled = this.$back.disabled = this.at === 0;
      this.$next.disabled = this.$last.disabled = this.at === this.steps.length - 1;
      this.$where.textContent = "";
      this.$where.append(element("strong", "", `Step ${step.toLocaleString("en")}`),
        ` (${this.at + 1} of ${this.steps.length}): ${right} of ${all.length} right`
        + (shown < all.length ? `; ${shown} shown` : ""));
      this.$groups.replaceChildren(...found.map(([g, samples]) => this.group(g, samples)));
      if (!found.length) this.$groups.append(this.nothing());
      this.shade();
    }

    shade() { this.$groups.classList.toggle("shaded", this.$shade.checked); }

    nothing() {
      const others = this.steps.map((_, i) => i).filter((i) => this.found(i).length);
      const node = element("p", "empty", "No such completion at this step. ");
      others.sort((a, b) => Math.abs(a - this.at) - Math.abs(b - this.at));
      if (others.length) {
        const button = element("button", "", `Go to step ${this.steps[others[0]]}`);
        button.type = "button";
        button.onclick = () => this.go(others[0]);
        node.append(button);
      }
      return node;
    }

    group(group, samples) {
      const node = element("section", "group");
      const head = element("header");
      const answer = group.answer ? `, answer ${group.answer}` : "";
      head.append(
        element("h3", "", `${group.split} prompt${answer}: ${group.right} of `
          + `${group.samples.length} right`),
        element("pre", "prompt", group.prompt));
      const cards = element("div", "cards");
      cards.append(...samples.map((sample) => this.card(sample)));
      node.append(head, cards);
      return node;
    }

    card(sample) {
      const advantage = sample.advantage;
      const sign = advantage > 0 ? "pos" : advantage < 0 ? "neg" : "even";
      const node = element("article", `card ${sign}`);
      node.dataset.verdict = sample.verdict;
      node.style.setProperty("--a", Math.min(1, Math.abs(advantage || 0) / this.scale));
      const head = element("header");
      const good = sample.verdict === "right";
      head.append(element("div", `verdict ${good ? "good" : "bad"}`,
        `${MARKS[sample.verdict] || "✗"} ${sample.reason}`));
      const numbers = element("div", "numbers");
      if (advantage !== null) {
        numbers.append("advantage ", element("strong", "", signed(advantage)), " · ");
      }
      const parts = Object.entries(sample.parts).map(([k, v]) => `${k} ${number(v)}`);
      numbers.append(`reward ${number(sample.reward)}`
        + (parts.length > 1 ? ` (${parts.join(", ")})` : "")
        + ` · ${sample.length} tokens, ${STOPS[sample.stop] || sample.stop}`);
      head.append(numbers);
      node.append(head, this.text(sample));
      return node;
    }

    text(sample) {
      const node = element("div", "written");
      const forced = new Set(sample.forced);
      let run = null;
      let before = null;
      sample.tokens.forEach((token, i) => {
        const region = sample.regions[i];
        if (region !== before) {
          const part = element("div", `part ${PARTS[region]}`);
          if (region === "t" || region === "a") {
            part.append(element("span", "name", PARTS[region]));
          }
          run = element("span", "run");
          part.append(run);
          node.append(part);
          before = region;
        }
        run.append(this.token(token, sample.logps[i], forced.has(i), i));
      });
      if (!sample.tokens.length) node.append(element("div", "more", "nothing was written"));
      const more = sample.length - sample.tokens.length;
      if (more > 0) node.append(element("div", "more", `… ${more} more tokens`));
      return node;
    }

    token(text, logp, isForced, i) {
      const node = element("span", isForced ? "tok forced" : "tok", text);
      if (logp !== null && !isForced) {
        const share = Math.min(1, Math.max(0, -logp) / UNLIKELY);
        if (share > 0.01) node.style.setProperty("--s", share.toFixed(2));
      }
      const chance = logp === null ? "log-prob unknown"
        : `${(100 * Math.exp(logp)).toPrecision(3)} % likely, log-prob ${logp}`;
      const about = `token ${i + 1}, ${JSON.stringify(text)}: `
        + (isForced ? "forced by the thinking budget" : chance);
      node.title = about;
      node.dataset.about = about;
      return node;
    }
  }

  const root = document.querySelector(".completions");
  const data = JSON.parse(document.getElementById("completions").textContent);
  new Completions(root, data);
})();
