/**
 * The errors that the client throws.
 *
 * @import * as declared from "../index.js"
 */

/** @implements {declared.ChatError} */
export class ChatError extends Error {
  /** @param {string} code @param {string} message */
  constructor(code, message) {
    super(message);
    this.name = "ChatError";
    this.code = code;
  }
}

/** @implements {declared.OutcomeUnknown} */
export class OutcomeUnknown extends ChatError {
  /** @type {"unknown"} */
  code = "unknown";

  /** @param {string} ref */
  constructor(ref) {
    super("unknown", "no answer came in time: the message may or may not be stored");
    this.name = "OutcomeUnknown";
    this.ref = ref;
  }
}

/** @implements {declared.Disconnected} */
export class Disconnected extends Error {
  /** @param {number} code @param {string} reason */
  constructor(code, reason) {
    super(`disconnected for good: ${code} ${reason}`.trimEnd());
    this.name = "Disconnected";
    this.code = code;
    this.reason = reason;
  }
}
