/**
 * The page's memory in the browser: one JSON object in localStorage for all tabs, one in sessionStorage for a tab. A
 * browser may forbid both, lack them, or have no space left. The page then remembers for the life of the tab. Pure, but
 * for the Storage that it is given.
 */

const KEY = "chatroom";

export class Store {
  #find;
  /** @type {Record<string, any>} the changes that could not be written */
  #unwritten = {};

  /** @param {() => Storage} find  throws where the browser forbids it */
  constructor(find) {
    this.#find = find;
  }

  /** @returns {Record<string, any>} */
  read() {
    return { ...this.#written(), ...this.#unwritten };
  }

  /** @param {Record<string, any>} change */
  write(change) {
    Object.assign(this.#unwritten, change);
    try {
      this.#find().setItem(KEY, JSON.stringify(this.read()));
      this.#unwritten = {};
    } catch {
      return; // forbidden or full: the change is kept here
    }
  }

  #written() {
    try {
      const found = JSON.parse(this.#find().getItem(KEY) ?? "{}");
      return typeof found === "object" && !Array.isArray(found) ? found : {};
    } catch {
      return {}; // forbidden, or not ours
    }
  }
}
