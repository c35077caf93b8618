"""How the page looks: light and dark by the reader's choice, on a phone, on a desk and on paper."""

from __future__ import annotations

import base64
import hashlib

CSS = """
:root { color-scheme: light dark;
  --paper: #f6f7f9; --card: #ffffff; --line: #dfe3e8; --text: #1c2128; --faint: #5b6572;
  --seen: #1a66c2; --below: #1a66c21a; --fit: #c2570c; --cone: #c2570c26; --limit: #c5221f;
  --critical: #c5221f; --warning: #b25c00; --calm: #1a7f4b; --code: #f0f2f5; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #0f1216; --card: #171b21; --line: #2b323b; --text: #e4e8ed; --faint: #97a1ad;
  --seen: #6cb0ff; --below: #6cb0ff1f; --fit: #f0a050; --cone: #f0a05026; --limit: #ff7b72;
  --critical: #ff7b72; --warning: #e8b04a; --calm: #5fd394; --code: #1f252d; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 1.25rem 1rem 3rem; }
header { border-left: 5px solid var(--faint); padding: .1rem 0 .1rem 1rem; margin-bottom: 1.25rem; }
header.critical { border-color: var(--critical); } header.warning { border-color: var(--warning); }
header.calm { border-color: var(--calm); }
h1 { font-size: 1.45rem; line-height: 1.25; margin: .15rem 0 .35rem; overflow-wrap: anywhere; }
h2 { font-size: 1.02rem; margin: 0 0 .6rem; }
p { margin: 0 0 .6rem; } p:last-child { margin-bottom: 0; }
.badge { font-size: .74rem; font-weight: 650; letter-spacing: .06em; text-transform: uppercase; }
.critical .badge { color: var(--critical); } .warning .badge { color: var(--warning); }
.calm .badge { color: var(--calm); }
.faint { color: var(--faint); font-size: .9rem; overflow-wrap: anywhere; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 1rem 1.1rem; margin-bottom: 1rem; }
.tiles { display: grid; gap: .75rem; grid-template-columns: repeat(4, 1fr); margin-bottom: 1rem; }
.tiles div { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: .7rem .85rem; min-width: 0; }
.tiles span { display: block; } .tiles .label { color: var(--faint); font-size: .8rem; }
.tiles .value { font-size: 1.3rem; font-weight: 650; line-height: 1.3; overflow-wrap: anywhere; }
.tiles .more { color: var(--faint); font-size: .8rem; overflow-wrap: anywhere; }
.two { display: grid; gap: 0 1rem; grid-template-columns: 1fr 1fr; }
ul { list-style: none; margin: 0; padding: 0; }
li { padding: .4rem 0; border-top: 1px solid var(--line); overflow-wrap: anywhere; }
li:first-child { border-top: 0; padding-top: 0; } li:last-child { padding-bottom: 0; }
.found li { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .88rem; }
.found b { display: block; font: 600 .8rem system-ui, sans-serif; color: var(--faint); }
.for::before { content: "for"; color: var(--fit); font-weight: 650; font-size: .85rem; }
.against::before { content: "against"; color: var(--calm); font-weight: 650; font-size: .85rem; }
.for, .against { display: grid; grid-template-columns: 4.6rem 1fr; }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; font-weight: 500; color: var(--faint); width: 12.5rem; padding: .3rem 1rem .3rem 0;
  vertical-align: top; }
td { padding: .3rem 0; overflow-wrap: anywhere; vertical-align: top; }
tr + tr th, tr + tr td { border-top: 1px solid var(--line); }
code, pre { font: .86rem/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
  background: var(--code); border-radius: 6px; }
code { padding: .1rem .35rem; overflow-wrap: anywhere; }
pre { margin: .5rem 0 0; padding: .75rem; overflow: auto; max-height: 30rem; }
a { color: var(--seen); } summary { cursor: pointer; padding: .25rem 0; }
svg { display: block; width: 100%; height: auto; } svg.narrow { display: none; }
svg text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif; fill: var(--faint);
  paint-order: stroke; stroke: var(--card); stroke-width: 4px; stroke-linejoin: round; }
svg .grid { stroke: var(--line); } svg .onset { stroke: var(--faint); stroke-dasharray: 4 4; }
svg .area { fill: var(--below); } svg .cone { fill: var(--cone); }
svg .seen { fill: none; stroke: var(--seen); stroke-width: 2.2; stroke-linejoin: round; }
svg .fit, svg .forecast { stroke: var(--fit); stroke-width: 2; }
svg .forecast { stroke-dasharray: 7 5; } svg .limit { stroke: var(--limit); stroke-width: 1.6; }
svg text.of-fit { fill: var(--fit); } svg text.of-limit { fill: var(--limit); }
@media (max-width: 44rem) {
  .tiles { grid-template-columns: 1fr 1fr; } .two { grid-template-columns: 1fr; }
  svg.wide { display: none; } svg.narrow { display: block; }
  th { width: 7.5rem; } h1 { font-size: 1.25rem; } }
@media print { body { background: none; } section, .tiles div { break-inside: avoid; } }
"""

POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; "
    f"style-src 'sha256-{base64.b64encode(hashlib.sha256(CSS.encode()).digest()).decode()}'"
)
"""Nothing is loaded and nothing runs; of styles only these (w3.org/TR/CSP3)."""
