"""deploy/kubernetes: valid for Kubernetes, and what names something names something that is there."""

import warnings

import kubernetes_validate
from deploying import (
    DEPLOY, HELP, SERVICES, check, check_command, check_environment, documents, management_port, of_dockerfile, run, same,
    version,
)

KUBERNETES = "1.35"
# Of others: they have no schema here.
FOREIGN = {"Kustomization", "PodMonitor"}
PATHS = {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}

files = {path.name: documents(f"kubernetes/{path.name}") for path in sorted((DEPLOY / "kubernetes").glob("*.yaml"))}
objects = [it for documents in files.values() for it in documents]
kustomization = files["kustomization.yaml"][0]


def of_kind(*kinds):
    return [it for it in objects if it["kind"] in kinds]


def name(it):
    return f"{it['kind']} {it['metadata']['name']}"


def pods():
    """(owner, specification of its pods, its container)"""
    for it in of_kind("Deployment", "Job"):
        spec = it["spec"]["template"]["spec"]
        same(len(spec["containers"]), 1, f"{name(it)}: containers")
        yield it, spec, spec["containers"][0]


def matching(selector):
    wanted = selector.get("matchLabels", selector).items()
    return [it for it, _, _ in pods() if wanted <= it["spec"]["template"]["metadata"]["labels"].items()]


def manifests_are_valid():
    for it in objects:
        if it["kind"] in FOREIGN:
            continue
        try:
            kubernetes_validate.validate(it, KUBERNETES, strict=True)
        except (kubernetes_validate.ValidationError, kubernetes_validate.InvalidSchemaError) as error:
            raise AssertionError(f"{name(it)}: {error}") from error


def the_kustomization_has_every_file_but_examples():
    left_out = {"kustomization.yaml", "secret.example.yaml", "monitor.yaml"}
    same(set(kustomization["resources"]), set(files) - left_out, "resources")
    for it in objects:
        if it["kind"] not in ("Kustomization", "Namespace"):
            same(it["metadata"]["namespace"], kustomization["namespace"], f"{name(it)}: namespace")


def images_are_of_this_version():
    image = kustomization["images"][0]
    same((image["name"], image["newTag"]), ("elanus", version()), "images of the kustomization")
    for it, _, container in pods():
        same(container["image"], f"elanus:{version()}", f"{name(it)}: image")
    same([it["metadata"]["name"] for it in of_kind("Job")], [f"elanus-migrate-{version().replace('.', '-')}"], "jobs")


def commands_and_settings_are_the_programs():
    started = set()
    for it, _, container in pods():
        command, _ = check_command(container["args"], name(it))
        started.add(command)
        check_environment([variable["name"] for variable in container.get("env", [])], [command], name(it))
    same(started, {*SERVICES, "migrate"}, "services")
    shared = [key for it in of_kind("ConfigMap") for key in it["data"]]
    secret = [key for it in of_kind("Secret") for key in it["stringData"]]
    check_environment(shared + secret, SERVICES, "ConfigMap and Secret")


def what_is_referred_to_is_there():
    there = {(it["kind"], it["metadata"]["name"]) for it in objects if it["kind"] != "Kustomization"}
    for it, spec, container in pods():
        wanted = {("ServiceAccount", spec["serviceAccountName"])}
        for source in container.get("envFrom", []):
            wanted |= {("ConfigMap", ref["name"]) for key, ref in source.items() if key == "configMapRef"}
            wanted |= {("Secret", ref["name"]) for key, ref in source.items() if key == "secretRef"}
        for variable in container.get("env", []):
            reference = variable["valueFrom"].get("secretKeyRef")
            if reference:
                wanted.add(("Secret", reference["name"]))
                keys = next(it["stringData"] for it in of_kind("Secret") if it["metadata"]["name"] == reference["name"])
                check(reference["key"] in keys, f"{name(it)}: the Secret has no {reference['key']}")
        check(wanted <= there, f"{name(it)}: there is no {wanted - there}")
    for it in of_kind("HorizontalPodAutoscaler"):
        target = it["spec"]["scaleTargetRef"]
        check((target["kind"], target["name"]) in there, f"{name(it)}: there is no {target}")
        scaled = next(it for it in of_kind("Deployment") if it["metadata"]["name"] == target["name"])
        check("replicas" not in scaled["spec"], f"{name(scaled)}: the autoscaler and the file both say how many there are")


def selectors_find_pods():
    for it in of_kind("Deployment"):
        same([name(found) for found in matching(it["spec"]["selector"])], [name(it)], f"{name(it)}: selects")
    guarded = {name(found) for it in of_kind("PodDisruptionBudget") for found in matching(it["spec"]["selector"])}
    same(guarded, {name(it) for it in of_kind("Deployment")}, "guarded by a PodDisruptionBudget")
    for it in of_kind("Service", "PodMonitor"):
        check(matching(it["spec"]["selector"]), f"{name(it)} selects nothing")
    for it in of_kind("NetworkPolicy"):
        check(matching(it["spec"]["podSelector"]), f"{name(it)} selects nothing")


def ports_and_probes_are_the_programs():
    for it, spec, container in pods():
        if it["kind"] == "Job":
            continue
        command = container["args"][0]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        same(ports, {"grpc": HELP[command].ports["--listen"], "management": management_port()}, f"{name(it)}: ports")
        for probe, path in PATHS.items():
            asked = container[probe]["httpGet"]
            same((asked["path"], asked["port"]), (path, "management"), f"{name(it)}: {probe}")
        check(spec["terminationGracePeriodSeconds"] >= 15, f"{name(it)} is killed before it has drained")
    for it in of_kind("Service"):
        same([port["port"] for port in it["spec"]["ports"]], [HELP["proxy"].ports["--listen"]], f"{name(it)}: ports")
    open_ports = {port["port"] for it in of_kind("NetworkPolicy") for rule in it["spec"]["ingress"] for port in rule["ports"]}
    same(open_ports, {HELP[service].ports["--listen"] for service in SERVICES} | {management_port()}, "open ports")
    same(files["monitor.yaml"][0]["spec"]["podMetricsEndpoints"][0]["port"], "management", "PodMonitor: port")


def pods_have_no_more_rights_than_they_need_and_bounds():
    user = int(of_dockerfile("USER")[0].split(":")[0])
    for it, spec, container in pods():
        same(spec["securityContext"]["runAsUser"], user, f"{name(it)}: user")
        same(spec["securityContext"]["runAsNonRoot"], True, f"{name(it)}: not root")
        wanted = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        same(container["securityContext"], wanted, f"{name(it)}: securityContext")
        resources = container["resources"]
        check({"cpu", "memory"} <= set(resources["requests"]) and "memory" in resources["limits"], f"{name(it)}: resources")


warnings.simplefilter("ignore")
run(
    manifests_are_valid,
    the_kustomization_has_every_file_but_examples,
    images_are_of_this_version,
    commands_and_settings_are_the_programs,
    what_is_referred_to_is_there,
    selectors_find_pods,
    ports_and_probes_are_the_programs,
    pods_have_no_more_rights_than_they_need_and_bounds,
)
