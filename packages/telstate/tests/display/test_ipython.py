"""Completion of keys in calls, in real IPython processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from telstate_testing.terminals import Terminal

# They start many processes, which behave alike on every Python.
pytestmark = pytest.mark.slow

#: What a user has defined.
STATES = """
import telstate
from telstate import TelescopeState, to_xarray
ts = TelescopeState()
ts["n_chans"] = 4096
ts["cal_K"] = 0.25
ts['a"quote'] = 1
for antenna in ("m000", "m001"):
    ts.add(antenna + "_gain", 1.5, ts=100.0)

class Observation:
    def __init__(self):
        self.ts = ts
        self.views = {"cal": [ts.view("cal")]}

    @property
    def expensive(self):
        raise SystemExit("A property was evaluated")

observation = Observation()
"""
#: Completes the lines of a JSON list, and prints a JSON list of lists.
COMPLETE = """
import json, os
from IPython.core.completer import provisionalcompleter
completer = get_ipython().Completer
results = []
with provisionalcompleter():
    for line in json.loads(os.environ["LINES_TO_COMPLETE"]):
        found = completer.completions(line, len(line))
        results.append(sorted({line[: one.start] + one.text for one in found if one.type != "magic"}))
print("RESULTS" + json.dumps(results))
"""
GAINS = ["m000_gain", "m001_gain"]
ALL = ["cal_K", *GAINS, "n_chans"]
#: What was typed, and how the key goes on (None: there is no key to complete).
CASES: list[tuple[str, list[str] | None]] = [
    ('ts["n_', ["n_chans"]),
    ('ts.get("', ALL),
    ("ts.get('m", GAINS),
    ("ts.get( key = 'm", GAINS),
    ('value = [ts.get_range("m', GAINS),
    ('%time ts.get_range("m', GAINS),
    ('it\'s = "(" # "\nts.to_pandas(\n    "n', ["n_chans"]),
    ('ts.get_indexed("cal', ["cal_K"]),
    ('ts.wait_key("n_', ["n_chans"]),
    ('ts.key_type("n_', ["n_chans"]),
    ('ts.add("m', GAINS),
    ('ts.to_dataframe(["m000_gain", "m001', GAINS[1:]),
    ('ts.get_range_arrays("m001', GAINS[1:]),
    ('ts.get_many(["m000_gain", "m001', GAINS[1:]),
    ('ts.watch("m000_gain", "m001', GAINS[1:]),
    ('ts.watch("m000_gain", patterns=["m001', GAINS[1:]),
    ('ts.view("cal").get("K', ["K"]),
    ('ts.view("cal", exclusive=True).get("', ["K"]),
    ('ts.view("cal").keys("c', ["cal_K"]),
    ('ts.view("cal").save("file.rdb", keys=["c', ["cal_K"]),
    ('observation.ts.get("n', ["n_chans"]),
    ('observation.views["cal"][0].get("K', ["K"]),
    ('to_xarray(ts, ["m000_gain", "m001', GAINS[1:]),
    ('telstate.to_xarray(observation.ts, "m', GAINS),
    ('telstate.export(ts, "file.csv", ["m', GAINS),
    ('ts.get("nothing', []),
    ('to_xarray(None, "m', None),
    ('dir(ts, "m', None),
    ('ts.get_range("m000_gain", "m', None),
    ('ts.get_indexed("cal_K", ("m', None),
    ('observation.expensive.get("m', None),
    ('print(open("m', None),
    ('ts.get(f"m', None),
    ('{"a": 1}.get("m', None),
    ('ts.clear("m', None),
    ('ts.nope("m', None),
]


def run_ipython(code: str, environment: dict[str, str], *options: str) -> list[list[str]]:
    """Run code in IPython and return the results that it prints."""
    command = [sys.executable, "-m", "IPython", "--no-banner", *options, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and "RESULTS" in done.stdout, done
    results: list[list[str]] = json.loads(done.stdout.partition("RESULTS")[2])
    return results


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment of an IPython process, without the settings of the user."""
    lines = json.dumps([line for line, _ in CASES])
    # The pseudo-terminal does not answer where the cursor is.
    more = {"IPYTHONDIR": str(tmp_path), "LINES_TO_COMPLETE": lines, "PROMPT_TOOLKIT_NO_CPR": "1"}
    return {**os.environ, **more, "TERM": "xterm"}


@pytest.mark.parametrize("jedi", [True, False])
def test_keys_in_calls(jedi: bool, environment: dict[str, str]) -> None:
    """Keys complete in every method that takes them, with jedi and without, and nowhere else."""
    results = run_ipython(STATES + COMPLETE, environment, f"--IPCompleter.use_jedi={jedi}")
    for (line, keys), found in zip(CASES, results, strict=True):
        start = max(line.rfind('"'), line.rfind("'")) + 1
        if keys is not None:
            assert found == [line[:start] + key for key in keys], line
        else:
            assert not {line[:start] + key for key in ALL} & {*found}, line


@pytest.mark.parametrize("way", ["%load_ext telstate", "display(ts)", "dir(ts)"])
def test_imported_before_ipython(way: str, environment: dict[str, str]) -> None:
    """Where IPython starts later, keys complete once the extension is loaded, or a state was displayed."""
    loading = f"get_ipython().run_cell({way!r});" if way.startswith("%") else f"{way};"
    command = f"""
import telstate.telescope_state
import IPython
{STATES}
IPython.start_ipython(["--no-banner", "-c", {loading + COMPLETE!r}], user_ns={{"ts": ts}})
"""
    environment["LINES_TO_COMPLETE"] = json.dumps(['ts.get("n'])
    done = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, env=environment
    )
    assert 'RESULTS[["ts.get(\\"n_chans"]]' in done.stdout, done


def test_tab(environment: dict[str, str]) -> None:
    """The Tab key completes the only key that begins so, on a terminal."""
    command = [sys.executable, "-m", "IPython", "--no-banner", "-i", "-c", STATES]
    with Terminal(command, env=environment) as terminal:
        terminal.read_until("]: ")  # the prompt
        terminal.type('ts.get("n_\t')
        terminal.read_until("chans")
        terminal.type('") * 3\r')
        terminal.read_until("12288")


#: Formats in which a figure is displayed: before pyplot is imported, and after the user chose one.
SHOW_FIGURES = """
import json
from telstate import TelescopeState
from telstate.plot import plot_sensors
ts = TelescopeState()
ts.add("gain", 1.5, ts=100.0)
format = get_ipython().display_formatter.format
get_ipython().display_formatter.active_types = ["image/png", "image/svg+xml"]
shown = [list(format(plot_sensors(ts, "gain"))[0])]
from IPython.core.pylabtools import select_figure_formats
select_figure_formats(get_ipython(), {"svg"})
shown.append(list(format(plot_sensors(ts, "gain"))[0]))
print("RESULTS" + json.dumps(shown))
"""


def test_figures_are_displayed(tmp_path: Path) -> None:
    """A notebook displays a figure although pyplot was not imported, and in the format that the user chose."""
    script = tmp_path / "show.ipy"
    script.write_text(SHOW_FIGURES)
    environment = {**os.environ, "IPYTHONDIR": str(tmp_path)}
    command = [sys.executable, "-m", "IPython", "--quick", "--colors=NoColor", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    results = [one for one in done.stdout.splitlines() if one.startswith("RESULTS")]
    assert len(results) == 1, done.stderr
    assert json.loads(results[0].removeprefix("RESULTS")) == [
        ["text/plain", "image/png"],
        ["text/plain", "image/svg+xml"],
    ]
