// A small session server with a bug: every session's closure, and the buffer it holds, is kept for ever.
// Its visitors are made up, so that it leaks by itself: so many megabytes a second, told as the only argument.
'use strict';

const UPLOAD_BYTES = 64 * 1024;
const sessionsPerSecond = (Number(process.argv[2]) * 1e6) / UPLOAD_BYTES;
const templates = Buffer.alloc(60e6, '.');
const sessions = [];
const opened = process.hrtime.bigint();

function openSession(number) {
  const upload = Buffer.alloc(UPLOAD_BYTES, 'x');
  sessions.push(() => `session ${number} with ${upload.length} of ${templates.length}`);
}

setInterval(() => {
  const openForS = Number(process.hrtime.bigint() - opened) / 1e9;
  while (sessions.length < openForS * sessionsPerSecond) {
    openSession(sessions.length);
  }
}, 20);
