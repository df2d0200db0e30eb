"""Texts that try to become more than text in a page: markup, attributes, scripts, addresses, letters that turn lines.

Each leaves something to find where it succeeds: a dialog, a stopped script or an element of the class `hostile`.
"""

_BOOM = "alert(1)"

MARKUP = [
    f"<script>{_BOOM}</script>",
    f'"><script class=hostile>{_BOOM}</script>',
    f"'><script class=hostile>{_BOOM}</script>",
    f"</script><script>{_BOOM}</script>",
    f"</title><script>{_BOOM}</script>",
    f"</textarea><script>{_BOOM}</script>",
    f"</option></select><img class=hostile src=x onerror={_BOOM}>",
    f"--><script>{_BOOM}</script>",
    f"]]><script>{_BOOM}</script>",
    f"<img class=hostile src=x onerror={_BOOM}>",
    f"<img src=x:x onerror='{_BOOM}' class=hostile>",
    f"<svg class=hostile onload={_BOOM}>",
    f"<svg><script>{_BOOM}</script></svg>",
    f"<svg><animate onbegin={_BOOM} attributeName=x dur=1s>",
    f"<math><mtext><script>{_BOOM}</script></mtext></math>",
    f"<body onload={_BOOM}>",
    f"<iframe class=hostile srcdoc='<script>{_BOOM}</script>'></iframe>",
    f"<iframe class=hostile src=javascript:{_BOOM}></iframe>",
    f"<object class=hostile data=javascript:{_BOOM}></object>",
    f"<embed class=hostile src=javascript:{_BOOM}>",
    f"<a class=hostile href=javascript:{_BOOM}>x</a>",
    "<base class=hostile href=//evil.example/>",
    "<link class=hostile rel=stylesheet href=//evil.example/x.css>",
    "<meta http-equiv=refresh content=0;url=//evil.example>",
    "<form class=hostile action=//evil.example><button>x",
    "<style class=hostile>*{display:none}</style>",
    f"<details class=hostile open ontoggle={_BOOM}>",
    f"<input class=hostile autofocus onfocus={_BOOM}>",
    f"<video class=hostile><source onerror={_BOOM}>",
    f"<x class=hostile onmouseover={_BOOM} style=position:fixed;inset:0>x",
    "<template class=hostile shadowrootmode=open>x</template>",
    f"<noscript><p title='</noscript><img src=x onerror={_BOOM}>'>",
    f"<scr<script>ipt>{_BOOM}</scr</script>ipt>",
    f"<SCRIPT CLASS=hostile>{_BOOM}</SCRIPT>",
    f"<script >{_BOOM}</script >",
    f"<script/class=hostile>{_BOOM}</script>",
]
ATTRIBUTES = [
    f'" autofocus onfocus={_BOOM} x="',
    f"' autofocus onfocus={_BOOM} x='",
    f'" onmouseover={_BOOM} style="position:fixed;inset:0',
    f"` onload={_BOOM} `",
    f"x onerror={_BOOM}",
    '" class="hostile',
    "' data-confirm='",
    '"/><p class="hostile">',
    "&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#34;><img class=hostile src=x>",
]
SCRIPTS = [
    f"';{_BOOM};//",
    f'";{_BOOM};//',
    f"\\';{_BOOM};//",
    "${alert(1)}",
    "{{ 7 * 7 }}{{ config }}",
    "{% include 'base.html' %}",
    "%(name)s %s {0} {x}",
    f"javascript:{_BOOM}",
    f"data:text/html,<script>{_BOOM}</script>",
    f"jav\tascript:{_BOOM}",
]
LETTERS = [
    "\u202ereversed\u202c <b class=hostile>",
    "\u2067isolated <b class=hostile>",
    "\u05d0\u05d1\u05d2 <b class=hostile> \u062f\u0647\u0648",
    "\ufeff<script>alert(1)</script>",
    "\uff1cscript\uff1ealert(1)\uff1c/script\uff1e",
    '=HYPERLINK("http://evil.example")',
]

ALL = [*MARKUP, *ATTRIBUTES, *SCRIPTS, *LETTERS]
assert len(ALL) >= 60
