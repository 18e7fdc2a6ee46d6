// What a thought says, and where it leaves a sibling.

let asWritten = false; // show TeX as the model wrote it

function says(text) {
  return asWritten ? [text] : readable(text);
}

/** A probability as a card has room for it. */
const brief = (share) => (share >= 0.01 || !share ? share.toFixed(2) : share.toExponential(0));

const letters = (parts) => parts.map((part) => part.textContent ?? part).join("");

/** How much of two texts is the same from their start, whole letters only. */
function common(one, other) {
  const mine = [...one], theirs = [...other];
  const end = mine.findIndex((letter, index) => letter !== theirs[index]);
  return end < 0 ? one.length : mine.slice(0, end).join("").length;
}

/** A thought's text. What it shares with the sibling it leaves is dim, and of that `most` letters are there. */
function leaving(text, sibling, most) {
  const parts = says(text), fresh = [];
  const known = make("span", { className: "known", title: "shared with the sibling that it leaves here" });
  let left = common(letters(parts), letters(says(sibling)));
  for (const part of parts) {
    const size = letters([part]).length;
    if (!fresh.length && size <= left) known.append(part);
    else if (typeof part === "string") {
      known.append(part.slice(0, left));
      fresh.push(part.slice(left));
    } else fresh.push(part);
    left = Math.max(left - size, 0);
  }
  const shown = [...known.textContent];
  if (shown.length > most) known.textContent = `…${shown.slice(-most).join("")}`;
  return [known, ...fresh];
}
