// All trees: search, filter, pick.

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
