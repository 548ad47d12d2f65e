// Loaded by node before Spotlight (`--require`). Spotlight has no option for the address that it listens on, so this one decides it:
// every server of the process listens on 127.0.0.1, and every connection (TCP, TLS or HTTP) that would leave this machine fails, as do
// the look-ups of names that Spotlight makes.
"use strict";

const dns = require("node:dns");
const module_ = require("node:module");
const net = require("node:net");

const LOOPBACK = "127.0.0.1";
const LOCAL = new Set([LOOPBACK, "localhost", "::1"]);

function refusal(host) {
  const error = new Error(`refused: ${host} is not this machine`);
  error.code = "ECONNREFUSED";
  return error;
}

// `listen(port, ...)`, `listen(options, ...)`, `listen()`: only the host changes. A path (a socket file) is not reached from outside.
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (...args) {
  const [first, ...rest] = args;
  const others = rest.filter((arg) => typeof arg !== "string");
  if (first === undefined || first === null) {
    return listen.call(this, 0, LOOPBACK, ...others);
  }
  if (typeof first === "function") {
    return listen.call(this, 0, LOOPBACK, first);
  }
  if (typeof first === "number" || (typeof first === "string" && /^\d+$/.test(first))) {
    return listen.call(this, Number(first), LOOPBACK, ...others);
  }
  if (first && typeof first === "object" && "port" in first) {
    return listen.call(this, { ...first, host: LOOPBACK }, ...rest);
  }
  return listen.apply(this, args);
};

const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...args) {
  // node passes its own calls as one list of [options, callback].
  const given = Array.isArray(args[0]) ? args[0] : args;
  const [first, second] = given;
  const isPort = typeof first !== "object" || first === null;
  const host = isPort ? (typeof second === "string" ? second : "localhost") : (first.host ?? "localhost");
  const isFile = isPort ? typeof first === "string" && !/^\d+$/.test(first) : Boolean(first.path);
  if (!isFile && !LOCAL.has(host)) {
    process.nextTick(() => this.destroy(refusal(host)));
    return this;
  }
  return connect.apply(this, args);
};

// Spotlight looks up the host of a request's origin.
for (const name of ["resolve4", "resolve6"]) {
  dns.promises[name] = async (host) => {
    throw refusal(host);
  };
}
const lookup = dns.promises.lookup;
dns.promises.lookup = async (host, ...rest) => {
  if (!LOCAL.has(host)) {
    throw refusal(host);
  }
  return lookup.call(dns.promises, host, ...rest);
};

module_.syncBuiltinESMExports();
