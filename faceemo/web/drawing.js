// The mesh over the face and the time line of the last minute.

const DASHES = [[], [6, 3], [2, 3], [9, 3, 2, 3], [4, 2], [12, 4], [1, 2]];
export const MINUTE = 60_000;

/** Class colour `number` as the style sheet has it, for light or dark. */
export function colorOf(number) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--class-${number % 7}`);
}

/** Draw landmarks [[x, y], …] of a picture of width x height as a mesh of edges; nothing for null. */
export function drawMesh(canvas, landmarks, edges, width, height) {
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, width, height);
  if (!landmarks) return;
  context.beginPath();
  for (const [from, to] of edges) {
    context.moveTo(landmarks[from][0], landmarks[from][1]);
    context.lineTo(landmarks[to][0], landmarks[to][1]);
  }
  context.lineWidth = Math.max(0.7, Math.min(width, height) / 700);
  context.strokeStyle = "rgba(120, 225, 255, 0.6)";
  context.stroke();
}

/** Probabilities over the last minute. */
export class Timeline {
  #points = []; // {at: ms, shares: [classes] or null where no face was found}

  add(at, shares) {
    this.#points.push({ at, shares });
    while (this.#points[0].at < at - MINUTE) this.#points.shift();
  }

  /** Mean share of each class and the seconds it is of, or null if nothing was judged. */
  mean(now) {
    const judged = this.#points.filter((point) => point.shares && point.at > now - MINUTE);
    if (!judged.length) return null;
    const sums = judged[0].shares.map((_, number) => judged.reduce((sum, { shares }) => sum + shares[number], 0));
    return { seconds: Math.ceil((now - judged[0].at) / 1000), shares: sums.map((sum) => sum / judged.length) };
  }

  draw(canvas, now, classes) {
    const ratio = window.devicePixelRatio;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const [left, bottom] = [38, height - 20];
    const x = (at) => left + (1 - (now - at) / MINUTE) * (width - left - 6);
    const y = (share) => 8 + (1 - share) * (bottom - 8);
    const style = getComputedStyle(canvas);
    context.font = `12px ${style.fontFamily}`;
    context.fillStyle = style.color;
    context.strokeStyle = style.getPropertyValue("--line");
    context.lineWidth = 1;
    context.setLineDash([]);
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const share of [0, 0.5, 1]) {
      context.fillText(`${share * 100}%`, left - 6, y(share));
      context.beginPath();
      context.moveTo(left, y(share));
      context.lineTo(width - 6, y(share));
      context.stroke();
    }
    context.textBaseline = "bottom";
    for (const seconds of [60, 30, 0]) {
      context.textAlign = seconds === 60 ? "left" : seconds ? "center" : "right";
      context.fillText(seconds ? `-${seconds} s` : "0 s", x(now - seconds * 1000), height);
    }
    classes.forEach((_, number) => {
      context.strokeStyle = colorOf(number);
      context.lineWidth = 2;
      context.setLineDash(DASHES[number % DASHES.length]);
      context.beginPath();
      let before = null;
      for (const { at, shares } of this.#points) {
        if (shares && at > now - MINUTE) {
          if (before !== null && at - before < 1500) context.lineTo(x(at), y(shares[number]));
          else context.moveTo(x(at), y(shares[number]));
          before = at;
        } else before = null;
      }
      context.stroke();
    });
  }
}
