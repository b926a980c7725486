"""Makes the clients' programs ready to run, one language after the other: environments with pinned packages, compiled programs.

A language whose tools are not on this machine, or are too old for the packages, is Unavailable: its clients are not run, and
the report says why. Anything else that goes wrong is an error."""
import os
import re
import shutil
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
SCRIPTS = os.path.join(HERE, "..", "..", "scripts")
PREPARE = 900  # seconds for one language, downloads included


class Unavailable(Exception):
    pass


def call(command, folder=None, **variables):
    """Standard output of a command that has to succeed."""
    done = subprocess.run(command, cwd=folder, env=os.environ | variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=PREPARE)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command[:3])} failed:\n{done.stderr[-2000:]}{done.stdout[-2000:]}")
    return done.stdout.strip()


def need(tool, wanted, *version):
    """Unavailable unless the tool is there in that version, a tuple of numbers, or a later one."""
    if not shutil.which(tool):
        raise Unavailable(f"{tool} is not installed")
    said = subprocess.run([tool, *version], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
                          env=os.environ | {"GOTOOLCHAIN": "local"}).stdout
    found = re.search(r"(\d+)\.(\d+)", said)
    if not found or tuple(map(int, found.groups())) < wanted:
        raise Unavailable(f"{tool} {'.'.join(map(str, wanted))} or later is needed; here is {said.splitlines()[0] if said else 'none'}")


def copied(work, language):
    """A copy of a language's folder, so that what its tools leave behind does not land in the source tree."""
    folder = os.path.join(work, language)
    shutil.copytree(os.path.join(HERE, language), folder, dirs_exist_ok=True)
    return folder


def python(work):
    venv = call([os.path.join(SCRIPTS, "python-venv"), "clients", os.path.join(HERE, "python", "requirements.txt")])
    folder = os.path.join(HERE, "python")
    return {f"python/{name}": [venv, "-B", os.path.join(folder, name)] for name in sorted(os.listdir(folder)) if name.endswith("_client.py")}


def js(work):
    need("node", (20, 0), "--version")
    if not shutil.which("npm"):
        raise Unavailable("npm is not installed")
    modules = call([os.path.join(SCRIPTS, "node-modules"), "clients", os.path.join(HERE, "js")])
    folder = copied(work, "js")
    link_modules(folder, modules)
    programs = sorted(name for name in os.listdir(folder) if name.endswith(".mjs") and name != "features.mjs")
    return {f"js/{name}": ["node", os.path.join(folder, name)] for name in programs}


def link_modules(folder, modules):
    """Node looks for packages beside the program only."""
    link = os.path.join(folder, "node_modules")
    if os.path.lexists(link):
        os.unlink(link)
    os.symlink(os.path.join(modules, "node_modules"), link)


def go(work):
    need("go", (1, 26), "version")
    folder = copied(work, "go")
    program = os.path.join(folder, "clients")
    call(["go", "build", "-o", program, "."], folder, GOFLAGS="-mod=readonly -buildvcs=false", GOTOOLCHAIN="local")
    return {"go": [program]}


def rust(work):
    need("cargo", (1, 95), "--version")
    folder = copied(work, "rust")
    call(["cargo", "build", "--quiet", "--jobs", "2"], folder, CARGO_TARGET_DIR=os.path.join(folder, "target"))
    return {"rust": [os.path.join(folder, "target", "debug", "clients")]}


def java(work):
    need("java", (17, 0), "-version")
    need("mvn", (3, 6), "--version")
    folder = copied(work, "java")
    call(["mvn", "-B", "-q", "dependency:copy-dependencies", "-DincludeScope=runtime", "compiler:compile"], folder)
    target = os.path.join(folder, "target")
    return {"java": ["java", "-cp", f"{target}/classes:{target}/dependency/*", "Clients"]}


LANGUAGES = {"Python": python, "JavaScript": js, "Go": go, "Rust": rust, "Java": java}
