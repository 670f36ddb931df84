// The mesh over the face and the time line of the last minute.

const LONGEST_SIDE = 1280; // of the mesh's own pixels
const MINUTE = 60_000;
const SLOT_MS = 200; // the time line shows means of so long
export const DASHES = [[], [6, 3], [2, 3], [9, 3, 2, 3], [4, 2], [12, 4], [1, 2]]; // class by class

const SHADE = "rgb(0, 30, 60)"; // beside each line, so that it is seen on skin of any colour
const STILL = "rgb(190, 240, 255)";
const CHOSEN = "rgb(255, 224, 130)";
const MOVED = [ // by how far an edge has moved, in heights of the face
  [0.015, STILL],
  [0.03, CHOSEN],
  [0.05, "rgb(255, 167, 38)"],
  [Infinity, "rgb(255, 82, 60)"],
];
const MESH_OPACITY = 0.4;
const MOVED_OPACITY = 0.8;
const CONTOUR_OPACITY = 0.75;
const MESH_WIDTH = 120; // of a face, in the canvas's pixels; of narrower ones only the contours are drawn
const NUMBER_PIXELS = 14; // as shown

/**
 * Draw landmarks [[x, y], …] of a picture of width x height as the lines of a mesh {edges, contours}; nothing for null.
 * With those of the same person's neutral face in its place, edges are coloured by how far they have moved from there.
 */
export function drawMesh(canvas, landmarks, neutral, mesh, width, height) {
  const [context, scale] = clear(canvas, width, height);
  if (!landmarks) return;
  if (!neutral) {
    drawFace(context, landmarks, mesh, scale, STILL);
    return;
  }
  strokeEdges(context, neutral, mesh.edges, scale, STILL, MESH_OPACITY / 2);
  const heights = neutral.map(([, y]) => y);
  const tall = Math.max(...heights) - Math.min(...heights);
  const moved = landmarks.map(([x, y], point) => Math.hypot(x - neutral[point][0], y - neutral[point][1]) / tall);
  let least = -1;
  for (const [most, color] of MOVED) {
    const some = mesh.edges.filter(([from, to]) => {
      const far = Math.max(moved[from], moved[to]);
      return far > least && far <= most;
    });
    strokeEdges(context, landmarks, some, scale, color, color === STILL ? MESH_OPACITY : MOVED_OPACITY);
    least = most;
  }
}

/** Draw the faces of an answer, each with its number, the chosen one in another colour. */
export function drawFaces(canvas, { faces, width, height }, chosen, mesh) {
  const [context, scale] = clear(canvas, width, height);
  for (const [index, face] of faces.entries()) {
    drawFace(context, face.landmarks, mesh, scale, index === chosen ? CHOSEN : STILL);
  }
  const letters = NUMBER_PIXELS * Math.max(1, canvas.width / canvas.clientWidth);
  context.font = `600 ${letters}px ${getComputedStyle(canvas).fontFamily}`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  for (const [index, face] of faces.entries()) {
    const [left, top, right] = face.box.map((edge) => edge * scale);
    const [x, y] = [(left + right) / 2, Math.max(top - letters * 0.7, letters * 0.7)];
    const half = (context.measureText(index + 1).width + letters * 0.6) / 2;
    context.fillStyle = index === chosen ? CHOSEN : "rgba(11, 14, 19, 0.85)";
    context.fillRect(x - half, y - letters * 0.65, 2 * half, letters * 1.3);
    context.fillStyle = index === chosen ? "#0b0e13" : "#fff";
    context.fillText(index + 1, x, y);
  }
}

/** Make a canvas one for a picture of width x height, and empty; returns its context and its pixels per the picture's. */
function clear(canvas, width, height) {
  const scale = Math.min(1, LONGEST_SIDE / Math.max(width, height));
  const size = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, ...size);
  context.lineWidth = Math.max(0.7, Math.min(...size) / 700); // up to 1 it is drawn six times as fast
  return [context, scale];
}

function drawFace(context, landmarks, { edges, contours }, scale, color) {
  const across = landmarks.map(([x]) => x * scale);
  const isNarrow = Math.max(...across) - Math.min(...across) < MESH_WIDTH;
  if (!isNarrow) strokeEdges(context, landmarks, edges, scale, color, MESH_OPACITY);
  strokeEdges(context, landmarks, contours, scale, color, CONTOUR_OPACITY);
}

function strokeEdges(context, points, edges, scale, color, opacity) {
  const width = context.lineWidth;
  context.globalAlpha = opacity;
  for (const [shift, ink] of [[0.7 * width, SHADE], [0, color]]) {
    context.beginPath();
    for (const [from, to] of edges) {
      context.moveTo(points[from][0] * scale + shift, points[from][1] * scale + shift);
      context.lineTo(points[to][0] * scale + shift, points[to][1] * scale + shift);
    }
    context.strokeStyle = ink;
    context.stroke();
  }
  context.globalAlpha = 1;
}

/** Probabilities over the last minute. */
export class Timeline {
  #slots = []; // {at: ms, sums: [classes], count: faces}

  /** shares: [classes], or null where no face was found. */
  add(at, shares) {
    const start = at - (at % SLOT_MS);
    if (this.#slots.at(-1)?.at !== start) this.#slots.push({ at: start, sums: [], count: 0 });
    while (this.#slots[0].at < at - MINUTE) this.#slots.shift();
    if (!shares) return;
    const slot = this.#slots.at(-1);
    slot.sums = shares.map((share, number) => share + (slot.sums[number] ?? 0));
    slot.count++;
  }

  /** Mean share of each class and the seconds it is of, or null if nothing was judged. */
  mean(now) {
    const judged = this.#slots.filter(({ at, count }) => count && at > now - MINUTE);
    if (!judged.length) return null;
    const faces = judged.reduce((sum, { count }) => sum + count, 0);
    const shares = judged[0].sums.map((_, number) => judged.reduce((sum, { sums }) => sum + sums[number], 0) / faces);
    return { seconds: Math.ceil((now - judged[0].at) / 1000), shares };
  }

  /** ago: gives the words for a moment so many seconds ago. */
  draw(canvas, now, classes, ago) {
    const ratio = window.devicePixelRatio;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    const size = [Math.round(width * ratio), Math.round(height * ratio)];
    if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
    const context = canvas.getContext("2d");
    const style = getComputedStyle(canvas);
    const [left, right, top, bottom] = [40, width - 6, 8, height - 20];
    const x = (at) => left + (1 - (now - at) / MINUTE) * (right - left);
    const y = (share) => top + (1 - share) * (bottom - top);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.setLineDash([]);
    context.font = `12px ${style.fontFamily}`;
    context.fillStyle = style.color;
    context.strokeStyle = style.getPropertyValue("--line");
    context.lineWidth = 1;
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const share of [0, 0.5, 1]) {
      context.fillText(`${share * 100}%`, left - 6, y(share));
      context.beginPath();
      context.moveTo(left, y(share));
      context.lineTo(right, y(share));
      context.stroke();
    }
    context.textBaseline = "bottom";
    for (const seconds of [60, 30, 0]) {
      context.textAlign = seconds === 60 ? "left" : seconds ? "center" : "right";
      context.fillText(ago(seconds), x(now - seconds * 1000), height);
    }
    context.lineWidth = 2;
    for (let number = 0; number < classes; number++) {
      context.strokeStyle = style.getPropertyValue(`--class-${number % DASHES.length}`);
      context.setLineDash(DASHES[number % DASHES.length]);
      context.beginPath();
      let before = -Infinity;
      for (const { at, sums, count } of this.#slots) {
        if (!count || at < now - MINUTE) continue;
        if (at - before < 1500) context.lineTo(x(at), y(sums[number] / count));
        else context.moveTo(x(at), y(sums[number] / count));
        before = at;
      }
      context.stroke();
    }
  }
}
