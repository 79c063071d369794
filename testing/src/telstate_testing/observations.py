"""Observations made up from a seed, with the names, kinds, types and rates of a MeerKAT telescope state.

Nothing here is imported before it is used, because the tests of some packages have neither NumPy nor telstate.
The same arguments always give the same contents.
"""

from __future__ import annotations

import io
import os
import pickle
import random
import struct
from array import array
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

CAPTURE_BLOCK = "1600000000"
#: The time of the first sample: 2020-09-13 12:26:40 UTC.
START = 1_600_000_000.0
TARGETS = [
    "J1939-6342 | PKS1934-63, radec bpcal, 19:39:25.03, -63:42:45.6",
    "J0408-6545, radec bpcal, 4:08:20.38, -65:45:09.1",
    "J1331+3030 | 3C286, radec polcal, 13:31:08.29, 30:30:33.0",
    "NGC 253, radec target, 0:47:33.12, -25:17:17.6",
]
# Seconds that a slew to a target takes, and seconds until the next slew.
SLEW, SCAN = 10.0, 60.0

#: A key: its full name, its kind ("immutable", "mutable" or "indexed"), and the value, the samples as
#: pairs of time and value, or the values by sub-key.
Key = tuple[str, str, Any]


def observation(
    antennas: int = 4, channels: int = 32, seconds: float = 120, seed: int = 0
) -> Iterator[Key]:
    """Return the keys of an observation.

    Parameters
    ----------
    antennas, channels
        The size of the array and of its spectra. 64 antennas and 4,096 channels make 1,515 keys.
    seconds
        How long the observation is. There are 2 pointing samples for each antenna and second.
    seed
        The seed of the random numbers.
    """
    names = [f"m{number:03}" for number in range(antennas)]
    inputs = [f"{name}{pol}" for name in names for pol in "hv"]
    yield from _attributes(names, inputs, channels, seconds)
    yield from _sensors(names, inputs, channels, seconds, random.Random(seed))
    yield from _products(names, channels, seconds, seed)


def fill_observation(
    ts: Any, antennas: int = 4, channels: int = 32, seconds: float = 120, seed: int = 0
) -> None:
    """Add the keys of `observation` to a synchronous telescope state, on whatever backend."""
    for name, kind, content in observation(antennas, channels, seconds, seed):
        if kind == "immutable":
            ts[name] = content
        elif kind == "mutable":
            for start in range(0, len(content), 10_000):
                times, values = zip(*content[start : start + 10_000])
                ts.add_many(name, values, times)
        else:
            with ts.pipeline() as p:
                for sub_key, value in content.items():
                    p.set_indexed(name, sub_key, value)


def write_old_observation(
    path: str | os.PathLike[str],
    antennas: int = 2,
    channels: int = 8,
    seconds: float = 60,
    seed: int = 0,
) -> None:
    """Write an observation as of before March 2019: the values are pickles of Python 2.

    The key ``1600000000_obs_catalogue`` holds an instance of a class, which only trusted pickles may; the
    safe policy reads the values of all others.
    """
    from telstate_rdb import RdbWriter, SortedSet

    catalogue = b"\x80\x02ckatpoint.catalogue\nCatalogue\nq\x00)\x81q\x01."
    with RdbWriter(path) as writer:
        writer.write(f"{CAPTURE_BLOCK}_obs_catalogue".encode(), catalogue)
        for name, kind, content in observation(antennas, channels, seconds, seed):
            if kind == "immutable":
                writer.write(name.encode(), _pickle(content))
            elif kind == "mutable":
                members = tuple(struct.pack(">d", time) + _pickle(value) for time, value in content)
                writer.write(name.encode(), SortedSet(members, array("d", bytes(8 * len(members)))))
            # There were no indexed keys then.


_DISPATCH: Any = pickle._Pickler.dispatch


class _Python2Pickler(pickle._Pickler):
    """Writes pickles as Python 2 did: ASCII text is a byte string, and modules have their old names."""

    # typeshed does not have what follows.
    write: Callable[[bytes], object]
    memoize: Callable[[object], None]
    dispatch: ClassVar[Any]

    def write_text(self, value: str) -> None:
        if value.isascii():
            self.write_bytes(value.encode())
        else:
            _DISPATCH[str](self, value)

    def write_bytes(self, value: bytes) -> None:
        is_short = len(value) < 256
        head = b"U" + bytes([len(value)]) if is_short else b"T" + struct.pack("<I", len(value))
        self.write(head + value)

    def save_global(self, obj: Any, name: str | None = None) -> None:
        module = obj.__module__.replace("numpy._core", "numpy.core")
        module = module.replace("builtins", "__builtin__")
        self.write(f"c{module}\n{name or obj.__qualname__}\n".encode())
        self.memoize(obj)

    dispatch = _DISPATCH | {str: write_text, bytes: write_bytes}


def _pickle(value: object) -> bytes:
    output = io.BytesIO()
    _Python2Pickler(output, 2).dump(value)
    return output.getvalue()


def _attributes(
    names: list[str], inputs: list[str], channels: int, seconds: float
) -> Iterator[Key]:
    """The immutable keys."""
    import numpy

    products = [(a, b) for i, a in enumerate(inputs) for b in inputs[i:]]
    streams = {
        "i0_antenna_channelised_voltage": "cbf.antenna_channelised_voltage",
        "i0_baseline_correlation_products": "cbf.baseline_correlation_products",
        "cal": "sdp.cal",
        "sdp_l0": "sdp.vis",
        "sdp_l0_continuum": "sdp.vis",
        "sdp_l1_flags": "sdp.flags",
    }
    values: dict[str, Any] = {
        "capture_block_id": CAPTURE_BLOCK,
        "i0_adc_sample_rate": 1712e6,
        "i0_antenna_channelised_voltage_instrument_dev_name": "i0",
        "i0_antenna_channelised_voltage_ticks_between_spectra": 2 * channels,
        "i0_baseline_correlation_products_bls_ordering": products,
        "i0_baseline_correlation_products_n_accs": 417_792,
        "i0_n_inputs": len(inputs),
        "i0_scale_factor_timestamp": 1712e6,
        "i0_sync_time": START - 100_000,
        "sdp_archived_streams": ["sdp_l0", "sdp_l1_flags", "cal"],
        "sdp_config": {
            "version": "3.4",
            "inputs": {
                f"in{number}": {
                    "type": "cbf.antenna_channelised_voltage",
                    "url": f"spead://239.1.2.{number}:7148",
                    "src_streams": ["i0_antenna_channelised_voltage"],
                }
                for number in range(60)
            },
        },
        "sdp_l0_bls_ordering": numpy.array(products),
        "sdp_l0_need_weights_power_scale": True,
        "sdp_task_details": {
            f"task.{number}": {"host": f"h{number}", "command": "run " + "--opt=1 " * 40}
            for number in range(40)
        },
        "stream_name": "sdp_l0",
        "sub_band": "l",
        "sub_config_label": "unknown",
        "sub_dump_rate": 0.125,
        "sub_pool_resources": ",".join(["cbf_1", "sdp_1", *names]),
        "sub_product": "c856M4k",
        "sub_sub_nr": 1,
        "subarray_product_id": "array_1",
    }
    for stream, stream_type in streams.items():
        values |= {
            f"{stream}_bandwidth": 856e6,
            f"{stream}_center_freq": 1284e6,
            f"{stream}_int_time": 8.0,
            f"{stream}_n_chans": channels,
            f"{stream}_s3_endpoint_url": "http://archive-gw-1.kat.ac.za:7480",
            f"{stream}_src_streams": ["i0_baseline_correlation_products"],
            f"{stream}_stream_type": stream_type,
            f"{stream}_sync_time": START - 100_000,
        }
    for number, name in enumerate(names):
        position = f"-30:42:39.8, 21:26:38.0, 1086.6, 13.5, {number * 7.25:.3f} -207.29 8.597"
        values |= {
            f"{name}_ap_version_list": "receptor 1.2.3 " * 20,
            f"{name}_observer": f"{name}, {position} 5861.4 5861.9 -0.0006 0 0 0",
            f"{name}_rsc_rxl_serial_number": 4000 + number,
        }
    dumps = int(seconds // 8)
    shape = (dumps, channels, len(products))
    chunks = ((1,) * dumps, (channels // 4,) * 4, (len(products),))
    arrays = {"correlator_data": "<c8", "flags": "|u1", "weights": "|u1"}
    values |= {
        f"{CAPTURE_BLOCK}_obs_params": {f"k{number}": f"value {number}" for number in range(40)},
        f"{CAPTURE_BLOCK}_sdp_l0_chunk_info": {
            array: {
                "prefix": f"{CAPTURE_BLOCK}-sdp-l0",
                "dtype": dtype,
                "shape": shape,
                "chunks": chunks,
            }
            for array, dtype in arrays.items()
        },
        f"{CAPTURE_BLOCK}_sdp_l0_first_timestamp": 100_000.0,
    }
    for name, value in values.items():
        yield name, "immutable", value


def _sensors(
    names: list[str], inputs: list[str], channels: int, seconds: float, rng: random.Random
) -> Iterator[Key]:
    """The mutable keys but for calibration products."""
    import numpy

    def every(period: float, value: Callable[[float], Any]) -> list[tuple[float, Any]]:
        """Return samples from the start on, with a period in seconds."""
        count = max(1, int(seconds / period))
        return [(START + i * period, value(i * period)) for i in range(count)]

    def once(value: Any) -> list[tuple[float, Any]]:
        return [(START, value)]

    def noise(centre: float, width: float) -> Callable[[float], float]:
        return lambda elapsed: rng.gauss(centre, width)

    scans = [i * SCAN for i in range(max(1, int(seconds / SCAN)))]
    targets = [(START + begin, TARGETS[i % len(TARGETS)]) for i, begin in enumerate(scans)]
    activities = [(START + begin + at, what) for begin in scans for at, what in _ACTIVITIES]
    labels = [(START + begin, "track") for begin in scans]
    voltage = "i0_antenna_channelised_voltage"
    sensors: dict[str, list[tuple[float, Any]]] = {
        f"{CAPTURE_BLOCK}_obs_activity": activities,
        f"{CAPTURE_BLOCK}_obs_label": labels,
        f"{CAPTURE_BLOCK}_obs_script_log": every(
            5, lambda elapsed: f"2020-09-13 - observe.py - INFO - {elapsed:.0f} s after the start"
        ),
        "anc_air_pressure": every(10, noise(900, 0.5)),
        "anc_air_relative_humidity": every(10, noise(40, 2)),
        "anc_air_temperature": every(10, noise(15, 0.5)),
        "anc_mean_wind_speed": every(10, noise(4, 1)),
        "anc_wind_direction": every(10, noise(180, 20)),
        "cbf_target": targets,
        f"{voltage}_channel_mask": once(numpy.arange(channels) % 16 == 0),
        f"{voltage}_input_data_suspect": once(numpy.zeros(len(inputs), bool)),
        "i0_baseline_correlation_products_channel_data_suspect": once(numpy.zeros(channels, bool)),
        "sdp_capture_block_id": once(CAPTURE_BLOCK),
    }
    for name in inputs:
        sensors[f"{voltage}_{name}_delay"] = every(
            45, lambda elapsed: (rng.randrange(10**12), 1e-9, 1e-12, 0.1, 1e-4)
        )
        sensors[f"{voltage}_{name}_eq"] = every(seconds / 2, lambda elapsed: [200 + 0j])
    for name in names:
        sensors |= {
            f"{name}_activity": activities,
            f"{name}_ap_indexer_position": once("l"),
            f"{name}_ap_point_error_tiltmeter_enabled": once(False),
            f"{name}_data_suspect": once(False),
            f"{name}_dig_l_band_noise_diode": once(False),
            f"{name}_target": targets,
        }
        for axis, centre in (("azim", 120.0), ("elev", 45.0)):
            pointing = _pointing(centre, noise(0, 0.01))
            sensors[f"{name}_ap_tilt_corr_{axis}"] = every(60, noise(0, 1))
            sensors[f"{name}_pos_adjust_pointm_{axis}"] = every(60, noise(0, 1))
            sensors[f"{name}_pos_actual_scan_{axis}"] = every(2, pointing)
            sensors[f"{name}_pos_request_scan_{axis}"] = every(2, _pointing(centre, None))
    # The last antenna is silent for a while.
    for axis in ("azim", "elev"):
        key = f"{names[-1]}_pos_actual_scan_{axis}"
        gap = START + seconds * 0.5, START + seconds * 0.6
        sensors[key] = [sample for sample in sensors[key] if not gap[0] <= sample[0] < gap[1]]
    for name, samples in sensors.items():
        yield name, "mutable", samples


_ACTIVITIES = [(0.0, "slew"), (SLEW, "track")]


def _pointing(centre: float, noise: Callable[[float], float] | None) -> Callable[[float], float]:
    """Return the coordinate, in degrees, that an antenna has at a time since the start."""

    def pointing(elapsed: float) -> float:
        scan, within = divmod(elapsed, SCAN)
        before, after = (centre + 25 * ((number % 4) - 1.5) for number in (scan - 1, scan))
        slewed = min(within / SLEW, 1)
        return before + (after - before) * slewed + elapsed / 240 + (noise(0) if noise else 0)

    return pointing


def _products(names: list[str], channels: int, seconds: float, seed: int) -> Iterator[Key]:
    """What the calibration pipeline and the imagers write."""
    import numpy

    rng = numpy.random.default_rng(seed)
    cal = f"{CAPTURE_BLOCK}_cal"

    def gains(*shape: int) -> Any:
        values = rng.normal(1, 0.1, shape) + 1j * rng.normal(0, 0.1, shape)
        return values.astype(numpy.complex64)

    def ratios(*shape: int) -> Any:
        return rng.uniform(10, 50, shape).astype(numpy.float32)

    def every(period: float, make: Callable[..., Any], *shape: int) -> list[tuple[float, Any]]:
        count = max(1, int(seconds / period))
        return [(START + i * period, make(*shape)) for i in range(count)]

    inputs = [f"{name}{pol}" for name in names for pol in "hv"]
    yield f"{cal}_antlist", "immutable", names
    yield f"{cal}_bls_ordering", "immutable", [[a, b] for a in inputs for b in inputs]
    yield f"{cal}_pol_ordering", "immutable", ["v", "h"]
    yield f"{cal}_product_B_parts", "immutable", 4
    yield f"{cal}_refant", "immutable", names[0]
    one = (2, len(names))
    for part in range(4):
        yield f"{cal}_product_B{part}", "mutable", every(300, gains, channels // 4, *one)
        yield f"{cal}_product_SNR_B{part}", "mutable", every(300, ratios, *one)
    yield f"{cal}_product_G", "mutable", every(SCAN, gains, *one)
    yield f"{cal}_product_K", "mutable", every(SCAN, ratios, *one)
    yield f"{cal}_product_SNR_G", "mutable", every(SCAN, ratios, *one)
    yield f"{cal}_product_SNR_K", "mutable", every(SCAN, ratios, *one)
    for number in range(60):
        yield f"{cal}_shared_{number}", "immutable", ("CalSolution", "K", gains(*one), START)
    spectral = f"{CAPTURE_BLOCK}_spectral_image"
    for name in ("major", "minor", "noise", "normalized_noise", "peak", "pixels", "w_slices"):
        values = {(TARGETS[0], channel): channel / 2 for channel in range(channels)}
        yield f"{spectral}_{name}", "indexed", values
    states = {(TARGETS[0], channel): "complete" for channel in range(channels)}
    yield f"{spectral}_status", "indexed", states
