// The WebSocket class that the JavaScript client takes.
import assert from "node:assert/strict";
import { createServer } from "node:net";
import { afterEach, test } from "node:test";
import { ChatClient } from "../../../../clients/javascript/index.js";

const global = Object.getOwnPropertyDescriptor(globalThis, "WebSocket");
const URL = "ws://localhost:8082/";

/** A class whose connections stay silent. */
function silent() {
  return class Silent {
    static urls = [];
    constructor(url) {
      Silent.urls.push(url);
    }
    close() {}
  };
}

/** Start to connect, and close. */
async function connect(options) {
  const chat = new ChatClient(URL, { uid: "a", ...options });
  const connecting = chat.connect();
  chat.close();
  await assert.rejects(connecting, { name: "Disconnected" });
}

/** A class as the package ws: the handshake is refused with the given statuses, one after the other, 0 accepts it. */
function refusing(...statuses) {
  return class Refusing {
    static urls = [];
    constructor(url) {
      Refusing.urls.push(url);
      queueMicrotask(() => this.#answer(statuses.shift()));
    }
    #answer(status) {
      if (!status) {
        this.onmessage({ data: '{"type":"hello","payload":{"me":{"id":"a","username":"A"}}}' });
        return;
      }
      this.onerror({ type: "error", message: `Unexpected server response: ${status}` });
      this.onclose({ type: "close", code: 1006, reason: "" });
    }
    send() {}
    close() {}
  };
}

/** A class as Node's own in versions 20 and 22: a failed attempt fires `error` and no `close`. */
class Unreachable {
  constructor() {
    queueMicrotask(() => this.onerror({ type: "error", message: "Received network error or non-101 status code." }));
  }
  close() {}
}

/** A class whose open connection fires an `error` some time before its `close`, as the package ws. */
class Broken {
  constructor() {
    queueMicrotask(() => {
      this.onopen({ type: "open" });
      this.onerror({ type: "error", message: "Max payload size exceeded" });
      setTimeout(() => this.onclose({ type: "close", code: 1009, reason: "too big" }), 20);
    });
  }
  close() {}
}

const QUICK = { uid: "a", reconnectFirstMs: 1, reconnectCapMs: 2 };

afterEach(() => Object.defineProperty(globalThis, "WebSocket", global));

test("the client connects with the class that it is given, not with the global one", async () => {
  const [own, other] = [silent(), silent()];
  globalThis.WebSocket = other;
  await connect({ WebSocket: own });
  assert.deepEqual([own.urls, other.urls], [[`${URL}?rooms=&uid=a`], []]);
});

for (const options of [{}, { WebSocket: undefined }])
  test(`without a class the client connects with the global one: ${Object.keys(options)}`, async () => {
    globalThis.WebSocket = silent();
    await connect(options);
    assert.deepEqual(globalThis.WebSocket.urls, [`${URL}?rooms=&uid=a`]);
  });

test("without a class and a global one the constructor says what to pass", () => {
  delete globalThis.WebSocket;
  assert.throws(() => new ChatClient(URL), { name: "TypeError", message: /no global WebSocket.* the option WebSocket/ });
});

for (const status of [302, 400, 401, 403, 404, 426, 431])
  test(`a first handshake that is refused with ${status} ends the client with status and URL`, async () => {
    const chat = new ChatClient(`${URL}?token=secret`, { ...QUICK, WebSocket: refusing(status) });
    const reason = `ws://localhost:8082/ refused the WebSocket handshake with HTTP status ${status}`;
    await assert.rejects(chat.connect(), { name: "Disconnected", code: status, reason });
    await assert.rejects(chat.send("r", "hi"), { name: "Disconnected", code: status });
  });

test("a first handshake that is refused because the server is away or busy is tried again", async () => {
  const WebSocket = refusing(408, 429, 500, 502, 503, 504, 0);
  const chat = new ChatClient(URL, { ...QUICK, WebSocket });
  await chat.connect();
  assert.equal(WebSocket.urls.length, 7);
  chat.close();
});

test("a first handshake may be refused by some of the URLs", async () => {
  const chat = new ChatClient([URL, "ws://other/"], { ...QUICK, WebSocket: refusing(404, 0) });
  await chat.connect();
  chat.close();
  const refused = new ChatClient([URL, "ws://other/"], { ...QUICK, WebSocket: refusing(404, 403) });
  await assert.rejects(refused.connect(), { code: 403 });
});

test("a handshake that is refused after the first hello, with any status, is tried again", async () => {
  const WebSocket = refusing(0, 404, 403, 431, 401, 0);
  const chat = new ChatClient(URL, { ...QUICK, WebSocket });
  await chat.connect();
  const reasons = [];
  chat.on("reconnecting", ({ reason }) => reasons.push(reason.slice(-3)));
  const again = new Promise((resolve) => chat.on("connected", resolve));
  chat.drop();
  await again;
  assert.deepEqual(reasons.slice(1), ["404", "403", "431", "401"]);
  chat.close();
});

test("a failed attempt without a `close` is tried again after the backoff's wait", async () => {
  const chat = new ChatClient(URL, { ...QUICK, WebSocket: Unreachable });
  const failures = [];
  const third = new Promise((resolve) =>
    chat.on("reconnecting", ({ code, reason }) => failures.push([code, reason]) === 3 && resolve()));
  const connecting = chat.connect();
  await third;
  chat.close();
  await assert.rejects(connecting, { name: "Disconnected" });
  assert.deepEqual(failures, [[1006, ""], [1006, ""], [1006, ""]]);
});

test("an open connection's error waits for the `close`, which tells the code", async () => {
  const chat = new ChatClient(URL, { ...QUICK, WebSocket: Broken });
  await assert.rejects(chat.connect(), { name: "Disconnected", code: 1009, reason: "too big" });
});

test("Node's own class reports an unreachable port at once", { skip: global === undefined }, async () => {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  const chat = new ChatClient(`ws://127.0.0.1:${port}/`, QUICK);
  const failed = new Promise((resolve) => chat.on("reconnecting", resolve));
  const connecting = chat.connect();
  assert.equal((await failed).reason, "");
  chat.close();
  await assert.rejects(connecting, { name: "Disconnected" });
});
