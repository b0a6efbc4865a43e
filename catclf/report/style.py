"""The report's style sheet: one column, light and dark, phone and paper."""

from __future__ import annotations

from catclf.report.svg import DARK, LIGHT, RULES

CSS = f"""
:root{{{LIGHT};color-scheme:light dark}}
@media (prefers-color-scheme:dark){{:root{{{DARK}}}}}
*{{box-sizing:border-box}}
html{{-webkit-text-size-adjust:100%}}
body{{margin:0;background:var(--page);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif;
font-variant-numeric:tabular-nums}}
main,header,footer{{max-width:62rem;margin:0 auto;padding:0 1.25rem}}
header{{padding-top:3.5rem}}
h1,h2,h3{{line-height:1.2;letter-spacing:-.015em;text-wrap:balance;overflow-wrap:anywhere}}
h1{{font-size:clamp(1.9rem,5vw,2.75rem);font-weight:680;margin:.25rem 0 .75rem}}
h2{{font-size:1.375rem;font-weight:650;margin:0 0 .5rem}}
h3{{font-size:1rem;font-weight:650;margin:0 0 .75rem}}
p{{margin:0 0 1rem;max-width:42rem;overflow-wrap:anywhere}}
.kicker{{font-size:.8125rem;color:var(--muted);letter-spacing:.04em;margin:0}}
.lead{{font-size:1.125rem;color:var(--muted)}}
section{{padding:2.5rem 0 0;margin-top:2.5rem;border-top:1px solid var(--rule)}}
.hint{{margin-top:.6rem}}
.hint,figcaption,caption{{color:var(--muted);font-size:.875rem;line-height:1.45}}
.tiles{{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,12.5rem),1fr));
gap:1px;background:var(--rule);border:1px solid var(--rule);border-radius:.5rem;overflow:hidden;
margin:2rem 0 0;padding:0}}
.tiles>div{{background:var(--page);padding:1rem 1.125rem}}
.tiles dt{{font-size:.875rem;color:var(--muted)}}
.tiles dd{{margin:0}}
.tiles .big{{font-size:1.875rem;line-height:1.25;font-weight:650;letter-spacing:-.02em}}
.tiles .small{{font-size:.8125rem;color:var(--muted);line-height:1.4}}
.warn{{border-left:4px solid var(--s1);background:var(--soft);padding:.75rem 1rem;
margin:1.5rem 0 0;max-width:none;border-radius:0 .375rem .375rem 0}}
.pair{{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,21rem),1fr));
gap:2.25rem 2.5rem;align-items:start;margin-top:1.5rem}}
.pair>*{{min-width:0}}
figure{{margin:0}}
figcaption{{margin-top:.5rem}}
svg.chart{{display:block;width:100%;max-width:27rem;height:auto;overflow:visible}}
.scroll{{overflow-x:auto}}
table{{border-collapse:collapse;width:100%;font-size:.9375rem}}
caption{{text-align:left;padding-bottom:.5rem}}
th,td{{padding:.45rem .75rem .45rem 0;text-align:left;border-bottom:1px solid var(--rule);
vertical-align:baseline}}
th{{font-weight:500}}
thead th{{color:var(--muted);font-size:.8125rem}}
.num{{text-align:right}}
td.num,tbody th.name{{white-space:nowrap}}
td.num:last-child,th.num:last-child{{padding-right:0}}
tr.best th,tr.best td{{font-weight:680}}
.note{{color:var(--muted);font-size:.8125rem;display:block;font-weight:400}}
.confusion td{{text-align:center;width:33%;padding:.9rem .5rem;border:2px solid var(--page);
background:color-mix(in srgb,var(--tone) var(--shade),var(--soft));border-radius:.375rem}}
.confusion td b{{display:block;font-size:1.5rem;line-height:1.2;font-weight:650}}
.confusion td.right{{--tone:var(--s0)}}
.confusion td.wrong{{--tone:var(--s1)}}
.confusion th{{border:0}}
.confusion thead th{{text-align:center;padding-right:0}}
.confusion td .note{{color:inherit;opacity:.85}}
.facts{{display:grid;grid-template-columns:max-content 1fr;gap:.35rem 1.25rem;margin:0;
font-size:.9375rem}}
.facts dt{{color:var(--muted)}}
.facts dd{{margin:0;overflow-wrap:anywhere}}
.balance{{display:flex;height:1.75rem;border-radius:.375rem;overflow:hidden;gap:2px;
margin:.25rem 0 .35rem}}
.balance span{{background:var(--s0);min-width:2px}}
.balance span+span{{background:var(--rule)}}
.maps{{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(45%,9rem),1fr));
gap:1.25rem;margin-top:1.5rem}}
.gallery{{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,17.5rem),1fr));
gap:1.75rem 2rem;margin:1rem 0 2.25rem}}
.gallery .duo{{display:grid;grid-template-columns:1fr 1fr;gap:.375rem}}
img{{display:block;width:100%;height:auto;aspect-ratio:1;image-rendering:pixelated;border-radius:.25rem;
background:var(--soft)}}
.gallery b{{color:var(--ink);font-weight:600;overflow-wrap:anywhere}}
.key{{display:inline-block;width:.8em;height:.8em;border-radius:.2em;vertical-align:-.05em;
margin-right:.3em}}
.for{{background:#e69f00}}.against{{background:#0072b2}}
@media (prefers-color-scheme:dark){{
/* Maps are clear at zero, so that the page shows through. */
img.map,.key{{filter:brightness(1.12)}}
}}
{RULES}
code{{font:.9em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}}
footer{{padding-top:3rem;padding-bottom:3rem;color:var(--muted);font-size:.8125rem}}
footer p{{max-width:none;margin-bottom:.35rem}}
@media (max-width:30rem){{
header{{padding-top:2rem}}
.tiles{{grid-template-columns:1fr 1fr}}
.tiles>div{{padding:.75rem .875rem}}
.tiles .big{{font-size:1.5rem}}
th,td{{padding-right:.5rem}}
section{{padding-top:2rem;margin-top:2rem}}
}}
@media print{{
:root{{{LIGHT};color-scheme:light}}
@page{{margin:16mm}}
body{{font-size:10.5pt;background:#fff}}
main,header,footer{{max-width:none;padding:0}}
header{{padding-top:0}}
section{{padding-top:1.25rem;margin-top:1.25rem}}
figure,tr,.tiles,.facts{{break-inside:avoid}}
h2,h3{{break-after:avoid}}
th,td{{padding-top:.25rem;padding-bottom:.25rem}}
img.map,.key{{filter:none}}
.balance span,.confusion td,.key,.tiles,.warn,img{{-webkit-print-color-adjust:exact;
print-color-adjust:exact}}
.tiles{{grid-template-columns:repeat(4,1fr)}}
.tiles .big{{font-size:1.35rem}}
section>p{{break-after:avoid}}
.gallery{{grid-template-columns:repeat(3,1fr)}}
.pair{{grid-template-columns:1fr 1fr}}
.maps{{grid-template-columns:repeat(4,1fr)}}
}}
"""
