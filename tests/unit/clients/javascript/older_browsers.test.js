// The JavaScript client in browsers that are some years old. tests/browser runs its table without the newer APIs, too.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import "../../../support/older_browsers.js";
import { ChatClient } from "../../../../clients/javascript/index.js";

delete URL.parse;
const CLIENT = new URL("../../../../clients/javascript/", import.meta.url);
/** Syntax that Safari 16.0 cannot parse: class static blocks, lookbehind, import attributes, the flag v. */
const NEWER = [/\bstatic\s*\{/, /\(\?<[=!]/, /\bfrom\s*"[^"]*"\s*with\b/, /\/[dgimsuy]*v[dgimsuy]*[;,.)\s]/];

test("a client is made and connects without newer APIs", async () => {
  class Greeting {
    constructor() {
      queueMicrotask(() => this.onmessage({ data: '{"type":"hello","payload":{"me":{"id":"a","username":"A"}}}' }));
    }
    send() {}
    close() {}
  }
  const chat = new ChatClient("ws://localhost:8082/", { WebSocket: Greeting });
  await chat.connect();
  assert.equal(chat.me?.id, "a");
  chat.close();
});

for (const url of ["http://localhost/", "localhost:8082", "ws://", ""])
  test(`what is no WebSocket URL is refused without newer APIs: ${url}`, () => {
    assert.throws(() => new ChatClient(url, { WebSocket: class {} }), { name: "TypeError", message: /is no WebSocket URL/ });
  });

test("the client has no newer syntax", () => {
  const files = ["index.js", ...readdirSync(new URL("client/", CLIENT)).map((file) => `client/${file}`)];
  for (const file of files)
    for (const newer of NEWER) assert.doesNotMatch(readFileSync(new URL(file, CLIENT), "utf8"), newer, file);
});
