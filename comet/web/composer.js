/** The message box: grows with its text, sends on Enter, and keeps a draft a room. */

import { by } from "./dom.js";

/** @typedef {import("./room.js").Room} Room */

export class Composer {
  /** @type {Room | null} */
  #room = null;
  #text = by("text");

  /** @param {(room: Room, content: string) => void} send */
  constructor(send) {
    this.send = send;
    by("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#text.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    });
    this.#text.addEventListener("input", () => this.#changed());
  }

  /** @param {Room | null} room */
  open(room) {
    this.#room = room;
    by("composer").hidden = !room;
    this.#text.value = room?.draft ?? "";
    this.#text.placeholder = room ? `Message #${room.id}` : "";
    this.#text.setAttribute("aria-label", this.#text.placeholder);
    this.#changed();
    this.focus();
  }

  /** Write on here; not where that would bring a keyboard onto the screen. */
  focus() {
    if (matchMedia("(pointer: fine)").matches) this.#text.focus();
  }

  #changed() {
    const text = this.#text;
    if (this.#room) this.#room.draft = text.value;
    by("send").disabled = text.value.trim() === "";
    if (CSS.supports("field-sizing", "content")) return;
    text.style.height = "auto";
    text.style.height = `${text.scrollHeight + 2}px`;
  }

  #submit() {
    const content = this.#text.value.trim();
    if (!this.#room || content === "") return;
    this.#text.value = "";
    this.#changed();
    this.send(this.#room, content);
    this.#text.focus();
  }
}
