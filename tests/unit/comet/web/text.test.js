// The parts of a message's text: links, code, and all else as text.
import assert from "node:assert/strict";
import { test } from "node:test";
import { partsOf } from "../../../../comet/web/text.js";

const short = (text) => partsOf(text).map((one) => (one.kind === "text" ? one.text : [one.kind, one.text]));
const link = (text) => ["link", text];

const LINKS = [
  ["plain", ["plain"]],
  ["see https://a.example/b?c=d#e now", ["see ", link("https://a.example/b?c=d#e"), " now"]],
  ["http://a.example.", [link("http://a.example"), "."]],
  ["Is it http://a.example/x?!", ["Is it ", link("http://a.example/x"), "?!"]],
  ["(http://a.example/x)", ["(", link("http://a.example/x"), ")"]],
  ["(see http://a.example/x_(y).)", ["(see ", link("http://a.example/x_(y)"), ".)"]],
  ["[http://a.example/]", ["[", link("http://a.example/"), "]"]],
  ["'http://a.example/',", ["'", link("http://a.example/"), "',"]],
  ["<http://a.example>", ["<", link("http://a.example"), ">"]],
  ["HTTPS://A.example", [link("HTTPS://A.example")]],
  ["mailto:a@b.example, ok", [link("mailto:a@b.example"), ", ok"]],
  ["http://a.example http://b.example", [link("http://a.example"), " ", link("http://b.example")]],
  ["http://a.example/\u202egnp.exe", [link("http://a.example/"), "\u202egnp.exe"]],
  ["http://ä.example/ü", [link("http://ä.example/ü")]],
  ["xhttp://a.example", ["xhttp://a.example"]],
  ["http://", ["http://"]],
  ["mailto:", ["mailto:"]],
  ["mailto:nobody", ["mailto:nobody"]],
  ["javascript:alert(1)", ["javascript:alert(1)"]],
  ["javascript:http://a.example", ["javascript:", link("http://a.example")]],
  ["data:text/html,<script>alert(1)</script>", ["data:text/html,<script>alert(1)</script>"]],
  ["vbscript:x file:///etc/passwd ftp://a.example", ["vbscript:x file:///etc/passwd ftp://a.example"]],
  ["http://javascript:alert(1)", ["http://javascript:alert(1)"]],
  ["https://[::1", ["https://[::1"]],
];
for (const [text, parts] of LINKS)
  test(`links: ${text}`, () => assert.deepEqual(short(text), parts));

const CODE = [
  ["a `b` c", ["a ", ["code", "b"], " c"]],
  ["`http://a.example`", [["code", "http://a.example"]]],
  ["``a ` b``", [["code", "a ` b"]]],
  ["```one line```", [["code", "one line"]]],
  ["a ` b", ["a ` b"]],
  ["a `b\nc` d", ["a `b\nc` d"]],
  ["a `` b ` c", ["a `` b ` c"]],
  ["```\na\n  b\n```", [["block", "a\n  b"]]],
  ["```js\nlet a = `b`; // http://a.example\n```\nend", [["block", "let a = `b`; // http://a.example"], "end"]],
  ["begin\n```\na```", ["begin", ["block", "a"]]],
  ["```\nopen `b`", ["```\nopen ", ["code", "b"]]],
  ["a ```\nb\n```", ["a ```\nb\n```"]],
  ["```\n<b>`x`</b>\n```", [["block", "<b>`x`</b>"]]],
];
for (const [text, parts] of CODE)
  test(`code: ${text}`, () => assert.deepEqual(short(text), parts));

test("a link leads where its text says, by http, https or mailto only", () => {
  const found = partsOf("https://a.example/%22 http://b.example/ä mailto:c@d.example").filter((one) => one.kind === "link");
  assert.deepEqual(found.map((one) => one.href), ["https://a.example/%22", "http://b.example/%C3%A4", "mailto:c@d.example"]);
});

const SIZE = 100_000;
const HOSTILE = {
  backticks: "`".repeat(SIZE),
  "runs of growing length": Array.from({ length: 440 }, (_, i) => "`".repeat(i + 1)).join(" "),
  "backticks and blanks": "` ".repeat(SIZE / 2),
  fences: "```\n".repeat(SIZE / 4),
  "fences of languages": "```js\n`".repeat(SIZE / 7),
  "lines of two backticks": "`` `\n".repeat(SIZE / 5),
  "schemes without an end": "http://".repeat(SIZE / 7),
  "mail schemes": "mailto:".repeat(SIZE / 7),
  "links that lead nowhere": "http://a:b ".repeat(SIZE / 11),
  links: "http://a.example ".repeat(SIZE / 17),
  "brackets behind a link": `http://a.example/${")".repeat(SIZE)}`,
  "brackets in a link": `http://a.example/${"()".repeat(SIZE / 2)}`,
  punctuation: `http://a.example/${".".repeat(SIZE)}`,
  "line ends": "\n".repeat(SIZE),
};
for (const [name, text] of Object.entries(HOSTILE))
  test(`${SIZE / 1000} KB take no longer than their length: ${name}`, () => {
    const began = performance.now();
    const parts = partsOf(text);
    assert.ok(performance.now() - began < 1000, `${performance.now() - began} ms`);
    assert.ok(parts.map((one) => one.text).join("").length <= text.length);
  });
