/**
 * The time since an event, measured so that a device that slept in between notices it. The monotonic clock stops while the
 * device sleeps, and the wall clock may be set. The age is the larger of both. It is too small only if the device slept
 * and the wall clock was set back.
 */
export class Age {
  #wall = Date.now();
  #monotonic = performance.now();

  get ms() {
    return Math.max(Date.now() - this.#wall, performance.now() - this.#monotonic);
  }
}
