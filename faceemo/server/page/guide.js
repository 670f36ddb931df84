// What leads to the neutral face: an outline to look into, a button, and a countdown.

const SECONDS = 3;

export class Guide {
  #panel = document.getElementById("guide");
  #text = document.getElementById("guide-text");
  #button = document.getElementById("give");
  #timer = null;

  /** onStart: what the button in the outline does. */
  constructor(onStart) {
    this.#button.addEventListener("click", onStart);
  }

  get counting() {
    return this.#timer !== null;
  }

  /** Ask for the neutral face. */
  ask(text, button) {
    this.#show(text);
    this.#button.textContent = button;
    this.#button.hidden = false;
  }

  /** Count the seconds down, then call `done`. */
  count(done, left = SECONDS) {
    this.#show(String(left));
    this.#panel.classList.add("counting");
    this.#timer = setTimeout(() => {
      this.#timer = null;
      if (left > 1) this.count(done, left - 1);
      else done();
    }, 1000);
  }

  hold(text) {
    this.#show(text);
  }

  hide() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#panel.hidden = true;
  }

  #show(text) {
    this.#panel.hidden = false;
    this.#panel.classList.remove("counting");
    this.#button.hidden = true;
    this.#text.textContent = text;
  }
}
