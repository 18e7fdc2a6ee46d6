// Mathematics as plain text.

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
