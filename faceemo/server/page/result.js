// What the model says of the face: the label, a bar for each class, and words for those who listen.

import { DASHES } from "./drawing.js";

const NOTHING = "–";
const SMOOTHING_MS = 150;
const HELD_MS = 1000; // before a new label is spoken
const REDUCED_MOTION = matchMedia("(prefers-reduced-motion: reduce)");

export const percent = (share) => `${Math.round(share * 100)}%`;

export class Result {
  #label = document.getElementById("label");
  #spoken = document.getElementById("spoken");
  #bars = document.getElementById("bars");
  #shares; // of the newest answer: null without a face, undefined where nothing is judged
  #shown; // what the bars show, on its way there
  #marks = null; // of the neutral face
  #names = [];
  #noFace = "";
  #since = 0; // when the label became what it is

  constructor(classes) {
    this.#shown = Array(classes).fill(0);
  }

  /** Build bars and legend anew with these names of the classes, and the words for no face. */
  name(names, noFace) {
    [this.#names, this.#noFace] = [names, noFace];
    this.#bars.replaceChildren(...names.map(bar));
    document.getElementById("legend").replaceChildren(...names.map(legendEntry));
    this.mark(this.#marks);
  }

  /** shares: [classes], null where there is no face, undefined where nothing is judged. */
  show(shares) {
    this.#shares = shares;
  }

  /** Mark shares on the bars, none for null. */
  mark(marks) {
    this.#marks = marks;
    for (const [number, mark] of this.#bars.querySelectorAll(".mark").entries()) {
      mark.hidden = marks === null;
      if (marks) mark.style.left = `${marks[number] * 100}%`;
    }
  }

  /** Move the bars as far as they come in `elapsed` ms, and say a label that has stood for a while. */
  move(now, elapsed) {
    const part = REDUCED_MOTION.matches ? 1 : 1 - Math.exp(-elapsed / SMOOTHING_MS);
    const bars = this.#bars.children;
    this.#shown.forEach((value, number) => {
      const goal = this.#shares ? this.#shares[number] : 0;
      const next = Math.abs(goal - value) < 0.001 ? goal : value + (goal - value) * part;
      this.#shown[number] = next;
      const [, meter, text] = bars[number].children;
      meter.firstChild.firstChild.style.transform = `scaleX(${next.toFixed(3)})`;
      const words = this.#shares ? percent(next) : NOTHING;
      if (text.textContent === words) return;
      text.textContent = words;
      meter.setAttribute("aria-valuenow", Math.round(next * 100));
    });
    const label = this.#labelOfNow();
    if (this.#label.textContent !== label) {
      this.#label.textContent = label;
      this.#since = now;
    }
    if (this.#spoken.textContent !== label && now - this.#since > HELD_MS) this.#spoken.textContent = label;
  }

  #labelOfNow() {
    if (this.#shares) return this.#names[this.#shown.indexOf(Math.max(...this.#shown))];
    return this.#shares === null ? this.#noFace : NOTHING;
  }
}

function bar(name, number) {
  const meter = part("span", "meter");
  const attributes = { role: "meter", "aria-label": name, "aria-valuemin": 0, "aria-valuemax": 100 };
  for (const [key, value] of Object.entries(attributes)) meter.setAttribute(key, value);
  const track = part("span", "track");
  track.append(part("span", `fill class-${number % DASHES.length}`));
  meter.append(track, part("span", "mark"));
  return item(part("span", "name", name), meter, part("span", "percent"));
}

function legendEntry(name, number) {
  const key = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  key.setAttribute("class", `key class-${number % DASHES.length}`);
  line.setAttribute("d", "M0 4H28");
  line.setAttribute("stroke-dasharray", DASHES[number % DASHES.length].join(" "));
  key.append(line);
  return item(key, name);
}

function item(...children) {
  const made = document.createElement("li");
  made.append(...children);
  return made;
}

function part(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}
