// One tree: its thoughts as cards, folded, zoomed and stepped through.

const WIDTH = 180, HEIGHT = 68, ACROSS = 40, DOWN = 12, EDGE = 22;
const KNOWN = 16; // letters that a card shows of what a thought shares with a sibling
const FIGURES = [
  ["Rating", "rating", "probability of success, read from the model's own rating"],
  ["Value", "value", "what the value head says of it, or without one the rating"],
  ["Reward", "reward", "what the solution that it ends earned"],
  ["Target", "target", "what the rewards below it make it worth"],
  ["Q", "q", "mean of what search backed up through it"],
  ["Visits", "visits", "simulations that went through it"],
  ["Prior", "prior", "share of its likelihood among its siblings'"],
  ["Advantage", "advantage", "what the policy learns from, over the batch's spread; none where all leaves are alike"],
  ["Probability", "probability", "of the path to it, as it was sampled"],
  ["Mass", "mass", "share of the policy's solutions that those below it stand for"],
  ["Entropy", "entropy", "mean of its tokens' distributions, in nats"],
  ["Tokens", "tokens", "of what it says"],
];

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
      `${tree.nodes.length - 1} thoughts`, `${tree.tokens.toLocaleString("en")} tokens`,
      `covered ${tree.covered.toFixed(3)}`];
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

  /** What a thought says; of what it shares with a sibling, the last `most` letters. */
  text(id, most = Infinity) {
    const { text, sibling, parent } = this.tree.nodes[id];
    if (parent === null) return says(this.tree.problem);
    return sibling === null ? says(text) : leaving(text, this.tree.nodes[sibling].text, most);
  }

  card(id, x, y, depth) {
    const node = this.tree.nodes[id], root = node.parent === null;
    const worth = make("span", { className: "worth" }, make("i", {}));
    const share = node.target ?? node.value;
    if (share !== null) worth.style.setProperty("--share", `${100 * Math.min(Math.max(share, 0), 1)}%`);
    const top = make("span", { className: "top" },
      make("span", { textContent: root ? "problem" : `${id} · ${node.meta || "thought"}` }),
      root ? "" : make("span", {
        textContent: node.given ? "given" : `p ${brief(node.probability)}`,
        title: node.given ? "the search began behind it" : "probability of the path to it",
      }),
      make("span", {}, verdict(node.outcome), ` ${node.value === null ? "–" : node.value.toFixed(2)}`));
    const text = make("span", { className: "says" }, ...this.text(id, KNOWN));
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
    const text = make("div", { className: "says", tabIndex: 0 }, ...this.text(id));
    const list = make("dl");
    const row = (name, value, help = "") =>
      list.append(make("dt", { textContent: name, title: help }), make("dd", { textContent: value }));
    const weighed = this.tree.nodes[0].mass !== null;
    for (const [name, key, help] of FIGURES)
      if (key === "mass" ? weighed : !root || node[key] !== null) row(name, node[key] ?? "–", help);
    if (node.sibling !== null) {
      row("Known tokens", node.known, "with which it begins; they were sampled before, and cost nothing");
      row("Begins like", `thought ${node.sibling}`);
    }
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
