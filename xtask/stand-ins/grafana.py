"""Stands in for Grafana where its image cannot be had: reads what Grafana would be provisioned with, and asks the data
source every question of every panel, as Grafana would.

It draws nothing. `GET /api/health` answers 200 when the files can be read and the data source has understood every
question, else 503 with what it did not; `GET /` says how many panels have data now.
"""

import json
import pathlib
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import yaml

PROVISIONING = pathlib.Path("/etc/grafana/provisioning")
# What Grafana fills in before it asks.
VARIABLES = {"$__rate_interval": "1m", "$__range": "1h", "$__interval": "15s"}


def files(folder):
    return [yaml.safe_load(path.read_text()) for path in sorted((PROVISIONING / folder).glob("*.y*ml"))]


def panels(of):
    for panel in of["panels"]:
        yield panel
        yield from panels(panel) if "panels" in panel else ()


def look():
    """Panels with data, panels without, and what is wrong."""
    sources = {source["uid"]: source for file in files("datasources") for source in file["datasources"]}
    providers = [provider for file in files("dashboards") for provider in file["providers"]]
    found = [path for provider in providers for path in sorted(pathlib.Path(provider["options"]["path"]).glob("*.json"))]
    shown, empty, wrong = [], [], []
    if not sources or not found:
        wrong.append(f"{len(sources)} data sources and {len(found)} dashboards are provisioned")
    for path in found:
        for panel in panels(json.loads(path.read_text())):
            for target in panel.get("targets", []):
                name = f"{path.name}: {panel['title']}: {target['expr']}"
                source = sources.get(panel["datasource"]["uid"])
                if source is None:
                    wrong.append(f"{name}: there is no data source {panel['datasource']['uid']}")
                    continue
                try:
                    (shown if ask(source["url"], target["expr"]) else empty).append(name)
                except urllib.error.HTTPError as error:
                    wrong.append(f"{name}: {error.read().decode()}")
                except OSError as error:
                    wrong.append(f"{name}: {error}")
    return {"stand-in": "for Grafana; it draws nothing", "with data": len(shown), "without data": empty, "wrong": wrong}


def ask(url, expression):
    for name, text in VARIABLES.items():
        expression = expression.replace(name, text)
    query = urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(f"{url}/api/v1/query?{query}", timeout=10) as answer:
        return json.load(answer)["data"]["result"]


class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            answer = look()
        except (OSError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
            answer = {"wrong": [f"cannot read what is provisioned: {error!r}"]}
        body = json.dumps(answer, indent=1).encode()
        self.send_response(503 if answer["wrong"] else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    print("stand-in for Grafana: HTTP on 3000", flush=True)
    ThreadingHTTPServer(("0.0.0.0", 3000), Answers).serve_forever()
