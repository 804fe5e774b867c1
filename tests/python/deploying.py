"""What the checks of deploy/ share: the files, and what the program says about itself.

They are run as `CHECK.py PROGRAM`: nothing is started but `PROGRAM … --help`.
"""

import pathlib
import re
import subprocess
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
SERVICES = ("proxy", "datacoord", "datanode", "querynode")


def check(condition, text):
    if not condition:
        raise AssertionError(text)


def same(found, wanted, what):
    check(found == wanted, f"{what}: {found!r}, and not {wanted!r}")


def run(*cases):
    for case in cases:
        try:
            case()
        except AssertionError as error:
            sys.exit(f"FAILED {case.__name__}: {error}")
        print(f"ok {case.__name__}")


def read(name):
    return (DEPLOY / name).read_text()


def documents(name):
    return [document for document in yaml.safe_load_all(read(name)) if document]


class Help:
    """What `PROGRAM COMMAND --help` says: flags, environment variables, default ports."""

    def __init__(self, command):
        text = subprocess.run([sys.argv[1], command, "--help"], capture_output=True, text=True, check=True).stdout
        self.flags = set(re.findall(r"(--[a-z][a-z0-9-]*)", text))
        self.environment = set(re.findall(r"\[env: ([A-Z0-9_]+)", text))
        self.ports = {flag: int(port) for flag, port in re.findall(r"(--listen|--management) <[^>]*>.*?:(\d+)\]", text, re.S)}


HELP = {command: Help(command) for command in (*SERVICES, "migrate", "healthcheck")}


def of_dockerfile(word):
    return re.findall(rf"^{word} (.*)$", read("Dockerfile"), re.M)


def management_port():
    found = re.search(r"ELANUS_MANAGEMENT=0\.0\.0\.0:(\d+)", read("Dockerfile"))
    check(found, "deploy/Dockerfile does not say where management is")
    return int(found[1])


def version():
    return re.search(r'^version = "(.+)"', (ROOT / "Cargo.toml").read_text(), re.M)[1]


def flags_of(arguments):
    """A command line as pairs: `[proxy, --listen, X]` is ("proxy", {"--listen": "X"})."""
    command, *rest = arguments
    same(len(rest) % 2, 0, f"flags and their values in {arguments}")
    return command, dict(zip(rest[::2], rest[1::2]))


def check_command(arguments, where):
    """Flags that the program has, and ports that are its own."""
    command, flags = flags_of(arguments)
    check(command in HELP, f"{where}: there is no command {command}")
    unknown = set(flags) - HELP[command].flags
    check(not unknown, f"{where}: elanus {command} has no flag {sorted(unknown)}")
    for flag, value in flags.items():
        if flag in ("--listen", "--advertise"):
            same(int(value.rsplit(":", 1)[1]), HELP[command].ports["--listen"], f"{where}: port of {flag}")
        if flag == "--management":
            same(int(value.rsplit(":", 1)[1]), management_port(), f"{where}: port of {flag}")
    if command in SERVICES:
        check("--advertise" in flags, f"{where}: nobody can reach {command} at {flags.get('--listen')}: --advertise")
    return command, flags


def check_environment(names, commands, where):
    known = set().union(*(HELP[command].environment for command in commands))
    unknown = {name for name in names if name.startswith("ELANUS_")} - known
    check(not unknown, f"{where}: no such setting: {sorted(unknown)}")
