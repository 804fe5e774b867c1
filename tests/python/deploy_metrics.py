"""Every metric and label that a panel, an alert or a page names is one that the services tell: crates/runtime/metrics.txt."""

import json
import re

from deploying import DEPLOY, ROOT, check, documents, read, run, same

# Of Prometheus itself.
LABELS = {"job", "instance", "service", "le"}
# Not elanus_meta, a crate in a directive for the log.
NAME = re.compile(r"\belanus_[a-z0-9]+_[a-z0-9_]+\b")
PAGES = ["docs/operations.md", "docs/architecture.md", "deploy/README.md"]


def told():
    """Names as Prometheus has them, each with its labels."""
    names = {}
    for line in (ROOT / "crates/runtime/metrics.txt").read_text().splitlines():
        name, kind, labels = line.split(" ")[:3]
        labels = set(labels.strip("{}").split(",")) - {""}
        for suffix in ("_bucket", "_sum", "_count") if kind == "histogram" else ("",):
            names[name + suffix] = labels
        names.setdefault(name, labels)
    return names


def panels(of):
    for panel in of["panels"]:
        yield panel
        yield from panels(panel) if "panels" in panel else ()


def dashboards():
    return {path.name: json.loads(path.read_text()) for path in sorted((DEPLOY / "grafana/dashboards").glob("*.json"))}


def questions():
    """(where, expression)"""
    for name, dashboard in dashboards().items():
        for panel in panels(dashboard):
            for target in panel.get("targets", []):
                yield f"{name}: {panel['title']}", target["expr"]
    for rule in rules():
        yield f"alerts.yml: {rule['alert']}", rule["expr"]


def rules():
    return [rule for group in documents("prometheus/alerts.yml")[0]["groups"] for rule in group["rules"]]


def every_metric_that_is_asked_for_is_told():
    known, asked = told(), 0
    for where, expression in questions():
        for name in NAME.findall(expression):
            check(name in known, f"{where}: there is no metric {name}")
            asked += 1
    check(asked > 30, f"only {asked} metrics are asked for: is something not read?")


def every_label_that_is_asked_for_is_told():
    known = told()
    for where, expression in questions():
        names = NAME.findall(expression)
        labels = LABELS.union(*(known.get(name, set()) for name in names))
        asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression))
        for grouped in re.findall(r"\bby \(([^)]*)\)", expression):
            asked |= {label.strip() for label in grouped.split(",")}
        check(asked <= labels, f"{where}: {names} have no label {sorted(asked - labels)}")


def every_metric_that_a_page_names_is_told():
    known = told()
    for page in PAGES:
        for name in NAME.findall((ROOT / page).read_text()):
            check(name in known, f"{page}: there is no metric {name}")


def counters_are_asked_for_as_rates():
    for where, expression in questions():
        for name in re.findall(r"(\w+_total)\b", expression):
            check(re.search(rf"(rate|increase)\({name}\b", expression), f"{where}: {name} only rises; ask for its rate")


def every_panel_has_a_source_a_unit_and_words():
    sources = {source["uid"] for source in documents("grafana/provisioning/datasources/prometheus.yml")[0]["datasources"]}
    for name, dashboard in dashboards().items():
        found = [panel for panel in panels(dashboard) if panel["type"] != "row"]
        same(len({panel["id"] for panel in panels(dashboard)}), len(list(panels(dashboard))), f"{name}: ids")
        for panel in found:
            where = f"{name}: {panel['title']}"
            check(panel["datasource"]["uid"] in sources, f"{where}: no such data source")
            check(panel["description"] and panel["fieldConfig"]["defaults"]["unit"], f"{where}: no description, or no unit")
            check(panel["targets"], f"{where} asks nothing")


def every_alert_says_how_bad_it_is_and_what_to_do():
    for rule in rules():
        check(rule["labels"]["severity"] in ("page", "ticket"), f"{rule['alert']}: severity")
        check({"summary", "action"} <= set(rule["annotations"]), f"{rule['alert']}: summary and action")
    names = [rule["alert"] for rule in rules()]
    same(len(set(names)), len(names), "names of alerts")
    tested = set(re.findall(r"alertname: (\w+)", read("prometheus/alerts.test.yml")))
    check(tested <= set(names), f"alerts.test.yml tests what is not there: {tested - set(names)}")


run(
    every_metric_that_is_asked_for_is_told,
    every_label_that_is_asked_for_is_told,
    every_metric_that_a_page_names_is_told,
    counters_are_asked_for_as_rates,
    every_panel_has_a_source_a_unit_and_words,
    every_alert_says_how_bad_it_is_and_what_to_do,
)
