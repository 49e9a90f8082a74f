// The WebSocket class that the JavaScript client takes.
import assert from "node:assert/strict";
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
