// The WebSocket to the local process: frames out, answers in, opened again when it is lost.

const IN_FLIGHT = 2; // one is judged while the next travels
const RETRY_MS = [500, 1000, 2000, 4000];
const NORMAL = 1000; // WebSocket close codes: the server lets an idle page go
const CROWDED = 1013; // "try again later"

export class Live {
  #socket = null;
  #sent = []; // when each unanswered frame was taken
  #failures = 0;
  #resting = false;
  #on;

  /** on: {open(), lost(crowded), frame(answer, milliseconds), message(answer)} */
  constructor(on) {
    this.#on = on;
    this.#open();
  }

  get ready() {
    return this.#socket.readyState === WebSocket.OPEN && this.#sent.length < IN_FLIGHT;
  }

  /** There is something to send again: open the connection if it was let go. */
  wake() {
    if (this.#resting) this.#open();
  }

  sendFrame(blob, takenAt) {
    if (!this.ready) return;
    this.#sent.push(takenAt);
    this.#socket.send(blob);
  }

  sendCommand(command) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(command));
  }

  #open() {
    this.#resting = false;
    this.#socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live`);
    this.#socket.onopen = () => {
      this.#failures = 0;
      this.#on.open();
    };
    this.#socket.onmessage = ({ data }) => {
      const answer = JSON.parse(data);
      if (answer.kind === "frame") this.#on.frame(answer, performance.now() - this.#sent.shift());
      else this.#on.message(answer);
    };
    this.#socket.onclose = ({ code }) => {
      this.#sent = [];
      this.#resting = code === NORMAL;
      if (this.#resting) return;
      this.#on.lost(code === CROWDED);
      setTimeout(() => this.#open(), RETRY_MS[Math.min(this.#failures++, RETRY_MS.length - 1)]);
    };
  }
}
