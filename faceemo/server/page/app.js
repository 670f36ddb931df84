// The page of `faceemo serve`: what is shown when.

import { Encoder, eachFrame, openCamera } from "./camera.js";
import { Timeline, drawMesh } from "./drawing.js";
import { Faces } from "./faces.js";
import { Guide } from "./guide.js";
import { Live } from "./live.js";
import { Result, percent } from "./result.js";
import { WORDS, browserLanguage } from "./words.js";

const SUMMARY_MS = 5000; // between two spoken summaries of the time line
const TIMELINE_MS = 200;
const RATE_MS = 2000; // that frames a second are counted over
const NEUTRAL_MS = 5000; // to wait for a neutral face, if the answer never comes

const element = (id) => document.getElementById(id);
const [view, video, still, mesh, notice, note] = ["view", "video", "still", "mesh", "notice", "note"].map(element);

const modelText = await fetchModel();
const model = JSON.parse(modelText);
const timeline = new Timeline();
const encoder = new Encoder();
const result = new Result(model.classes.length);
const guide = new Guide(takeNeutralFace);
const faces = new Faces(model, (face) => result.show(sharesOf(face)));

let language = browserLanguage();
let camera = "starting"; // or "on", or the word for why there is none
let connection = null; // the word for why there is none, or null
let picture = null; // the File that is shown instead of the camera
let wanted = null; // the File that is to be shown as soon as it is decoded
let neutralFace = null; // the server's token for it
let taking = null; // the timer that ends the taking of a neutral face, or null
let noteWord = null; // a function that gives the note in the language of the moment
let encoding = false;
let answeredAt = [];

const word = (key) => WORDS[language][key];
const names = () => (language === "ko" ? model.korean : model.classes);
const inWords = (shares) => shares.map((share, number) => `${names()[number]} ${percent(share)}`).join(", ");
const sharesOf = ({ probabilities }) => probabilities && model.classes.map((name) => probabilities[name]);
const faceInWords = (face) => {
  const shares = sharesOf(face);
  const most = shares.indexOf(Math.max(...shares));
  return `${names()[most]} ${percent(shares[most])}`;
};
const wantsNeutral = () => model.judges_change && !neutralFace;

async function fetchModel() {
  return (await fetch("/model")).text();
}

function setLanguage(tag) {
  language = tag;
  document.documentElement.lang = tag;
  for (const one of document.querySelectorAll("[data-word]")) one.textContent = word(one.dataset.word);
  document.body.removeAttribute("aria-busy"); // until here the page has no words
  element("language").lang = tag === "ko" ? "en" : "ko";
  result.name(names(), word("noFace"));
  faces.name(faceInWords);
  element("faces").setAttribute("aria-label", word("faces"));
  showNotice();
  showGuide();
  if (noteWord) note.textContent = noteWord();
  summarize();
}

function say(write) {
  noteWord = write;
  const text = write ? write() : "";
  if (note.textContent !== text) note.textContent = text; // else it is spoken again
}

function showNotice() {
  const why = picture ? null : (connection ?? (camera === "on" ? null : camera));
  notice.hidden = why === null;
  notice.textContent = why === null ? "" : word(why);
}

/** Lead to the neutral face while a model waits for it, and through its taking; at other times stay out of the way. */
function showGuide() {
  const blocked = picture || camera !== "on" || connection;
  if (blocked || !model.judges_change || (!taking && !wantsNeutral() && !guide.counting)) guide.hide();
  else if (taking) guide.hold(word("hold"));
  else if (!guide.counting) guide.ask(word("neutralWanted"), word("neutralGive"));
  const asking = !blocked && wantsNeutral() && !taking && !guide.counting;
  element("neutral").hidden = asking; // the guide has a button of its own
  element("neutral").textContent = word(
    picture || !model.judges_change ? "neutralButton" : neutralFace ? "neutralAgain" : "neutralGive",
  );
  element("neutral").setAttribute("aria-disabled", Boolean(taking) || guide.counting);
}

/** Show an answer, or nothing; returns its shares. */
function show(answer) {
  const shares = ["ok", "no_face"].includes(answer?.status) ? sharesOf(answer) : undefined;
  result.show(shares);
  const [width, height] = [answer?.width ?? 1, answer?.height ?? 1];
  drawMesh(mesh, answer?.landmarks, answer?.neutral_landmarks, model, width, height);
  faces.show(answer?.faces?.length > 1 ? answer : null, faceInWords);
  return shares;
}

// --- the camera

const live = new Live({
  async open() {
    connection = null;
    showNotice();
    showGuide();
    if (neutralFace) live.sendCommand({ neutral: neutralFace }); // before any frame
    if ((await fetchModel()) !== modelText) location.reload(); // the server was started again with another one
  },
  lost(crowded) {
    connection = crowded ? "crowded" : "disconnected";
    answeredAt = [];
    setTaking(false);
    if (!picture) show();
    showNotice();
    showGuide();
  },
  frame(answer, milliseconds) {
    const now = performance.now();
    answeredAt = [...answeredAt.filter((at) => at > now - RATE_MS), now];
    document.documentElement.dataset.latency = milliseconds.toFixed(1); // for the benchmark
    document.documentElement.dataset.frames = Number(document.documentElement.dataset.frames ?? 0) + 1;
    if (picture) return;
    if (answer.status === "model_error") say(() => word("failed") + answer.error);
    timeline.add(now, show(answer));
  },
  message(answer) {
    if (answer.kind === "error") {
      neutralFace = null;
      say(null);
    } else if (!answer.faces) {
      say(() => word("neutralMissed"));
    } else if (answer.probabilities) {
      const shares = sharesOf(answer);
      neutralFace = answer.neutral;
      result.mark(shares);
      say(() => word(neutralFace ? "neutralCorrects" : "neutralNotNeeded") + inWords(shares));
    } else {
      neutralFace = answer.neutral;
      say(() => word("neutralTaken"));
    }
    setTaking(false);
  },
});

async function sendFrame() {
  if (encoding || picture || camera !== "on" || document.hidden || !video.videoWidth) return;
  live.wake();
  if (!live.ready) return;
  encoding = true;
  const takenAt = performance.now();
  const blob = await encoder.encode(video);
  encoding = false;
  if (blob && !picture) live.sendFrame(blob, takenAt);
}

async function startCamera() {
  setCamera("starting");
  try {
    const stream = await openCamera(video);
    view.style.aspectRatio = `${video.videoWidth} / ${video.videoHeight}`;
    for (const track of stream.getTracks()) track.addEventListener("ended", () => setCamera("cameraBusy"));
    setCamera("on");
  } catch (error) {
    const words = { NotAllowedError: "cameraRefused", NotFoundError: "noCamera", OverconstrainedError: "noCamera" };
    setCamera(words[error.name] ?? "cameraBusy");
  }
}

/** What kept the camera away may be gone. */
function retryCamera() {
  if (!["on", "starting"].includes(camera)) startCamera();
}

function setCamera(state) {
  camera = state;
  if (state !== "on" && !picture) show();
  showNotice();
  showGuide();
}

/** Begin or end the taking of a neutral face; it ends by itself if the answer never comes. */
function setTaking(state) {
  clearTimeout(taking);
  taking = state ? setTimeout(() => setTaking(false), NEUTRAL_MS) : null;
  showGuide();
}

function takeNeutralFace() {
  if (taking || guide.counting) return;
  if (picture && model.judges_change) {
    takeNeutralPicture();
    return;
  }
  if (picture) showCamera();
  if (camera !== "on" || connection) return; // the notice says why
  if (!model.judges_change) {
    say(() => word("hold"));
    startTaking();
    return;
  }
  say(null);
  guide.count(startTaking);
  showGuide();
  element("neutral").focus(); // the guide's own button is gone
}

function startTaking() {
  setTaking(true);
  live.sendCommand({ neutral: "take" });
}

// --- a picture

async function showPicture(file) {
  wanted = file;
  const decoded = new Image();
  decoded.src = URL.createObjectURL(file);
  const isPicture = await decoded.decode().then(() => true, () => false);
  if (wanted !== file || !isPicture) URL.revokeObjectURL(decoded.src);
  if (wanted !== file) return; // another one was chosen meanwhile, or the camera
  if (!isPicture) {
    showCamera();
    say(() => word("notPicture") + file.name);
    return;
  }
  URL.revokeObjectURL(still.src);
  picture = file;
  [still.src, still.alt] = [decoded.src, file.name];
  view.style.aspectRatio = `${decoded.naturalWidth} / ${decoded.naturalHeight}`;
  view.classList.add("still");
  [still.hidden, video.hidden, element("back").hidden] = [false, true, false];
  show();
  showNotice();
  showGuide();
  say(null);
  if (wantsNeutral()) say(() => word("pictureNeedsNeutral"));
  else await judgePicture();
}

async function judgePicture() {
  const how = model.judges_change ? { neutral: neutralFace } : { faces: "all" };
  const answer = await post(`/predict?${new URLSearchParams({ landmarks: "true", ...how })}`);
  if (answer?.status === "ok" || answer?.status === "no_face") show(answer);
  const [found, count] = [answer?.faces_found, answer?.faces?.length];
  if (count > 1) say(() => (found > count ? word("tooManyFaces")(found, count) : word("severalFaces")(count)));
}

async function takeNeutralPicture() {
  const answer = await post("/neutral");
  if (!answer?.neutral) return;
  neutralFace = answer.neutral;
  live.sendCommand({ neutral: neutralFace });
  say(() => word("neutralTaken"));
  await judgePicture();
}

/** The answer to the picture, null if another one is shown by now; says what is wrong with it. */
async function post(path) {
  const asked = picture;
  let answer = null;
  try {
    answer = await (await fetch(path, { method: "POST", body: asked })).json();
  } catch {
    if (picture === asked) say(() => word("disconnected"));
  }
  if (picture !== asked) return null;
  if (answer?.status === "needs_neutral") {
    neutralFace = null;
    say(() => word("pictureNeedsNeutral"));
  } else if (answer?.error) say(() => word("failed") + answer.error);
  return answer;
}

function showCamera() {
  picture = wanted = null;
  URL.revokeObjectURL(still.src);
  still.removeAttribute("src");
  [still.hidden, video.hidden, element("back").hidden] = [true, false, true];
  view.classList.remove("still");
  view.style.aspectRatio = video.videoWidth ? `${video.videoWidth} / ${video.videoHeight}` : "";
  show();
  say(null);
  showNotice();
  showGuide();
}

// --- what moves

function animate(before) {
  requestAnimationFrame((now) => {
    result.move(now, now - before);
    animate(now);
  });
}

function drawPast() {
  const now = performance.now();
  timeline.draw(element("timeline"), now, model.classes.length, word("ago"));
  const recent = answeredAt.filter((at) => at > now - RATE_MS);
  const rate = recent.length > 1 ? ((recent.length - 1) * 1000) / (recent.at(-1) - recent[0]) : 0;
  element("rate").textContent = rate ? rate.toFixed(rate < 10 ? 1 : 0) : "–";
}

function summarize() {
  const mean = timeline.mean(performance.now());
  const text = mean ? word("summary")(mean.seconds, inWords(mean.shares)) : word("nothing");
  element("timeline").setAttribute("aria-label", text);
}

element("language").addEventListener("click", () => setLanguage(language === "ko" ? "en" : "ko"));
element("neutral").addEventListener("click", takeNeutralFace);
element("choose").addEventListener("click", () => element("file").click());
element("file").addEventListener("change", ({ target }) => {
  if (target.files.length) showPicture(target.files[0]);
  target.value = "";
});
element("back").addEventListener("click", () => {
  showCamera();
  element("choose").focus();
});
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    view.classList.toggle("over", kind === "dragenter" || kind === "dragover");
  });
}
document.addEventListener("drop", ({ dataTransfer }) => {
  if (dataTransfer.files.length) showPicture(dataTransfer.files[0]);
});
navigator.mediaDevices?.addEventListener("devicechange", retryCamera);
navigator.permissions?.query({ name: "camera" }).then(
  (permission) => permission.addEventListener("change", retryCamera),
  () => {}, // a browser that does not tell
);

setLanguage(language);
animate(performance.now());
setInterval(drawPast, TIMELINE_MS);
setInterval(summarize, SUMMARY_MS);
eachFrame(video, sendFrame);
startCamera();
