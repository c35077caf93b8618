"""What is evaluated in a Node process: a few lines, for Node 12 and later, that keep their state there.

The state hangs on `process` under a symbol: a sampling heap profile must run from one capture to the next,
which a session of ours cannot do (it ends with the connection), a session of the program itself can.
"""

from __future__ import annotations

_LOAD = """
const load = (name) => process.getBuiltinModule ? process.getBuiltinModule(name) : require(name);
"""
_MINE = """
const mine = process[Symbol.for('leakwatch')] || {};
Object.defineProperty(process, Symbol.for('leakwatch'), {value: mine, configurable: true});
"""

SAMPLING_INTERVAL_BYTES = 524_288
"""Of a sample: V8's own default (v8-profiler.h, StartSamplingHeapProfiler)."""

CLOSE = "void setTimeout(() => process._debugEnd ? process._debugEnd() : require('inspector').close(), 0)"
"""After the answer has gone out; both hold the program until everybody has disconnected."""

START_SAMPLING = f"""(() => {{{_MINE}{_LOAD}
if (!mine.session) {{
  const {{Session}} = load('inspector');
  const session = new Session();
  session.connect();
  let others = true, failed = null;
  session.post('HeapProfiler.getSamplingProfile', (error) => {{ others = !error; }});
  if (!others) session.post('HeapProfiler.startSampling',
    {{samplingInterval: {SAMPLING_INTERVAL_BYTES}}}, (error) => {{ failed = error; }});
  if (failed) {{ session.disconnect(); return {{why: String(failed.message)}}; }}
  mine.session = session;
  mine.since_ms = others ? null : Date.now();
}}
return {{since_ms: mine.since_ms}};
}})()"""
"""V8 has one such profile only: where somebody else has begun it, it is read and left alone."""

READ_SAMPLING = """(() => {
const mine = process[Symbol.for('leakwatch')];
if (!mine || !mine.session) return null;
let told = null;
mine.session.post('HeapProfiler.getSamplingProfile', (error, result) => { told = result; });
return told && {since_ms: mine.since_ms, now_ms: Date.now(), head: told.profile.head};
})()"""

MEMORY = f"""(() => {{{_LOAD}
const v8 = load('v8'), resources = {{}};
for (const one of process.getActiveResourcesInfo ? process.getActiveResourcesInfo() : [])
  resources[one] = (resources[one] || 0) + 1;
return {{version: process.version, memory: process.memoryUsage(), heap: v8.getHeapStatistics(),
  spaces: v8.getHeapSpaceStatistics(), resources}};
}})()"""


def opened(*, now: bool) -> str:
    """Return what tells whether the inspector was opened by us, now or by a capture that came to no end."""
    note = "mine.opened = true;" if now else ""
    return f"(() => {{{_MINE}{note} return Boolean(mine.opened); }})()"
