// The camera, and its frames as JPEGs on their way to the server.

const LONGEST_SIDE = 640;
const QUALITY = 0.8;

/** Show the camera in `video`. Throws the DOMException that getUserMedia gives. */
export async function openCamera(video) {
  if (!navigator.mediaDevices) throw new DOMException("no camera on an insecure page", "NotFoundError");
  const stream = await navigator.mediaDevices.getUserMedia({
    video: { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 }, facingMode: "user" },
    audio: false,
  });
  video.srcObject = stream;
  await video.play();
  return stream;
}

/** Call `onFrame` for every new frame that `video` shows. */
export function eachFrame(video, onFrame) {
  const next = video.requestVideoFrameCallback
    ? () => video.requestVideoFrameCallback(step)
    : () => requestAnimationFrame(step);
  function step() {
    onFrame();
    next();
  }
  next();
}

/** A JPEG (Blob) of what `video` shows, no side longer than LONGEST_SIDE. */
export class Encoder {
  #canvas = document.createElement("canvas");

  encode(video) {
    const scale = Math.min(1, LONGEST_SIDE / Math.max(video.videoWidth, video.videoHeight));
    const [width, height] = [Math.round(video.videoWidth * scale), Math.round(video.videoHeight * scale)];
    if (this.#canvas.width !== width || this.#canvas.height !== height) {
      this.#canvas.width = width;
      this.#canvas.height = height;
    }
    this.#canvas.getContext("2d", { alpha: false, willReadFrequently: true }).drawImage(video, 0, 0, width, height);
    return new Promise((resolve) => this.#canvas.toBlob(resolve, "image/jpeg", QUALITY));
  }
}
