/** @typedef {{ promise: Promise<any>, resolve(answer: any): void, reject(fault: Error): void }} Promised */

/** @returns {Promised} a promise that is answered elsewhere; nobody has to be waiting for it */
export function promised() {
  /** @type {any} */
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  made.promise.catch(() => {});
  return made;
}
