// The faces of a picture that shows several: numbered on it, the largest first, and a button for each.

import { drawFaces } from "./drawing.js";

export class Faces {
  #list = document.getElementById("faces");
  #canvas = document.getElementById("mesh");
  #mesh;
  #onChoose;
  #answer = null;
  #chosen = 0;

  /** mesh: as drawFaces takes it. onChoose: told of the face whose bars are wanted. */
  constructor(mesh, onChoose) {
    [this.#mesh, this.#onChoose] = [mesh, onChoose];
  }

  /** Show the faces of an answer, none for null; `write` gives the words for a face. */
  show(answer, write) {
    if (!answer && !this.#answer) return;
    [this.#answer, this.#chosen] = [answer, 0];
    this.name(write);
    this.#draw();
  }

  /** Build the buttons anew with these words. */
  name(write) {
    const buttons = (this.#answer?.faces ?? []).map((face, index) => {
      const made = document.createElement("button");
      made.type = "button";
      made.textContent = `${index + 1} ${write(face)}`;
      made.addEventListener("click", () => this.#choose(index));
      return made;
    });
    this.#list.replaceChildren(...buttons);
    this.#list.hidden = !buttons.length;
    this.#press();
  }

  #choose(index) {
    this.#chosen = index;
    this.#press();
    this.#draw();
    this.#onChoose(this.#answer.faces[index]);
  }

  #press() {
    for (const [index, button] of [...this.#list.children].entries()) {
      button.setAttribute("aria-pressed", index === this.#chosen);
    }
  }

  #draw() {
    if (this.#answer) drawFaces(this.#canvas, this.#answer, this.#chosen, this.#mesh);
  }
}
