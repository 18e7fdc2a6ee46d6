// The report's charts and trees. Whatever a model wrote reaches the page by textContent alone.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";

/** An element with properties (className, textContent, …), attributes (role, aria-…) and children. */
function make(tag, settings = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(settings)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function draw(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

// ---- Charts: a readout of the point that is pointed at -------------------------------------

class Chart {
  constructor(figure) {
    this.figure = figure;
    this.readout = figure.querySelector(".readout");
    this.cross = draw("path", { class: "cross", "data-key": "cross" });
    this.shown = null; // the stop that is told about; null for the last of each line
    figure.addEventListener("pointermove", (event) => this.point(event));
    figure.addEventListener("pointerleave", () => this.show(null));
    figure.addEventListener("keydown", (event) => this.press(event));
    figure.addEventListener("focus", () => this.readout.setAttribute("aria-live", "polite"));
    figure.addEventListener("blur", () => {
      this.readout.removeAttribute("aria-live");
      this.show(null);
    });
    this.read();
  }

  /** Read the chart's data, which a live page renews with the picture. */
  read() {
    Object.assign(this, data.charts[Number(this.figure.dataset.chart)]);
    this.picture = this.figure.querySelector("svg");
    this.picture.append(this.cross);
    this.stops = [...new Set(this.series.flatMap((line) => line.x))].sort((a, b) => a - b);
    this.show(this.stops.includes(this.shown) ? this.shown : null);
  }

  show(stop) {
    this.shown = stop;
    const values = this.series.map((line) => {
      const index = stop === null ? line.x.length - 1 : line.x.indexOf(stop);
      if (index < 0) return "";
      const shown = make("b", { textContent: line.shown[index], title: line.name });
      if (this.series.length > 1) shown.className = line.style;
      if (stop !== null) this.cross.setAttribute("d", `M${line.across[index]},${this.top}V${this.bottom}`);
      return shown;
    });
    const at = make("span", { className: "at", textContent: `${this.axis} ${stop}` });
    this.readout.replaceChildren(...(stop === null ? [] : [at]), ...values);
    this.cross.style.visibility = stop === null ? "hidden" : "visible";
  }

  point(event) {
    if (!this.picture.contains(event.target)) return;
    const box = this.picture.getBoundingClientRect();
    const x = ((event.clientX - box.left) * this.picture.viewBox.baseVal.width) / box.width;
    const nearest = this.series.flatMap((line) => line.across.map((a, i) => [Math.abs(a - x), line.x[i]]));
    this.show(nearest.reduce((best, each) => (each[0] < best[0] ? each : best))[1]);
  }

  press(event) {
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!move) return;
    event.preventDefault();
    const last = this.stops.length - 1;
    const at = this.shown === null ? last : this.stops.indexOf(this.shown);
    this.show(this.stops[Math.min(Math.max(at + move, 0), last)]);
  }
}

// ---- Mathematics as plain text --------------------------------------------------------------

const SYMBOLS = {
  times: "×", cdot: "·", div: "÷", pm: "±", le: "≤", leq: "≤", ge: "≥", geq: "≥", ne: "≠",
  neq: "≠", approx: "≈", equiv: "≡", infty: "∞", pi: "π", theta: "θ", alpha: "α", beta: "β",
  gamma: "γ", delta: "δ", lambda: "λ", mu: "μ", sigma: "σ", phi: "φ", omega: "ω", circ: "°",
  degree: "°", to: "→", rightarrow: "→", implies: "⇒", Rightarrow: "⇒", in: "∈", cup: "∪",
  cap: "∩", sum: "∑", prod: "∏", int: "∫", ldots: "…", dots: "…", cdots: "⋯", angle: "∠",
  triangle: "△", quad: " ", left: "", right: "", displaystyle: "", therefore: "∴",
};
const RAISED = { 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹", "-": "⁻", n: "ⁿ" };
const LOWERED = { 0: "₀", 1: "₁", 2: "₂", 3: "₃", 4: "₄", 5: "₅", 6: "₆", 7: "₇", 8: "₈", 9: "₉" };

/** TeX that has a plain form, in that form; everything else as it is written. */
function plain(text) {
  const part = (inner) => (/^[\w.√π]*$/.test(inner) ? inner : `(${inner})`);
  const shifted = (letters, table) => [...letters].map((letter) => table[letter]).join("");
  return text
    .replace(/\\\$/g, "\u0000")
    .replace(/\\[()[\]]/g, "")
    .replace(/\$([^\s$](?:[^$\n]{0,200}[^\s$])?)\$(?!\d)/g, "$1")
    .replace(/\u0000/g, "$")
    .replace(/\\(?:text|mathrm|mathbf|operatorname)\{([^{}]*)\}/g, "$1")
    .replace(/\\sqrt\{([^{}]*)\}/g, (_, inner) => `√${part(inner)}`)
    .replace(/\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}/g, (_, a, b) => `${part(a)}⁄${part(b)}`)
    .replace(/\\([A-Za-z]+)/g, (whole, name) => SYMBOLS[name] ?? whole)
    .replace(/\\([%#&_{},;!])/g, (_, letter) => (",;!".includes(letter) ? " " : letter))
    .replace(/\^\{?(-?[0-9n]+)\}?/g, (_, letters) => shifted(letters, RAISED))
    .replace(/_\{?([0-9]+)\}?/g, (_, letters) => shifted(letters, LOWERED));
}

/** Where the first \boxed{…} is, as [start, inner start, inner end], its braces balanced. */
function findBox(text) {
  const start = text.indexOf("\\boxed{");
  if (start < 0) return null;
  for (let end = start + 7, depth = 1; end < text.length; end++) {
    if (text[end] === "{") depth++;
    else if (text[end] === "}" && --depth === 0) return [start, start + 7, end];
  }
  return null;
}

/** Text as nodes of the page: plain mathematics, boxed answers in a box. */
function readable(text) {
  const parts = [];
  for (let box = findBox(text); box; box = findBox(text)) {
    const inner = make("span", { className: "boxed", textContent: plain(text.slice(box[1], box[2])) });
    parts.push(plain(text.slice(0, box[0])), inner);
    text = text.slice(box[2] + 1);
  }
  return [...parts, plain(text)];
}

// ---- One tree -------------------------------------------------------------------------------

const WIDTH = 180, HEIGHT = 68, ACROSS = 40, DOWN = 12, EDGE = 22;
const FIGURES = [
  ["Rating", "rating", "probability of success, read from the model's own rating"],
  ["Value", "value", "what the run holds it to be worth: the value head's, or the rating"],
  ["Rectified value", "target", "what the outcomes below it make it worth"],
  ["Q", "q", "mean of what search backed up through it"],
  ["Visits", "visits", "simulations that went through it"],
  ["Prior", "prior", "share of its likelihood among its siblings'"],
  ["Advantage", "advantage", "what the policy learns from, over the batch's spread; none where all leaves are alike"],
  ["Entropy", "entropy", "mean of its tokens' distributions, in nats"],
  ["Tokens", "tokens", "sampled for it"],
];

let asWritten = false; // show TeX as the model wrote it

function says(text) {
  return asWritten ? [text] : readable(text);
}

function verdict(outcome) {
  if (outcome === null) return "";
  return make("span", {
    className: `mark ${outcome ? "right" : "wrong"}`, textContent: outcome ? "✓" : "✗",
    title: outcome ? "right" : "wrong",
  });
}

class TreeView {
  /** A tree in `container`, an element that it fills; `others` are trees of the same problem. */
  constructor(container, tree, others, onCompare) {
    Object.assign(this, { container, tree, others, onCompare });
    this.children = tree.nodes.map(() => []);
    tree.nodes.forEach((node, id) => node.parent === null || this.children[node.parent].push(id));
    this.best = new Set(tree.best);
    this.last = Math.max(...tree.nodes.map((node) => node.step));
    this.step = this.last;
    this.folded = new Set();
    this.selected = tree.best.at(-1);
    this.zoom = 1;
    this.build();
    this.arrange();
    this.fit();
    this.show(this.selected);
    const root = this.cards.get(0); // where a tree is read from
    this.canvas.scrollTo(0, (root.offsetTop + HEIGHT / 2) * this.zoom - this.canvas.clientHeight / 2);
  }

  build() {
    const { tree, onCompare } = this;
    const button = (name, title, act) => {
      const made = make("button", { type: "button", textContent: name, title, "aria-label": title });
      made.addEventListener("click", act);
      return made;
    };
    this.slider = make("input", { type: "range", min: 0, max: this.last, value: this.last, "aria-label": "Step of the search" });
    this.slider.addEventListener("input", () => this.go(Number(this.slider.value)));
    this.stepped = make("output", { className: "stepped" });
    this.zoomed = make("output", { className: "zoomed" });
    this.written = make("input", { type: "checkbox", checked: asWritten });
    this.written.addEventListener("change", () => this.rewrite());
    this.tools = make(
      "div", { className: "tools" },
      this.back = button("◀", "One step of the search back", () => this.go(this.step - 1)),
      this.slider,
      this.on = button("▶", "One step of the search on", () => this.go(this.step + 1)),
      this.stepped,
      button("−", "Smaller", () => this.scale(this.zoom / 1.25)),
      this.zoomed,
      button("+", "Larger", () => this.scale(this.zoom * 1.25)),
      button("Fit", "Fit the width", () => this.fit()),
      make("span", { className: "gap" }),
      button("Fold all", "Fold all thoughts", () => this.foldAll(true)),
      button("Unfold all", "Unfold all thoughts", () => this.foldAll(false)),
      make("label", { className: "check" }, this.written, "as written"),
    );
    if (onCompare) this.tools.append(this.comparison());
    this.sheet = make("div", { className: "sheet", role: "tree", "aria-label": "Tree of thoughts" });
    this.canvas = make("div", { className: "canvas" }, make("div", {}, this.sheet));
    this.detail = make("div", { className: "detail", "aria-live": "polite" });
    this.sheet.addEventListener("keydown", (event) => this.press(event));
    this.canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      this.scale(this.zoom * (event.deltaY < 0 ? 1.1 : 1 / 1.1));
    }, { passive: false });
    this.problem = make("p", { className: "problem" }, ...says(tree.problem));
    const state = tree.solved ? "solved" : tree.graded ? "not solved" : "not graded";
    const facts = [`iteration ${tree.iteration}`, state, `answer ${tree.answer}`,
      `${tree.nodes.length - 1} thoughts`, `${tree.tokens.toLocaleString("en")} tokens`];
    const of = make("p", { className: "of", textContent: [...(MANY ? [tree.run] : []), ...facts].join(" · ") });
    this.container.replaceChildren(this.problem, of, this.tools, this.canvas, this.detail);
  }

  comparison() {
    this.choice = make("select", { className: "compare", "aria-label": "Compare with another tree of this problem" });
    this.choice.addEventListener("change", () =>
      this.onCompare(this.choice.value === "" ? null : this.others[Number(this.choice.value)]));
    this.offer(this.others, null);
    return this.choice;
  }

  /** Offer trees of the same problem for a comparison, of which one may be under way. */
  offer(others, chosen) {
    this.others = others;
    this.choice.hidden = !others.length;
    this.choice.replaceChildren(make("option", { value: "", textContent: "Compare with…" }),
      ...others.map((tree, index) => make("option", {
        value: index, textContent: `${MANY ? `${tree.run}, ` : ""}iteration ${tree.iteration}`,
        selected: tree === chosen,
      })));
  }

  /** Nodes that are there at this step and not folded away, in reading order. */
  visible() {
    const seen = [];
    const waiting = [0];
    while (waiting.length) {
      const id = waiting.pop();
      seen.push(id);
      if (!this.folded.has(id)) waiting.push(...this.grown(id).reverse());
    }
    return seen;
  }

  grown(id) {
    return this.children[id].filter((child) => this.tree.nodes[child].step <= this.step);
  }

  /** Lay the visible nodes out: a column a depth, a row a leaf, parents between their children. */
  arrange() {
    const seen = this.visible();
    const depth = new Map([[0, 0]]), row = new Map();
    for (const id of seen) if (id) depth.set(id, depth.get(this.tree.nodes[id].parent) + 1);
    let rows = 0;
    for (const id of [...seen].reverse()) {
      const below = this.folded.has(id) ? [] : this.grown(id);
      row.set(id, below.length ? (row.get(below[0]) + row.get(below.at(-1))) / 2 : rows++);
    }
    const spot = (id) => [EDGE + depth.get(id) * (WIDTH + ACROSS), EDGE + (rows - 1 - row.get(id)) * (HEIGHT + DOWN)];
    const edges = draw("svg", { "aria-hidden": "true" });
    this.cards = new Map();
    const shown = [];
    for (const id of seen) {
      const [x, y] = spot(id), { parent } = this.tree.nodes[id];
      if (parent !== null) {
        const [px, py] = spot(parent), from = px + WIDTH, middle = HEIGHT / 2;
        const turn = (from + x) / 2;
        edges.append(draw("path", {
          class: this.best.has(id) ? "edge best" : "edge",
          d: `M${from},${py + middle}C${turn},${py + middle} ${turn},${y + middle} ${x},${y + middle}`,
        }));
      }
      shown.push(this.card(id, x, y, depth.get(id)));
      if (this.grown(id).length) shown.push(this.knob(id, x + WIDTH - 1, y + HEIGHT / 2 - 10));
    }
    this.size = [2 * EDGE + 14 + (Math.max(...depth.values()) + 1) * (WIDTH + ACROSS) - ACROSS, 2 * EDGE + rows * (HEIGHT + DOWN) - DOWN];
    this.sheet.replaceChildren(edges, ...shown);
    this.rescale();
    this.stepped.textContent = `step ${this.step} of ${this.last}`;
    this.slider.value = this.step;
    this.back.disabled = this.step === 0;
    this.on.disabled = this.step === this.last;
  }

  card(id, x, y, depth) {
    const node = this.tree.nodes[id], root = node.parent === null;
    const worth = make("span", { className: "worth" }, make("i", {}));
    const share = node.target ?? node.value;
    if (share !== null) worth.style.setProperty("--share", `${100 * Math.min(Math.max(share, 0), 1)}%`);
    const top = make("span", { className: "top" },
      make("span", { textContent: root ? "problem" : `${id} · ${node.meta || "thought"}` }),
      make("span", {}, verdict(node.outcome), ` ${node.value === null ? "–" : node.value.toFixed(2)}`));
    const text = make("span", { className: "says" }, ...says(root ? this.tree.problem : node.text));
    const fresh = this.step < this.last && node.step === this.step && this.step;
    const card = make("div", {
      className: `node${this.best.has(id) ? " best" : ""}${fresh ? " new" : ""}`, role: "treeitem",
      "aria-level": depth + 1, "aria-selected": id === this.selected, tabIndex: id === this.selected ? 0 : -1,
    }, top, text, worth);
    card.dataset.id = id;
    if (this.grown(id).length) card.setAttribute("aria-expanded", !this.folded.has(id));
    Object.assign(card.style, { left: `${x}px`, top: `${y}px` });
    card.addEventListener("click", () => this.show(id));
    card.addEventListener("dblclick", () => this.fold(id));
    this.cards.set(id, card);
    return card;
  }

  knob(id, x, y) {
    const folded = this.folded.has(id);
    const knob = make("button", {
      type: "button", className: "knob", tabIndex: -1, textContent: folded ? this.below(id) : "−",
      "aria-label": `${folded ? "Unfold" : "Fold"} thought ${id}`,
    });
    Object.assign(knob.style, { left: `${x}px`, top: `${y}px` });
    knob.addEventListener("click", () => this.fold(id));
    return knob;
  }

  /** How many thoughts there are below a node at this step. */
  below(id) {
    return this.grown(id).reduce((sum, child) => sum + 1 + this.below(child), 0);
  }

  fold(id) {
    if (!this.grown(id).length) return;
    if (!this.folded.delete(id)) this.folded.add(id);
    this.arrange();
    this.show(this.cards.has(this.selected) ? this.selected : id);
  }

  foldAll(all) {
    this.folded = new Set(all ? this.children.flatMap((below, id) => (id && below.length ? [id] : [])) : []);
    this.arrange();
    this.show(this.cards.has(this.selected) ? this.selected : 0);
  }

  go(step) {
    this.step = Math.min(Math.max(step, 0), this.last);
    this.arrange();
    const newest = this.visible().filter((id) => this.tree.nodes[id].step === this.step);
    this.show(newest.at(-1) ?? 0, false);
    if (newest.length) this.reveal(newest.at(-1));
  }

  scale(zoom) {
    this.zoom = Math.min(Math.max(zoom, 0.3), 2);
    this.rescale();
  }

  fit() {
    const zoom = (this.canvas.clientWidth - 2) / this.size[0];
    this.scale(zoom < 0.6 ? 0.85 : Math.min(zoom, 1)); // what has to be scrolled may as well be read
    this.reveal(this.selected);
  }

  rescale() {
    const [width, height] = this.size;
    this.sheet.style.transform = `scale(${this.zoom})`;
    Object.assign(this.sheet.style, { width: `${width}px`, height: `${height}px` });
    const frame = this.sheet.parentNode;
    Object.assign(frame.style, { width: `${width * this.zoom}px`, height: `${height * this.zoom}px`, overflow: "hidden" });
    this.zoomed.textContent = `${Math.round(100 * this.zoom)}%`;
  }

  /** Scroll the canvas, and only it, until a node is inside. */
  reveal(id) {
    const card = this.cards.get(id), { canvas, zoom } = this;
    if (!card) return;
    const left = card.offsetLeft * zoom, top = card.offsetTop * zoom, gap = 24;
    const right = left + WIDTH * zoom, bottom = top + HEIGHT * zoom;
    if (left < canvas.scrollLeft + gap) canvas.scrollLeft = left - gap;
    else if (right > canvas.scrollLeft + canvas.clientWidth - gap) canvas.scrollLeft = right + gap - canvas.clientWidth;
    if (top < canvas.scrollTop + gap) canvas.scrollTop = top - gap;
    else if (bottom > canvas.scrollTop + canvas.clientHeight - gap) canvas.scrollTop = bottom + gap - canvas.clientHeight;
  }

  /** Select a node and tell all about it; the focus follows where the tree has it. */
  show(id, focus = this.sheet.contains(document.activeElement)) {
    this.selected = id;
    for (const [other, card] of this.cards) {
      card.setAttribute("aria-selected", other === id);
      card.tabIndex = other === id ? 0 : -1;
    }
    if (focus) this.cards.get(id).focus({ preventScroll: true });
    this.reveal(id);
    const node = this.tree.nodes[id], root = node.parent === null;
    const title = make("h4", {}, root ? "The problem " : `Thought ${id}${node.meta ? `, ${node.meta}` : ""} `, verdict(node.outcome));
    const text = make("div", { className: "says", tabIndex: 0 }, ...says(root ? this.tree.problem : node.text));
    const list = make("dl");
    const row = (name, value, help = "") =>
      list.append(make("dt", { textContent: name, title: help }), make("dd", { textContent: value }));
    for (const [name, key, help] of FIGURES) if (!root || node[key] !== null) row(name, node[key] ?? "–", help);
    if (node.answer !== null) row("States the answer", node.answer);
    if (!node.complete) row("Cut", "before the model ended it");
    this.detail.replaceChildren(title, text, list);
  }

  rewrite() {
    asWritten = this.written.checked;
    this.problem.replaceChildren(...says(this.tree.problem));
    this.arrange();
    this.show(this.selected);
  }

  press(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const seen = this.visible(), at = seen.indexOf(this.selected), id = this.selected;
    const node = this.tree.nodes[id], below = this.grown(id);
    const moves = {
      ArrowDown: () => this.show(seen[Math.min(at + 1, seen.length - 1)]),
      ArrowUp: () => this.show(seen[Math.max(at - 1, 0)]),
      ArrowRight: () => (this.folded.has(id) ? this.fold(id) : below.length && this.show(below[0])),
      ArrowLeft: () => {
        if (below.length && !this.folded.has(id) && id) this.fold(id);
        else if (node.parent !== null) this.show(node.parent);
      },
      Home: () => this.show(0),
      End: () => this.show(seen.at(-1)),
      " ": () => this.fold(id),
      Enter: () => this.fold(id),
      b: () => this.show(this.tree.best.find((each) => each > id && this.cards.has(each)) ?? 0),
      "[": () => this.go(this.step - 1),
      "]": () => this.go(this.step + 1),
      "+": () => this.scale(this.zoom * 1.25),
      "=": () => this.scale(this.zoom * 1.25),
      "-": () => this.scale(this.zoom / 1.25),
      0: () => this.fit(),
    };
    if (!moves[event.key]) return;
    event.preventDefault();
    moves[event.key]();
    this.cards.get(this.selected).focus({ preventScroll: true });
  }
}

// ---- All trees: search, filter, pick --------------------------------------------------------

const MANY = new Set(data.trees.map((tree) => tree.run)).size > 1;
const FILTERS = {
  all: () => true,
  solved: (tree) => tree.solved,
  failed: (tree) => tree.graded && !tree.solved,
  surprising: (tree) => tree.graded,
};

/** The other trees of the same problem. */
function same(tree) {
  return data.trees.filter((each) => each !== tree && each.id === tree.id && each.problem === tree.problem);
}

class Picker {
  constructor(viewer) {
    this.list = viewer.querySelector("#list");
    this.search = viewer.querySelector("#search");
    this.count = viewer.querySelector("#count");
    this.views = viewer.querySelector("#views");
    this.buttons = [...viewer.querySelectorAll("[data-filter]")];
    this.filter = "all";
    this.search.addEventListener("input", () => this.fill());
    for (const button of this.buttons) button.addEventListener("click", () => this.choose(button));
    this.list.addEventListener("keydown", (event) => this.press(event));
    viewer.hidden = false;
    this.fill();
    this.open(this.found[0]);
  }

  choose(button) {
    this.filter = button.dataset.filter;
    for (const each of this.buttons) each.setAttribute("aria-pressed", each === button);
    this.fill();
  }

  fill() {
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const says = (tree) => `${tree.problem} ${tree.id}`.toLowerCase();
    this.found = data.trees.filter((tree) =>
      FILTERS[this.filter](tree) && words.every((word) => says(tree).includes(word)));
    if (this.filter === "surprising") this.found.sort((a, b) => b.surprise - a.surprise);
    this.list.replaceChildren(...this.found.map((tree) => make("li", {}, this.item(tree))));
    this.count.textContent = `${this.found.length} of ${data.trees.length} trees`;
  }

  item(tree) {
    const facts = [...(MANY ? [tree.run] : []), `iteration ${tree.iteration}`, `surprise ${tree.surprise.toFixed(2)}`];
    const also = same(tree).map((each) => (each.run === tree.run ? `also ${each.iteration}` : `also ${each.run}`));
    facts.push(...also.slice(0, 2));
    const of = make("span", { className: "of" }, tree.graded ? verdict(tree.solved) : "", ` ${facts.join(" · ")}`);
    const button = make("button", { type: "button", "aria-current": tree === this.opened },
      make("span", { className: "says" }, ...readable(tree.problem)), of);
    button.addEventListener("click", () => this.open(tree));
    return button;
  }

  open(tree) {
    this.opened = tree;
    const buttons = [...this.list.querySelectorAll("button")];
    this.found.forEach((each, index) => buttons[index].setAttribute("aria-current", each === tree));
    const first = make("article", { className: "view" }), second = make("article", { className: "view" });
    this.views.replaceChildren(first);
    this.compared = null;
    this.view = new TreeView(first, tree, same(tree), (other) => {
      second.remove();
      this.compared = other;
      if (!other) return;
      this.views.append(second);
      new TreeView(second, other, [], null);
    });
  }

  press(event) {
    const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!move) return;
    const buttons = [...this.list.querySelectorAll("button")];
    const next = buttons[buttons.indexOf(document.activeElement) + move];
    event.preventDefault();
    next?.focus();
  }
}

const charts = new Map();
for (const figure of document.querySelectorAll("[data-chart]")) charts.set(figure, new Chart(figure));
let picker = data.trees.length ? new Picker(document.getElementById("viewer")) : null;
