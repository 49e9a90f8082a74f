/** Types of the ChatRoom client. `tsc` checks index.js against this file. */

/** A position in a room's log: that of the last message taken. */
export interface Position {
  readonly epoch: number;
  readonly seq: number;
}

export interface User {
  readonly id: string;
  readonly username: string;
}

/** The server's confirmation that a message is stored. */
export interface Ack {
  readonly ref: string;
  readonly room: string;
  readonly epoch: number;
  readonly seq: number;
  readonly id: string;
  /** Milliseconds since 1970 by the server's clock. */
  readonly timestamp: number;
}

/** A joined room, and the number of users online. */
export interface Joined {
  readonly room: string;
  /** The position behind the last message taken. */
  readonly position: Position;
  /** The end of the room's log at the latest join. The messages between `position` and `tail` follow as events. */
  readonly tail: Position;
  readonly online: number;
}

/** A message. Each one comes once and in seq order. A `hole` event announces every gap. */
export interface Message {
  readonly type: "message";
  readonly room: string;
  /** 0, like `seq`, for a message that another system pushed: it has no place in the log. */
  readonly epoch: number;
  readonly seq: number;
  readonly id: string;
  /** Text, never HTML. */
  readonly content: string;
  /** Milliseconds since 1970 by the server's clock. */
  readonly timestamp: number;
  readonly user: User;
  /** The message is older than the client's first join of the room: it belongs to the history. */
  readonly recent: boolean;
}

/** A page of a room's history, oldest message first. */
export interface HistoryPage {
  readonly messages: Message[];
  /** The room has messages older than this page. */
  readonly hasMore: boolean;
}

/** The events by type, as `ChatClient.on` takes them. */
export interface Events {
  message: Message;
  /** The server no longer has the messages between `after` and the room's next message. */
  hole: { readonly type: "hole"; readonly room: string; readonly after: Position; readonly why: "lost" };
  /** The users of a watched room. */
  presence: { readonly type: "presence"; readonly room: string; readonly online: number; readonly users: User[] };
  /** A text without a frame, pushed by an operator or a backend. */
  system: { readonly type: "system"; readonly text: string };
  /** The room is live: no message is missing. */
  joined: { readonly type: "joined" } & Joined;
  /** The server refuses to let this client back into the room. */
  removed: { readonly type: "removed"; readonly room: string; readonly reason: string };
  connecting: { readonly type: "connecting" };
  /** The missed messages follow, room by room. */
  connected: { readonly type: "connected"; readonly node: string; readonly user: User };
  reconnecting: {
    readonly type: "reconnecting";
    readonly code: number;
    readonly reason: string;
    /** Milliseconds until the next attempt. */
    readonly waitMs: number;
  };
  /** The client is closed for good. */
  closed: { readonly type: "closed"; readonly code: number; readonly reason: string };
}

/** The part of a WebSocket that the client uses. */
export interface Socket {
  onopen?: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(text: string): void;
  close(): void;
}

export interface Options {
  /** Name of a guest. */
  name?: string | undefined;
  /** Id of a guest. Default: a random one, kept over reconnects. */
  uid?: string | undefined;
  /** A JWT, where the server requires one. The client puts it into the URL, because browsers cannot set headers. */
  token?: string | undefined;
  /** The rooms to join on connecting. */
  rooms?: readonly string[] | undefined;
  /** The WebSocket class. Default: the global one, which Node has from version 22 on. */
  WebSocket?: (new (url: string) => Socket) | undefined;
  /** The time for one attempt: connection, handshake and hello. Default: 10,000. */
  openTimeoutMs?: number;
  /** The time between two pings, and for the answer to one. Default: 20,000. */
  pingMs?: number;
  /** The bound of the first wait before a reconnect. It doubles up to `reconnectCapMs`. Default: 500. */
  reconnectFirstMs?: number;
  /** Default: 10,000. */
  reconnectCapMs?: number;
  /** The time for an answer to a send (from its first attempt on), a join, a leave or a history request. Default: 240,000. */
  ackTimeoutMs?: number;
  /** The number of messages sent and not yet acked. Further sends wait. Default: 1000. */
  unackedLimit?: number;
}

/** The server refused a request for good, or did not answer in time. `code` is the protocol's, or "timeout". */
export class ChatError extends Error {
  constructor(code: string, message: string);
  readonly code: string;
}

/**
 * A message was sent and no ack came in time: it may or may not be stored. The client does not send it again, because the
 * server may no longer know its `ref` and would store it twice.
 */
export class OutcomeUnknown extends ChatError {
  constructor(ref: string);
  readonly code: "unknown";
  readonly ref: string;
}

/**
 * The connection is closed for good. `code` is the WebSocket close code, 1000 after `close()`. Where the WebSocket class
 * tells the HTTP status of a refused handshake, as the package ws does, it is that status for a first handshake.
 */
export class Disconnected extends Error {
  constructor(code: number, reason: string);
  readonly code: number;
  readonly reason: string;
}

/** One user's client. */
export class ChatClient {
  /**
   * Each new connection goes to the next URL. Throws TypeError for a URL that is not `ws:` or `wss:`, and where there
   * is neither a global WebSocket nor the option of that name.
   */
  constructor(url: string | readonly string[], options?: Options);

  /** The user, as the server named it in the first hello. */
  readonly me: User | null;

  /**
   * Connect and join the first rooms. Wait for a server that is unreachable. Rejects with Disconnected when the server
   * refuses this client, or refuses the handshake with a status other than 408, 429, 500, 502, 503 and 504 (browsers hide
   * the status, so there the client retries). Rejects also with the errors of `join`. The client is closed then.
   */
  connect(): Promise<void>;

  /** Close for good. Pending requests reject with Disconnected. A second call does nothing. */
  close(): void;

  /** Reconnect now, not at the end of the wait. Does nothing while connected. */
  retryNow(): void;

  /** Drop the connection as a network failure does, for tests. The client reconnects. */
  drop(): void;

  /** Call a listener for each event of a type, in order. Returns a function that removes the listener. */
  on<T extends keyof Events>(type: T, listener: (event: Events[T]) => void): () => void;

  /** The connection is open, as far as the client knows. */
  readonly connected: boolean;

  /** The number of messages without an ack. */
  readonly unacked: number;

  /** The position of each joined room, which `join` accepts as `since`. */
  readonly rooms: Map<string, Position>;

  /** Return whether a room is joined now and no message is missing. */
  isLive(room: string): boolean;

  /**
   * Join a room and follow it, from `since` on if given. Rejects with ChatError when the server refuses it, or when the
   * room is not live within `ackTimeoutMs` (the client still joins it as soon as the server can). Rejects with
   * Disconnected when the client is closed.
   */
  join(room: string, since?: Position): Promise<Joined>;

  /**
   * Leave a room after the acks of all messages to it, unless it was joined again meanwhile. Rejects with ChatError when
   * the server refuses it for good or does not answer in time.
   */
  leave(room: string): Promise<void>;

  /** Start or stop the `presence` events of a joined room. Throws ChatError for a room that is not joined. */
  watch(room: string, on?: boolean): void;

  /**
   * Return messages of a room: those before the message id `before`, or the newest. The client repeats the request on
   * each new connection. Rejects with ChatError when the server refuses it for good or does not answer in time, and with
   * Disconnected when the client is closed.
   */
  history(room: string, which?: { before?: string | undefined; limit?: number | undefined }): Promise<HistoryPage>;

  /**
   * Send a message, after joining the room if necessary. Resolves when the message is stored. It is stored once, however
   * often the client sends it. A second send with the same `ref` within 4 minutes stores nothing either. Of several
   * sends at a time, one that the server refused for the moment may be stored behind later ones: await each send where
   * the order matters.
   *
   * Any number of sends may be pending: they go at the pace that the server allows, in the order of the calls. Waiting
   * for its turn costs a message nothing, while others are acked.
   *
   * Rejects with OutcomeUnknown without an ack within `ackTimeoutMs` of the first attempt, and when the client would have
   * to repeat the message after the server may have forgotten its ref. Rejects with ChatError "timeout" when nothing could
   * be sent for `ackTimeoutMs` (the message is not stored), with ChatError for a refusal, and with Disconnected.
   */
  send(room: string, content: string, options?: { ref?: string | undefined }): Promise<Ack>;
}
