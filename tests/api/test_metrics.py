# SPDX-License-Identifier: Apache-2.0
"""GET /metrics as Prometheus reads it, request ids, and the log of requests."""

import os
import re
import signal
import time

import pytest

from conftest import eventually
from test_owners import routes

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (\S+)\Z')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"')


def parse(text):
    """Strictly: {(name, labels): value}. Each family once, in one piece, HELP and TYPE first, no sample twice."""
    assert text.endswith("\n") and "\r" not in text
    samples, families, current, help_of = {}, {}, None, None
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            help_of = line.split(" ", 3)[2]
            assert len(line.split(" ", 3)) == 4 and NAME.match(help_of)
        elif line.startswith("# TYPE "):
            _, _, current, kind = line.split(" ")
            assert current == help_of and current not in families and kind in ("counter", "gauge", "histogram")
            families[current] = kind
        else:
            m = SAMPLE.match(line)
            assert m, line
            name, labels, value = m.groups()
            pairs = LABEL.findall(labels or "")
            assert ",".join(f'{k}="{v}"' for k, v in pairs) == (labels or "")
            assert len({k for k, _ in pairs}) == len(pairs)
            allowed = [current] if families[current] != "histogram" else [current + s for s in ("_bucket", "_sum", "_count")]
            assert name in allowed, line
            key = (name, tuple(sorted(pairs)))
            assert key not in samples
            samples[key] = float(value)
    check_histograms(samples, [f for f, kind in families.items() if kind == "histogram"])
    return samples


def check_histograms(samples, names):
    for family in names:
        series = {}
        for (name, labels), value in samples.items():
            if name == family + "_bucket":
                rest = tuple(p for p in labels if p[0] != "le")
                series.setdefault(rest, []).append((float(dict(labels)["le"]), value))
        for rest, buckets in series.items():
            assert buckets == sorted(buckets) and buckets[-1][0] == float("inf")
            counts = [v for _, v in buckets]
            assert counts == sorted(counts)
            assert samples[(family + "_count", rest)] == counts[-1]
            assert samples[(family + "_sum", rest)] >= 0


def metrics(daemon, **kwargs):
    answer = daemon.request("GET", "/metrics", **kwargs)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return parse(answer.body.decode())


def value(samples, name, **labels):
    return samples.get((name, tuple(sorted(labels.items()))), 0)


def test_sandboxes_are_counted(daemon):
    before = metrics(daemon)
    sandbox_id = daemon.create()["sandbox_id"]
    during = metrics(daemon)
    daemon.request("DELETE", f"/sandboxes/{sandbox_id}")
    after = metrics(daemon)
    assert [value(m, "declaw_sandboxes", state="running") for m in (before, during, after)] == [0, 1, 0]
    assert value(during, "declaw_sandboxes_created_total") == value(before, "declaw_sandboxes_created_total") + 1
    assert value(after, "declaw_sandboxes_ended_total") == value(before, "declaw_sandboxes_ended_total") + 1
    assert ("declaw_sandboxes", (("state", "paused"),)) in before
    assert value(before, "declaw_gate_up") == 1
    assert {"declaw_log_queue_bytes", "declaw_log_dropped_total", "declaw_build_info"} <= {n for n, _ in before}


def test_requests_are_counted_by_route(daemon):
    def seen(m, code):
        return value(m, "declaw_http_requests_total", method="GET", route="/sandboxes/{id}/status", code=code)

    before = metrics(daemon)
    assert daemon.request("GET", "/sandboxes/sbx-unknown0/status").status == 404
    labels = {"method": "GET", "route": "/sandboxes/{id}/status"}

    def counted():
        now = metrics(daemon)
        return now if seen(now, "4xx") == seen(before, "4xx") + 1 else None

    after = eventually(counted)
    assert after and seen(after, "2xx") == seen(before, "2xx")
    assert value(after, "declaw_http_request_duration_seconds_count", **labels) == sum(seen(after, c) for c in ("2xx", "4xx", "5xx", "none"))


def test_labels_are_the_programs_own(daemon):
    for path in ("/nothing/secret-1", "/sandboxes/secret-2/status?token=secret-3", "/accounts/secret-4", '/x"y\n'.replace("\n", "%0a")):
        daemon.request("GET", path, headers={"X-Request-Id": "secret-5"})
    daemon.request("BREW", "/sandboxes")
    m = metrics(daemon)
    assert "secret" not in str(m)
    known = {(method, pattern) for method, pattern in routes()} | {("other", "none")}
    for (name, labels) in m:
        pairs = dict(labels)
        if "route" in pairs:
            assert (pairs["method"], pairs["route"]) in known
            assert pairs.get("code", "2xx") in ("none", "1xx", "2xx", "3xx", "4xx", "5xx")
    # A request is counted when its answer has left, so the last one's may be a moment later.
    other = {"method": "other", "route": "none", "code": "4xx"}
    assert eventually(lambda: value(metrics(daemon), "declaw_http_requests_total", **other) >= 2)


def test_metrics_need_a_key_unless_they_are_open(daemon, make_daemon):
    assert daemon.request("GET", "/metrics", key=None).status == 401
    opened = make_daemon("--metrics-open", "--log-requests", "off")
    assert metrics(opened, key=None)
    # That alone is open.
    assert opened.request("GET", "/sandboxes", key=None).status == 401
    assert opened.request("GET", "/sandboxes/x/metrics", key=None).status == 401
    assert opened.request("POST", "/metrics", b"", key=None).status == 401
    assert "request=" not in opened.log()
    os.kill(opened.gate_pid(), signal.SIGKILL)
    assert eventually(lambda: value(metrics(opened), "declaw_gate_restarts_total") == 1, 10)


@pytest.mark.parametrize("given", ["a", "A-z_0.9", "x" * 64])
def test_request_ids_are_taken_over(daemon, given):
    for path in ("/health", "/nothing", "/sandboxes/x"):
        assert daemon.request("GET", path, headers={"X-Request-Id": given}).headers["X-Request-Id"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a=b", "é", '"', "a/b", None])
def test_others_are_replaced(daemon, given):
    headers = {} if given is None else {"X-Request-Id": given.encode()}
    ids = [daemon.request("GET", "/health", headers=headers, key=None).headers["X-Request-Id"] for _ in range(2)]
    assert ids[0] != ids[1] and all(re.fullmatch("[a-z0-9]{16}", i) for i in ids)


def lines(daemon, request_id):
    return [x for x in daemon.log().splitlines() if f"request={request_id}" in x]


def test_a_request_has_one_line(daemon, sandbox):
    daemon.request("GET", f"/sandboxes/{sandbox}/files?path=/etc/secret-path", headers={"X-Request-Id": "line-1"})
    (line,) = eventually(lambda: lines(daemon, "line-1"))
    key_id = daemon.request("GET", "/auth/me").json["key_id"]
    for part in ("method=GET", "route=/sandboxes/{id}/files", "status=404", f"id={sandbox}", f"key={key_id}"):
        assert part in line.replace('"', ""), line
    assert re.search(r"ms=\d+\.\d", line)
    assert "secret" not in line and daemon.key not in daemon.log()


def test_strangers_can_not_flood_the_log(daemon):
    time.sleep(1.1)  # the lines of a second may be used up by the tests before
    for i in range(60):
        daemon.request("GET", "/sandboxes", key=None, headers={"X-Request-Id": f"stranger-{i}"})
    assert 1 <= daemon.log().count("request=stranger-") < 60


def test_errors_alone_are_logged(make_daemon):
    d = make_daemon("--log-requests", "errors")
    d.request("GET", "/sandboxes", headers={"X-Request-Id": "fine"})
    d.request("GET", "/sandboxes/x", headers={"X-Request-Id": "wrong"})
    assert eventually(lambda: lines(d, "wrong"))
    assert not lines(d, "fine")
