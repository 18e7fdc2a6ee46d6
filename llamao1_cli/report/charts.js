// What all scripts of the page need, and its charts: a readout of the point that is pointed at.
// Whatever a model wrote reaches the page by textContent alone.
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
