"""Colours and type of the report, as CSS: one meaning per colour, in light, dark and print."""

from __future__ import annotations

_LIGHT = (
    "--page:#fff;--panel:#fff;--edge:#e3e6ea;--ink:#1b1e23;--soft:#565f6b;--faint:#626b77;"
    "--grid:#eceef1;--zero:#b9bfc7;--before:#626c79;--after:#1666d9;--reference:#b3500c;"
    "--go:#1666d9;--tint:#eaf1fc;--warn:#7a4f00;--warn-tint:#fff6e0;"
    "--b1:#6f5bd0;--b2:#14768f;--b3:#237a48;--b4:#8a6200;--b5:#b83c70;--b6:#8b5e3c;"
)
_DARK = (
    "--page:#121519;--panel:#171b20;--edge:#2a3038;--ink:#e8ebef;--soft:#a9b2bd;--faint:#8b95a1;"
    "--grid:#242a31;--zero:#4a535e;--before:#8b95a3;--after:#69a9ff;--reference:#ff9a52;"
    "--go:#1b62c9;--tint:#1b2a3f;--warn:#f3c969;--warn-tint:#2d2614;"
    "--b1:#a899ff;--b2:#5cc4de;--b3:#6fcf97;--b4:#e0b64a;--b5:#f08ab8;--b6:#c99b77;"
)
_FONT = 'system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","Liberation Sans",sans-serif'

_MARKS = f"""
.plot text{{font:12px {_FONT};fill:var(--soft);font-variant-numeric:tabular-nums}}
.plot .tick{{font-size:11.5px;fill:var(--faint)}}
.plot .key,.plot .note{{fill:var(--ink)}}
.plot .callout{{font-size:11.5px}}
.plot .callout.head{{font-weight:600}}
.plot .strong{{font-weight:600;fill:var(--after)}}
.grid{{stroke:var(--grid);stroke-width:1}}
.grid.zero{{stroke:var(--zero)}}
.rule{{stroke:var(--faint);stroke-width:1;stroke-dasharray:3 4}}
.line{{fill:none;stroke-width:1.6;stroke-linejoin:round;stroke-linecap:round}}
.area,.bar{{stroke:none}}
.before{{--c:var(--before)}}.after{{--c:var(--after)}}.reference{{--c:var(--reference)}}
.sum{{--c:var(--after)}}
.b1{{--c:var(--b1)}}.b2{{--c:var(--b2)}}.b3{{--c:var(--b3)}}
.b4{{--c:var(--b4)}}.b5{{--c:var(--b5)}}.b6{{--c:var(--b6)}}
.line{{stroke:var(--c)}}
.line.after{{stroke-width:2}}.line.sum{{stroke-width:2.6}}.line.band{{stroke-width:1.2}}
.line.reference{{stroke-dasharray:6 3}}
.line.edge{{stroke-width:1}}.line.rule{{stroke:var(--faint)}}
.line.unity{{stroke:var(--faint);stroke-dasharray:3 4;stroke-width:1}}
.area{{fill:var(--c);fill-opacity:.28}}.area.wave{{fill-opacity:.8}}
.area.band{{fill-opacity:.13}}
.bar{{fill:var(--before);fill-opacity:.3}}
.dot{{fill:var(--panel);stroke:var(--c);stroke-width:2.2}}
.leader{{fill:none;stroke:var(--c);stroke-width:1;stroke-opacity:.55}}
.plot .callout.head{{fill:var(--c)}}
.off{{--c:var(--faint)}}
.cursor{{stroke:var(--soft);stroke-width:1;pointer-events:none}}
.page{{fill:var(--page)}}
"""

_SCHEMES = (
    f":root{{color-scheme:light dark;{_LIGHT}}}"
    f"@media (prefers-color-scheme:dark){{:root{{{_DARK}}}}}"
    f"@media print{{:root{{{_LIGHT}}}}}"
)

SVG_STYLE = _SCHEMES + _MARKS
"""Style sheet for an SVG file of its own."""

PAGE_STYLE = (
    SVG_STYLE
    + f"""
*{{box-sizing:border-box}}
body{{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 {_FONT};
 font-variant-numeric:tabular-nums;-webkit-print-color-adjust:exact;print-color-adjust:exact}}
main{{max-width:1008px;margin:0 auto;padding:40px 24px 64px}}
h1{{font-size:26px;line-height:1.25;letter-spacing:-.01em;margin:0 0 6px;overflow-wrap:anywhere}}
h1 .to{{color:var(--faint);font-weight:400}}
h1 .r{{color:var(--reference)}}
h2{{font-size:18px;margin:44px 0 2px;letter-spacing:-.005em}}
h3{{font-size:14px;margin:22px 0 2px}}
p{{margin:4px 0 10px;max-width:76ch}}
.lead{{font-size:16px;color:var(--soft)}}
dl.lead{{grid-template-columns:minmax(96px,auto) 1fr;color:var(--ink);line-height:1.45;
 gap:6px 18px}}
dl.lead dt{{font-size:14px;line-height:1.65;max-width:150px}}dl.lead dd{{max-width:74ch}}
dl.lead dd:first-of-type{{font-weight:600}}
a.term{{color:inherit;text-decoration:underline dotted;text-underline-offset:3px;
 text-decoration-thickness:1px}}
a.term:focus-visible,button:focus-visible,input:focus-visible{{outline:2px solid var(--after);
 outline-offset:2px;border-radius:3px}}
#player{{border:1px solid var(--edge);border-radius:10px;padding:12px 16px 4px;margin:18px 0 0;
 background:var(--panel)}}
#player button{{font:inherit;color:inherit;background:none;border:1px solid var(--edge);
 border-radius:7px;padding:5px 12px;cursor:pointer}}
#player #play{{background:var(--go);border-color:var(--go);color:#fff;min-width:84px;
 font-weight:600}}
.transport{{display:flex;flex-wrap:wrap;align-items:center;gap:8px 16px}}
#player fieldset{{border:1px solid var(--edge);border-radius:7px;padding:0;margin:0;display:flex}}
#player legend{{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}}
#player fieldset label{{position:relative;cursor:pointer;font-weight:600}}
#player fieldset input{{position:absolute;opacity:0;inset:0;margin:0;cursor:pointer}}
#player fieldset span{{display:block;padding:5px 13px;border-radius:6px}}
#player fieldset input:checked+span{{background:var(--tint);box-shadow:inset 0 -2px currentColor}}
#player fieldset input:focus-visible+span{{outline:2px solid var(--after);outline-offset:1px}}
#player .line{{display:flex;align-items:center;gap:12px;margin:10px 0 6px}}
#player input[type=range]{{flex:1;min-width:0;accent-color:var(--after)}}
.passages{{display:flex;flex-wrap:wrap;gap:6px 8px}}.passages small{{color:var(--faint)}}
.passages [aria-pressed=true]{{background:var(--tint)!important}}
#player p{{margin:6px 0;max-width:none}}#player-note:empty{{display:none}}
.legend .entry{{break-inside:avoid;margin:0 0 10px;scroll-margin-top:20px}}
dl.legend{{display:block;font-size:13.5px}}.legend dt{{font-weight:600;color:var(--ink)}}
.legend dd{{color:var(--soft)}}.entry:target{{background:var(--tint)}}
.sub{{color:var(--soft);font-size:13.5px}}
figure{{margin:8px 0 0;overflow-x:auto}}
.plot{{display:block;width:100%;height:auto;min-width:640px}}
.square .plot{{min-width:320px;max-width:460px}}
.pair{{display:grid;grid-template-columns:minmax(320px,460px) 1fr;gap:32px;align-items:start}}
table{{border-collapse:collapse;width:100%;font-size:14px}}
th{{font-weight:600;text-align:left;font-size:12.5px;color:var(--soft)}}
th,td{{padding:6px 12px 6px 0;border-bottom:1px solid var(--edge);vertical-align:middle}}
.num{{text-align:right;white-space:nowrap}}
.levels{{max-width:680px}}
.levels .u{{color:var(--faint);font-size:12.5px}}th[scope=row]{{color:var(--ink);font-weight:400;
 font-size:inherit}}th[scope=row].key-before{{color:var(--before)}}
th[scope=row].key-after{{color:var(--after)}}th[scope=row].key-reference{{color:var(--reference)}}
caption{{text-align:left;font-weight:600;font-size:12.5px;color:var(--soft);padding:3px 0}}
.key-before{{color:var(--before)}}.key-after{{color:var(--after)}}.key-reference{{color:var(--reference)}}
.columns{{columns:2;column-gap:40px}}
.settings{{break-inside:avoid;margin:0 0 16px;font-size:13.5px}}
.settings td,.settings th{{padding:3px 10px 3px 0}}
.settings th{{width:26%;white-space:nowrap}}.settings .num{{width:22%}}
.settings .slot{{width:26%}}
.range{{color:var(--faint);font-size:12.5px;white-space:nowrap}}
.track{{position:relative;display:block;width:100%;min-width:60px;height:4px;border-radius:2px;background:var(--edge)}}
.track i{{position:absolute;top:-3px;width:10px;height:10px;margin-left:-5px;border-radius:50%;
 background:var(--after)}}
.idle td,.idle th[scope=row]{{color:var(--faint)}}.idle .track i{{background:var(--faint)}}
.lock{{font-size:11.5px;border:1px solid var(--edge);border-radius:4px;padding:0 5px;
 margin-left:6px;color:var(--soft)}}
.warn{{background:var(--warn-tint);color:var(--warn);border-radius:8px;
 padding:10px 14px;margin:18px 0 0}}
.warn p{{margin:0;max-width:none}}.warn p+p{{margin-top:6px}}
dl{{display:grid;grid-template-columns:auto 1fr;gap:5px 18px;margin:8px 0;font-size:14px}}
dt{{color:var(--soft)}}dd{{margin:0}}
details summary{{cursor:pointer;color:var(--soft);font-size:13.5px;margin-top:10px}}
footer{{margin-top:48px;padding-top:14px;border-top:1px solid var(--edge);color:var(--faint);
 font-size:12.5px}}
#tip{{position:fixed;display:none;pointer-events:none;background:var(--panel);color:var(--ink);
 border:1px solid var(--edge);border-radius:8px;box-shadow:0 4px 16px #0003;padding:7px 10px;
 font-size:12.5px;line-height:1.45;z-index:9}}
#tip.words{{max-width:340px}}
#tip b{{display:block;font-weight:600}}
#tip i{{display:inline-block;width:9px;height:9px;border-radius:50%;margin-right:6px}}
@media screen and (max-width:560px){{dl.lead{{display:block}}dl.lead dd{{margin:0 0 8px}}
 h1{{font-size:22px}}.num{{white-space:normal}}td,th{{padding-right:8px}}
 .files{{font-size:12.5px}}.settings .range{{white-space:normal}}}}
@media screen and (max-width:860px){{.columns{{columns:1}}.pair{{grid-template-columns:1fr}}
 main{{padding:24px 16px 48px}}}}
@media print{{body{{font-size:12.5px}}main{{padding:0;max-width:none}}
 section:not(.long),tr{{break-inside:avoid}}h2,h3,.sub{{break-after:avoid}}h2{{margin-top:26px}}
 .plot,.square .plot{{min-width:0}}.pair{{grid-template-columns:320px 1fr}}
 .columns{{column-gap:24px}}.settings{{font-size:11px}}.settings th{{width:auto}}
 #player{{display:none}}a.term{{text-decoration:none}}dl.lead{{font-size:13px}}
 .range{{font-size:10.5px}}.track{{min-width:40px}}figure{{overflow:visible}}}}
"""
)

SCRIPT = """
(()=>{const tip=document.getElementById('tip');
const explain=a=>{const e=document.getElementById('term-'+a.hash.slice(6));if(!e)return;
tip.replaceChildren();const b=document.createElement('b');
b.textContent=e.querySelector('dt').textContent;
tip.append(b,e.querySelector('dd').textContent);tip.className='words';tip.style.display='block';
const r=a.getBoundingClientRect(),h=tip.offsetHeight;
tip.style.left=Math.max(8,Math.min(r.left,innerWidth-tip.offsetWidth-8))+'px';
tip.style.top=(r.top>h+16?r.top-h-8:r.bottom+8)+'px'};
const quiet=()=>{tip.style.display='none';tip.className=''};
document.querySelectorAll('a.term').forEach(a=>{
a.addEventListener('pointerenter',()=>explain(a));a.addEventListener('focus',()=>explain(a));
a.addEventListener('pointerleave',quiet);a.addEventListener('blur',quiet)});
addEventListener('keydown',e=>{if(e.key==='Escape')quiet()});
const reach=()=>document.querySelectorAll('figure').forEach(f=>{
if(f.scrollWidth>f.clientWidth)f.tabIndex=0;else f.removeAttribute('tabindex')});
reach();addEventListener('resize',reach);
addEventListener('scroll',quiet,{passive:true});
const fmt=(v,u)=>{const a=Math.abs(v);if(u==='Hz'&&a>=1000)return(v/1000).toPrecision(3)+' kHz';
return(u==='dB'?v.toFixed(1):a>=100?v.toFixed(0):v.toPrecision(3)).replace('-','\\u2212')+' '+u};
const val=(s,t)=>s[2]?s[0]*Math.pow(s[1]/s[0],t):s[0]+t*(s[1]-s[0]);
document.querySelectorAll('svg[data-plot]').forEach(svg=>{
const p=JSON.parse(svg.dataset.plot),[x0,x1,y0,y1]=p.px;
const lines=[...svg.querySelectorAll('[data-read]')].map(e=>({n:e.dataset.read,
c:getComputedStyle(e).stroke,q:[...e.points].map(k=>[k.x,k.y])}));
if(!lines.length)return;
const cur=document.createElementNS(svg.namespaceURI,'line');cur.setAttribute('class','cursor');
cur.setAttribute('y1',y1);cur.setAttribute('y2',y0);cur.style.display='none';svg.append(cur);
const hide=()=>{cur.style.display=tip.style.display='none'};
svg.addEventListener('pointerleave',hide);
svg.addEventListener('pointermove',ev=>{
const m=svg.getScreenCTM(),x=(ev.clientX-m.e)/m.a;if(x<x0||x>x1)return hide();
tip.replaceChildren();const b=document.createElement('b');
b.textContent=fmt(val(p.x,(x-x0)/(x1-x0)),p.x[3]);tip.append(b);
for(const l of lines){const q=l.q,j=q.findIndex(k=>k[0]>=x);if(j<1)continue;
const[a,c]=[q[j-1],q[j]],y=a[1]+(c[1]-a[1])*(x-a[0])/Math.max(c[0]-a[0],1e-6);
const row=document.createElement('div'),dot=document.createElement('i');dot.style.background=l.c;
row.append(dot,l.n+'  '+fmt(val(p.y,(y-y0)/(y1-y0)),p.y[3]));tip.append(row)}
cur.setAttribute('x1',x);cur.setAttribute('x2',x);cur.style.display='';
tip.style.display='block';const w=tip.offsetWidth;
tip.style.left=Math.min(ev.clientX+16,innerWidth-w-8)+'px';
tip.style.top=Math.max(8,ev.clientY-tip.offsetHeight-12)+'px'})})})();
"""
"""What terms mean, on hover and focus; the curves' values under the pointer, read from the SVG."""
