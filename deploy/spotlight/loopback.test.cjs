// Tests of loopback.cjs, by hand: node --test deploy/spotlight/loopback.test.cjs
"use strict";

require("./loopback.cjs");

const assert = require("node:assert");
const dns = require("node:dns");
const http = require("node:http");
const net = require("node:net");
const { test } = require("node:test");

// An address of documentation, which belongs to nobody.
const ELSEWHERE = "192.0.2.1";

const listening = (...args) =>
  new Promise((resolve, reject) => {
    const server = http.createServer((_, answer) => answer.end("here"));
    server.on("error", reject);
    server.on("listening", () => resolve(server));
    server.listen(...args);
  });

test("every server listens on 127.0.0.1", async () => {
  const forms = [[], [0], ["0"], [0, "0.0.0.0"], [0, "::", 5], [undefined, "0.0.0.0"], [{ port: 0 }], [{ port: 0, host: "::" }]];
  for (const form of [...forms, [() => {}], [0, () => {}]]) {
    const server = await listening(...form);
    assert.strictEqual(server.address().address, "127.0.0.1", JSON.stringify(form));
    server.close();
  }
});

test("this machine is reached", async () => {
  const server = await listening(0);
  for (const host of ["127.0.0.1", "localhost"]) {
    const answer = await fetch(`http://${host}:${server.address().port}/`);
    assert.strictEqual(await answer.text(), "here");
  }
  server.closeAllConnections();
  server.close();
});

test("nothing else is reached", async () => {
  const failed = (socket) => new Promise((resolve) => socket.on("error", (error) => resolve(error.message)));
  const refused = `refused: ${ELSEWHERE} is not this machine`;
  assert.strictEqual(await failed(net.connect(80, ELSEWHERE)), refused);
  assert.strictEqual(await failed(net.connect({ port: 80, host: ELSEWHERE })), refused);
  assert.strictEqual(await failed(http.get(`http://${ELSEWHERE}/`)), refused);
  for (const scheme of ["http", "https"]) {
    await assert.rejects(fetch(`${scheme}://${ELSEWHERE}/`), (error) => error.cause.message === refused);
  }
});

test("no other name is looked up", async () => {
  const promises = await import("node:dns/promises");
  for (const name of ["lookup", "resolve4", "resolve6"]) {
    await assert.rejects(dns.promises[name]("example.org"), /is not this machine/);
    await assert.rejects(promises[name]("example.org"), /is not this machine/);
    await assert.rejects(promises.default[name]("example.org"), /is not this machine/);
  }
});
