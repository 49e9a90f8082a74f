/** The server refuses something for good, or did not answer in time. `code` is the protocol's, or "timeout". */
export class ChatError extends Error {
  /** @param {string} code @param {string} message */
  constructor(code, message) {
    super(message);
    this.name = "ChatError";
    this.code = code;
  }
}

/** The connection is gone for good: `code` is the WebSocket close code, 1000 if its owner closed it. */
export class Disconnected extends Error {
  /** @param {number} code @param {string} reason */
  constructor(code, reason) {
    super(`disconnected for good: ${code} ${reason}`.trimEnd());
    this.name = "Disconnected";
    this.code = code;
    this.reason = reason;
  }
}
