// The live page: asks the server it came from for news, and takes them in around what is open.

const LOOK_MS = 2000;
const live = document.getElementById("live");
let version = live.dataset.version;
document.documentElement.style.overflowAnchor = "none"; // `staying` does it, in every browser

/** Make an element like a fresh one. What is marked as its own, open or focused stays so. */
function become(old, fresh) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  if ("own" in old.dataset) return;
  for (const { name } of [...old.attributes])
    if (name !== "open" && !fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes)
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  const key = (node) => node.dataset?.key || node.id;
  const keyed = new Map([...old.children].map((child) => [key(child), child]));
  let next = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    const alike = next && !key(next) && next.nodeName === child.nodeName ? next : null;
    const found = key(child) ? keyed.get(key(child)) : alike;
    if (!found) {
      old.insertBefore(child, next);
      continue;
    }
    if (found === next) next = next.nextSibling;
    else old.insertBefore(found, next);
    become(found, child);
  }
  while (next) {
    const gone = next;
    next = next.nextSibling;
    gone.remove();
  }
}

const PARTS = "header > *, nav, h2, h3, .result, figure, details, .viewer, .problem, .tools, .canvas, .detail";

/** Change the page while the part that is focused, or the first on the screen, stays where it is. */
function staying(change) {
  const parts = [...document.querySelectorAll(PARTS)].filter((part) => part.getClientRects().length);
  const top = (part) => part.getBoundingClientRect().top;
  const begins = (part) => part && top(part) >= 0 && top(part) < innerHeight;
  const focused = document.activeElement?.closest(PARTS);
  const still = [focused, ...parts].find(begins) ?? parts.findLast((part) => top(part) < 0) ?? parts[0];
  const before = top(still);
  change();
  if (scrollY && still.isConnected) scrollBy({ top: top(still) - before, behavior: "instant" });
}

/** A tree as it is found again among fresh ones. */
const name = (tree) => JSON.stringify([tree.run, tree.iteration, tree.line, tree.id, tree.tokens]);

/** Take in fresh trees; those that are open stay the objects they are, and among the others. */
function replant(fresh) {
  if (!picker) {
    data.trees = fresh;
    if (fresh.length) picker = new Picker(document.getElementById("viewer"));
    return;
  }
  const open = new Map([picker.opened, picker.compared].filter(Boolean).map((tree) => [name(tree), tree]));
  data.trees = fresh.map((tree) => open.get(name(tree)) ?? tree);
  for (const tree of open.values()) if (!data.trees.includes(tree)) data.trees.push(tree);
  data.trees.sort((a, b) => b.iteration - a.iteration);
  refill();
  picker.view.offer(same(picker.opened), picker.compared);
}

/** Fill the list again; the item that is focused keeps the focus, the one at the top its position. */
function refill() {
  const { list } = picker, { scrollTop } = list;
  const items = () => new Map([...list.children].map((item, index) => [name(picker.found[index]), item]));
  const before = items();
  const [first] = [...before].find(([, item]) => item.offsetTop + item.offsetHeight > scrollTop) ?? [];
  const [focused] = [...before].find(([, item]) => item.contains(document.activeElement)) ?? [];
  const top = before.get(first)?.offsetTop;
  picker.fill();
  const after = items();
  if (scrollTop && after.has(first)) list.scrollTop = scrollTop + after.get(first).offsetTop - top;
  after.get(focused)?.firstElementChild.focus({ preventScroll: true });
}

/** What the server answers; null if it does not. */
async function ask(path) {
  const answer = await fetch(path, { cache: "no-store" }).catch(() => null);
  return answer?.ok ? answer.text().catch(() => null) : null;
}

function renew(page) {
  const fresh = new DOMParser().parseFromString(page, "text/html");
  const { charts: drawn, trees } = JSON.parse(fresh.getElementById("data").textContent);
  data.charts = drawn;
  staying(() => {
    for (const part of ["header", "nav", "main"])
      become(document.querySelector(part), fresh.querySelector(part));
    for (const figure of document.querySelectorAll("[data-chart]")) {
      if (charts.has(figure)) charts.get(figure).read();
      else charts.set(figure, new Chart(figure));
    }
    replant(trees);
  });
  version = fresh.getElementById("live").dataset.version;
}

function tell(state, words) {
  live.className = state;
  if (live.textContent !== words) live.textContent = words;
}

function ago(seconds) {
  if (seconds < 60) return "live";
  const [size, unit] = seconds < 3600 ? [60, "min"] : seconds < 86400 ? [3600, "h"] : [86400, "d"];
  return `live · nothing new for ${Math.floor(seconds / size)} ${unit}`;
}

async function look() {
  const state = JSON.parse(await ask("state"));
  const page = state && state.version !== version ? await ask("./") : null;
  if (page) renew(page);
  if (!state) tell("trouble", "no longer live: start llamao1 watch again");
  else if (state.notice) tell("trouble", state.notice);
  else if (state.complete) tell("done", "the run is complete");
  else tell("", ago(state.age));
}

(async () => {
  for (;;) {
    if (!document.hidden) await look().catch(reportError);
    await new Promise((done) => setTimeout(done, LOOK_MS));
  }
})();
