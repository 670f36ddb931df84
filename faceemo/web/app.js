// The page of `faceemo serve`: what is shown when.

import { Encoder, eachFrame, openCamera } from "./camera.js";
import { Timeline, drawMesh } from "./drawing.js";
import { Live } from "./live.js";
import { WORDS, browserLanguage } from "./words.js";

const SMOOTHING_MS = 150;
const HELD_MS = 1000; // before a new label is spoken
const SUMMARY_MS = 5000; // between two spoken summaries of the time line
const RATE_FRAMES = 30;

const element = (id) => document.getElementById(id);
const [view, video, still, mesh, notice, note] = ["view", "video", "still", "mesh", "notice", "note"].map(element);
const smooth = !matchMedia("(prefers-reduced-motion: reduce)").matches;

const model = await (await fetch("/model")).json();
const timeline = new Timeline();
const encoder = new Encoder();

let language = browserLanguage();
let camera = "starting"; // or "on", or the word for why there is none
let connection = null; // the word for why there is none, or null
let showing = "camera"; // or "picture"
let neutralFace = null; // the server's token for it
let noteWord = null; // a function that gives the note in the language of the moment
let shares = null; // of the newest answer, or null without a face
let shown = model.classes.map(() => 0); // what the bars show
let encoding = false;
let answeredAt = [];
let label = null;
let labelSince = 0;
let spoken = null;
let summedAt = -Infinity;

const word = (key) => WORDS[language][key];
const nameOf = (number) => (language === "ko" ? model.korean : model.classes)[number];
const percent = (share) => `${Math.round(share * 100)}%`;
const inWords = (values) => values.map((share, number) => `${nameOf(number)} ${percent(share)}`).join(", ");

function list(id, build) {
  element(id).replaceChildren(
    ...model.classes.map((_, number) => {
      const item = document.createElement("li");
      item.append(...build(number));
      return item;
    }),
  );
}

function part(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

function setLanguage(tag) {
  language = tag;
  document.documentElement.lang = tag;
  for (const one of document.querySelectorAll("[data-word]")) one.textContent = word(one.dataset.word);
  element("language").lang = tag === "ko" ? "en" : "ko";
  list("bars", (number) => {
    const meter = part("span", "meter");
    meter.setAttribute("role", "meter");
    meter.setAttribute("aria-label", nameOf(number));
    meter.setAttribute("aria-valuemin", "0");
    meter.setAttribute("aria-valuemax", "100");
    const fill = part("span", `fill class-${number % 7}`);
    meter.append(fill);
    return [part("span", "name", nameOf(number)), meter, part("span", "percent")];
  });
  list("legend", (number) => [part("span", `key class-${number % 7}`), nameOf(number)]);
  showNotice();
  showLabel();
  if (noteWord) note.textContent = noteWord();
  summedAt = -Infinity;
}

function say(write) {
  noteWord = write;
  note.textContent = write ? write() : "";
}

function showNotice() {
  const why = showing === "picture" ? null : (connection ?? (camera === "on" ? null : camera));
  notice.hidden = why === null;
  notice.textContent = why === null ? "" : word(why);
}

function showLabel() {
  const best = shares ? shares.indexOf(Math.max(...shares)) : null;
  element("label").textContent = best === null ? word("noFace") : nameOf(best);
  element("label").dataset.class = best === null ? "" : model.classes[best];
}

function accept(answer) {
  shares = answer.probabilities ? model.classes.map((name) => answer.probabilities[name]) : null;
  drawMesh(mesh, answer.landmarks, model.edges, answer.width ?? 1, answer.height ?? 1);
  showLabel();
}

// --- the camera

const live = new Live({
  open() {
    connection = null;
    if (neutralFace) live.sendCommand({ neutral: neutralFace });
    showNotice();
  },
  lost(crowded) {
    connection = crowded ? "crowded" : "disconnected";
    answeredAt = [];
    if (showing === "camera") accept({ probabilities: null, landmarks: null });
    showNotice();
  },
  frame(answer, milliseconds) {
    const now = performance.now();
    answeredAt = [...answeredAt.slice(-RATE_FRAMES), now];
    document.documentElement.dataset.latency = milliseconds.toFixed(1); // for the benchmark
    document.documentElement.dataset.frames = Number(document.documentElement.dataset.frames ?? 0) + 1;
    if (showing !== "camera") return;
    accept(answer);
    timeline.add(now, shares);
    if (answer.against === "mean" && !noteWord) say(() => word("neutralWanted"));
  },
  message(answer) {
    element("neutral").disabled = false;
    if (answer.kind === "error") {
      neutralFace = null;
      say(model.judges_change ? () => word("neutralWanted") : null);
    } else if (!answer.faces) {
      say(() => word("neutralMissed"));
    } else if (answer.probabilities) {
      const values = model.classes.map((name) => answer.probabilities[name]);
      say(() => word("neutralNotNeeded") + inWords(values));
    } else {
      neutralFace = answer.neutral;
      say(() => word("neutralTaken"));
    }
  },
});

async function sendFrame() {
  if (encoding || showing !== "camera" || document.hidden || !video.videoWidth || !live.ready) return;
  encoding = true;
  const takenAt = performance.now();
  const blob = await encoder.encode(video);
  encoding = false;
  if (blob && showing === "camera") live.sendFrame(blob, takenAt);
}

async function startCamera() {
  try {
    const stream = await openCamera(video);
    camera = "on";
    view.style.aspectRatio = `${video.videoWidth} / ${video.videoHeight}`;
    for (const track of stream.getTracks()) track.addEventListener("ended", () => setCamera("cameraBusy"));
    eachFrame(video, sendFrame);
  } catch (error) {
    const words = { NotAllowedError: "cameraRefused", NotFoundError: "noCamera", OverconstrainedError: "noCamera" };
    camera = words[error.name] ?? "cameraBusy";
  }
  showNotice();
}

function setCamera(state) {
  camera = state;
  showNotice();
}

// --- a picture

async function showPicture(file) {
  if (model.judges_change && !neutralFace) {
    say(() => word("pictureNeedsNeutral"));
    return;
  }
  const address = URL.createObjectURL(file);
  still.src = address;
  try {
    await still.decode();
  } catch {
    URL.revokeObjectURL(address);
    showCamera();
    say(() => word("notPicture") + file.name);
    return;
  }
  showing = "picture";
  still.alt = file.name;
  view.style.aspectRatio = `${still.naturalWidth} / ${still.naturalHeight}`;
  view.classList.add("still");
  [still.hidden, video.hidden, element("back").hidden] = [false, true, false];
  mesh.classList.remove("mirrored");
  shares = null;
  showNotice();
  drawMesh(mesh, null, [], 1, 1);
  say(null);
  const query = new URLSearchParams({ landmarks: "true", ...(neutralFace && { neutral: neutralFace }) });
  try {
    const response = await fetch(`/predict?${query}`, { method: "POST", body: file });
    const answer = await response.json();
    if (showing !== "picture" || still.src !== address) return;
    accept(answer);
    if (answer.error) say(() => word("failed") + answer.error);
  } catch {
    say(() => word("disconnected"));
  }
}

function showCamera() {
  showing = "camera";
  URL.revokeObjectURL(still.src);
  still.removeAttribute("src");
  [still.hidden, video.hidden, element("back").hidden] = [true, false, true];
  mesh.classList.add("mirrored");
  view.classList.remove("still");
  view.style.aspectRatio = video.videoWidth ? `${video.videoWidth} / ${video.videoHeight}` : "";
  accept({ probabilities: null, landmarks: null });
  say(null);
  showNotice();
}

// --- what moves

function animate(before) {
  requestAnimationFrame((now) => {
    const share = smooth ? 1 - Math.exp(-(now - before) / SMOOTHING_MS) : 1;
    const bars = element("bars").children;
    shown.forEach((value, number) => {
      shown[number] = value + ((shares ? shares[number] : 0) - value) * share;
      const [, meter, text] = bars[number].children;
      meter.firstChild.style.transform = `scaleX(${shown[number].toFixed(4)})`;
      const whole = shares ? percent(shown[number]) : "–";
      if (text.textContent !== whole) {
        text.textContent = whole;
        meter.setAttribute("aria-valuenow", Math.round(shown[number] * 100));
      }
    });
    const recent = answeredAt.filter((at) => at > now - 2000);
    const rate = recent.length > 1 ? ((recent.length - 1) * 1000) / (recent.at(-1) - recent[0]) : 0;
    const rateText = showing === "camera" && rate ? rate.toFixed(rate < 10 ? 1 : 0) : "–";
    if (element("rate").textContent !== rateText) element("rate").textContent = rateText;
    speak(now);
    animate(now);
  });
}

function speak(now) {
  const current = element("label").textContent;
  if (current !== label) [label, labelSince] = [current, now];
  if (label !== spoken && now - labelSince > HELD_MS) {
    spoken = label;
    element("spoken").textContent = label;
  }
  if (now - summedAt > SUMMARY_MS) {
    summedAt = now;
    const mean = timeline.mean(now);
    const text = mean ? word("summary")(mean.seconds, inWords(mean.shares)) : word("nothing");
    element("timeline").setAttribute("aria-label", text);
  }
}

element("language").addEventListener("click", () => setLanguage(language === "ko" ? "en" : "ko"));
element("neutral").addEventListener("click", () => {
  if (showing === "picture") showCamera();
  element("neutral").disabled = true;
  setTimeout(() => (element("neutral").disabled = false), 5000); // should the answer never come
  say(() => word("hold"));
  live.sendCommand({ neutral: "take" });
});
element("choose").addEventListener("click", () => element("file").click());
element("file").addEventListener("change", ({ target }) => {
  if (target.files.length) showPicture(target.files[0]);
  target.value = "";
});
element("back").addEventListener("click", () => {
  showCamera();
  element("choose").focus();
});
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    view.classList.add("over");
  });
}
for (const kind of ["dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    view.classList.remove("over");
  });
}
document.addEventListener("drop", ({ dataTransfer }) => {
  if (dataTransfer.files.length) showPicture(dataTransfer.files[0]);
});

setLanguage(language);
animate(performance.now());
setInterval(() => timeline.draw(element("timeline"), performance.now(), model.classes), 100);
startCamera();
