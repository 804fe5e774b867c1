"""Stands in for Jaeger where its image cannot be had: takes spans by OTLP over gRPC and answers a little of Jaeger's HTTP API.

It keeps the last spans in memory. Started as the `jaeger` service of deploy/docker-compose.yml; it shows nothing to people
but a line that says what it is.

    GET /api/services            names of the services that sent spans
    GET /api/traces?service=S    traces with a span of S, newest first: {"data": [{"traceID", "spans": [...]}]}
    GET /api/traces/ID           one trace
"""

import collections
import json
import threading
import urllib.parse
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as service

SPANS_MAX = 50_000
TRACES_MAX = 200

spans = collections.deque(maxlen=SPANS_MAX)
lock = threading.Lock()


def value(of):
    kind = of.WhichOneof("value")
    return None if kind in (None, "kvlist_value", "array_value", "bytes_value") else getattr(of, kind)


class Receiver(service.TraceServiceServicer):
    def Export(self, request, context):
        for resource in request.resource_spans:
            name = next((a.value.string_value for a in resource.resource.attributes if a.key == "service.name"), "unknown")
            for scope in resource.scope_spans:
                keep(name, scope.spans)
        return messages.ExportTraceServiceResponse()


def keep(name, received):
    with lock:
        for span in received:
            links = [("FOLLOWS_FROM", link.trace_id, link.span_id) for link in span.links]
            parent = [("CHILD_OF", span.trace_id, span.parent_span_id)] if span.parent_span_id else []
            tags = [{"key": a.key, "value": value(a.value)} for a in span.attributes]
            if span.status.code == 2:
                tags.append({"key": "error", "value": True})
            spans.append({
                "traceID": span.trace_id.hex(), "spanID": span.span_id.hex(), "operationName": span.name,
                "references": [{"refType": kind, "traceID": t.hex(), "spanID": s.hex()} for kind, t, s in parent + links],
                "startTime": span.start_time_unix_nano // 1000,
                "duration": (span.end_time_unix_nano - span.start_time_unix_nano) // 1000,
                "tags": tags, "process": {"serviceName": name},
            })


def traces(of_service=None, trace_id=None):
    with lock:
        kept = list(spans)
    found = collections.OrderedDict()
    for span in kept:
        found.setdefault(span["traceID"], []).append(span)
    newest = [
        {"traceID": key, "spans": value}
        for key, value in reversed(found.items())
        if trace_id in (None, key) and (of_service is None or any(s["process"]["serviceName"] == of_service for s in value))
    ]
    return newest[:TRACES_MAX]


class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        if url.path == "/api/services":
            with lock:
                answer = {"data": sorted({span["process"]["serviceName"] for span in spans})}
        elif url.path == "/api/traces":
            answer = {"data": traces(of_service=query.get("service"))}
        elif url.path.startswith("/api/traces/"):
            answer = {"data": traces(trace_id=url.path.rsplit("/", 1)[1])}
        else:
            answer = {"stand-in": "for Jaeger; it takes spans and has no pages"}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    receiver = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    service.add_TraceServiceServicer_to_server(Receiver(), receiver)
    receiver.add_insecure_port("0.0.0.0:4317")
    receiver.start()
    print("stand-in for Jaeger: OTLP on 4317, HTTP on 16686", flush=True)
    ThreadingHTTPServer(("0.0.0.0", 16686), Answers).serve_forever()
