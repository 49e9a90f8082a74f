/** @typedef {{ promise: Promise<any>, resolve(answer: any): void, reject(fault: Error): void }} Promised */

/** Return a promise with its `resolve` and `reject`. Its rejection needs no listener. @returns {Promised} */
export function promised() {
  /** @type {any} */
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  made.promise.catch(() => {});
  return made;
}
