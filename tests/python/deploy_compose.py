"""deploy/docker-compose.yml, .env.example, Dockerfile and prometheus.yml against each other and against the program."""

import re

from deploying import (
    DEPLOY, HELP, SERVICES, check, check_command, check_environment, documents, management_port, of_dockerfile, read, run,
    same, version,
)

compose = documents("docker-compose.yml")[0]
services = compose["services"]
elanus = {name: it for name, it in services.items() if "elanus" in it["image"]}
# What may be published, each on this machine only.
PUBLISHED = {"proxy": [19530, 9091], "grafana": [3000], "prometheus": [9090], "jaeger": [16686]}
# They end by themselves.
ONCE = {"bucket", "migrate"}
WITHOUT_HEALTH = {"jaeger"}


def commands_and_settings_are_the_programs():
    for name, it in elanus.items():
        command, flags = check_command(it["command"], name)
        check_environment(it["environment"], [command], name)
        if command in SERVICES:
            same(flags["--advertise"].split(":")[0], name, f"{name}: --advertise")
    same({it["command"][0] for it in elanus.values()}, {*SERVICES, "migrate"}, "services of Elanus")


def only_what_people_look_at_is_published_and_on_this_machine():
    for name, it in services.items():
        ports = []
        for port in it.get("ports", []):
            parts = re.fullmatch(r"127\.0\.0\.1:\$\{\w+:-(\d+)\}:(\d+)", port)
            check(parts, f"{name}: {port} is not 127.0.0.1:${{NAME:-PORT}}:PORT")
            same(parts[1], parts[2], f"{name}: default of the published port")
            ports.append(int(parts[2]))
        same(ports, PUBLISHED.get(name, []), f"{name}: published ports")
    same(PUBLISHED["proxy"], [HELP["proxy"].ports["--listen"], management_port()], "ports of the proxy")


def images_are_pinned():
    for name, it in services.items():
        tag = it["image"].removesuffix("}").rsplit(":", 1)[-1]
        check(re.fullmatch(r"v?\d+\.\d+[\w.-]*", tag), f"{name}: {it['image']} has no version")
    for name, it in elanus.items():
        same(it["image"], f"${{ELANUS_IMAGE:-elanus:{version()}}}", f"{name}: image")


def everything_is_limited_watched_and_started_again():
    for name, it in services.items():
        check("mem_limit" in it, f"{name} has no mem_limit")
        wanted = "on-failure" if name in ONCE else "always" if name.startswith("datacoord") else "unless-stopped"
        same(it.get("restart"), wanted, f"{name}: restart")
        has_health = "healthcheck" in it or name in elanus
        same(has_health, name not in WITHOUT_HEALTH | ONCE - set(elanus), f"{name}: has a health check")
        for other, how in it.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if other in ONCE else "service_healthy"
            same(how["condition"], wanted, f"{name} after {other}")
            check(other not in WITHOUT_HEALTH, f"{name} waits for the health of {other}, which has none")
    for name in set(elanus) - ONCE:
        check(services[name]["read_only"] and services[name]["cap_drop"] == ["ALL"], f"{name} has more rights than it needs")


def every_variable_is_explained_and_every_explained_one_is_used():
    used = set(re.findall(r"(?<!\$)\$\{(\w+)", read("docker-compose.yml")))
    explained = set(re.findall(r"^#?([A-Z][A-Z0-9_]+)=", read(".env.example"), re.M))
    same(used, explained, "variables")
    for line in read(".env.example").splitlines():
        secret = re.match(r"(\w*(PASSWORD|KEY))=(.*)", line)
        check(not secret or not secret[3], f".env.example gives everybody the same {line}")


def what_is_mounted_is_there():
    mounted = [volume.split(":")[0] for it in services.values() for volume in it.get("volumes", [])]
    for source in mounted:
        there = (DEPLOY / source).exists() if source.startswith(".") else source in compose["volumes"]
        check(there, f"{source} is not there")
    same(set(compose["volumes"]), {source for source in mounted if not source.startswith(".")}, "volumes")


def prometheus_asks_every_service():
    jobs = {job["job_name"]: job["static_configs"] for job in documents("prometheus/prometheus.yml")[0]["scrape_configs"]}
    asked = {(target, group["labels"]["service"]) for group in jobs["elanus"] for target in group["targets"]}
    wanted = {(f"{name}:{management_port()}", it["command"][0]) for name, it in elanus.items() if name not in ONCE}
    same(asked, wanted, "targets of the job elanus")
    port = jobs["objects"][0]["targets"][0].split(":")[1]
    check(f"-metricsPort={port}" in services["objects"]["command"], f"the object store tells no metrics at {port}")


def the_image_says_what_the_program_needs():
    exposed = {int(port) for port in of_dockerfile("EXPOSE")[0].split()}
    same(exposed, {HELP[service].ports["--listen"] for service in SERVICES} | {management_port()}, "EXPOSE")
    same(of_dockerfile("STOPSIGNAL"), ["SIGTERM"], "STOPSIGNAL")
    check(re.fullmatch(r"[1-9]\d*:[1-9]\d*", of_dockerfile("USER")[0]), "the user of the image is root, or has no number")
    check('CMD ["elanus", "healthcheck"]' in of_dockerfile("HEALTHCHECK")[0], "the image has no health check of its own")
    same(re.findall(r"^ARG VERSION=(.*)$", read("Dockerfile"), re.M), [version()], "ARG VERSION")
    environment = re.findall(r"(ELANUS_(?!COMMIT)\w+)=", read("Dockerfile"))
    known = set().union(*(it.environment for it in HELP.values())) | {"ELANUS_DATA"}
    check(set(environment) <= known, f"no such setting: {set(environment) - known}")


run(
    commands_and_settings_are_the_programs,
    only_what_people_look_at_is_published_and_on_this_machine,
    images_are_pinned,
    everything_is_limited_watched_and_started_again,
    every_variable_is_explained_and_every_explained_one_is_used,
    what_is_mounted_is_there,
    prometheus_asks_every_service,
    the_image_says_what_the_program_needs,
)
