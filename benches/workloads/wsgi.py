"""service-like: WSGI app, pure-Python router and template, json/re/datetime/urllib from stdlib; n requests."""

import datetime
import decimal
import hashlib
import html
import io
import json
import logging
import re
import textwrap
import uuid
from http.cookies import SimpleCookie
from urllib.parse import parse_qs, urlencode, urlsplit
from wsgiref.headers import Headers

log = logging.getLogger("svc")
log.setLevel(logging.INFO)
log.addHandler(logging.StreamHandler(io.StringIO()))
log.propagate = False

TPL = """<html><head><title>{{ title }}</title></head>
<body><h1>{{ title }}</h1><ul>{% rows %}</ul><p>{{ when }}</p></body></html>"""


class HTTPError(Exception):
    def __init__(self, code, msg):
        super().__init__(msg)
        self.code = code
        self.msg = msg


class Router:
    def __init__(self):
        self.routes = []

    def add(self, method, pat):
        rx = re.compile("^" + re.sub(r"<(\w+)>", r"(?P<\1>[^/]+)", pat) + "$")

        def deco(fn):
            self.routes.append((method, rx, fn))
            return fn

        return deco

    def find(self, method, path):
        for m, rx, fn in self.routes:
            if m != method:
                continue
            mo = rx.match(path)
            if mo:
                return fn, mo.groupdict()
        raise HTTPError(404, "no route for " + path)


router = Router()
DB = {
    str(i): {
        "id": i,
        "name": "item%d" % i,
        "price": str(decimal.Decimal(i) / 7),
        "at": datetime.datetime(2024, 1, 1 + i % 28).isoformat(),
    }
    for i in range(50)
}


def render(tpl, ctx):
    def sub(m):
        return html.escape(str(ctx[m.group(1)]))

    rows = "".join("<li>%s</li>" % html.escape(r) for r in ctx["rows"])
    out = re.sub(r"\{\{ (\w+) \}\}", sub, tpl)
    return out.replace("{% rows %}", rows)


@router.add("GET", "/items/<iid>")
def get_item(req, iid):
    it = DB.get(iid)
    if it is None:
        raise HTTPError(404, "no item " + iid)
    at = datetime.datetime.fromisoformat(it["at"])
    doc = dict(it, age=(datetime.datetime(2025, 1, 1) - at).days, price=float(decimal.Decimal(it["price"])))
    return "application/json", json.dumps(doc, indent=1, sort_keys=True)


@router.add("GET", "/page/<name>")
def page(req, name):
    rows = []
    for k in req["query"].get("k", ["0"]):
        it = DB.get(k)
        if it:
            rows.append("%s <%s>" % (it["name"], textwrap.shorten(it["at"], 10)))
    when = datetime.date(2024, 2, 29).strftime("%Y-%m-%d")
    return "text/html", render(TPL, {"title": name, "rows": rows, "when": when})


@router.add("POST", "/items")
def post_item(req):
    doc = json.loads(req["body"])
    if "name" not in doc:
        raise HTTPError(400, "name missing")
    key = str(uuid.uuid5(uuid.NAMESPACE_URL, doc["name"]))[:8]
    d = decimal.Decimal(str(doc.get("price", 1))).quantize(decimal.Decimal("0.01"))
    DB[key] = {"id": key, "name": doc["name"], "price": str(d), "at": "2024-05-05T00:00:00"}
    return "application/json", json.dumps({"ok": True, "id": key})


def app(environ, start_response):
    parts = urlsplit(environ["RAW_URI"])
    req = {"path": parts.path, "query": parse_qs(parts.query), "body": environ["wsgi.input"].read()}
    ck = SimpleCookie(environ.get("HTTP_COOKIE", ""))
    sid = ck["sid"].value if "sid" in ck else "anon"
    try:
        fn, args = router.find(environ["REQUEST_METHOD"], parts.path)
        ctype, body = fn(req, **args)
        status = "200 OK"
    except HTTPError as exc:
        status = "%d Error" % exc.code
        ctype, body = "text/plain", exc.msg
    data = body.encode()
    h = Headers([])
    h.add_header("Content-Type", ctype, charset="utf-8")
    h["Content-Length"] = str(len(data))
    h["ETag"] = hashlib.md5(data).hexdigest()
    log.info("%s %s %s %s", sid, environ["REQUEST_METHOD"], parts.path, status)
    start_response(status, h.items())
    return [data]


def request(k):
    got = {}

    def start_response(status, headers):
        got["status"] = status
        got["headers"] = headers

    kind = k % 4
    if kind == 0:
        m, uri, body = "GET", "/items/%d" % (k % 60), ""
    elif kind == 1:
        m, uri, body = "GET", "/page/home?" + urlencode({"k": [str(k % 50), "3", "x"]}, doseq=True), ""
    elif kind == 2:
        m, uri, body = "POST", "/items", json.dumps({"name": "n%d" % (k % 20), "price": k / 8})
    else:
        m, uri, body = "GET", "/nothing/here", ""
    env = {
        "REQUEST_METHOD": m,
        "RAW_URI": uri,
        "wsgi.input": io.StringIO(body),
        "HTTP_COOKIE": "sid=s%d; a=b" % (k % 7),
    }
    out = b"".join(app(env, start_response))
    return len(out) + len(got["status"])


def main(n):
    t = 0
    for k in range(n):
        t += request(k)
    return t
