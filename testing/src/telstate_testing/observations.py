"""Observations made up from a seed, with the names, kinds, types and rates of a MeerKAT telescope state.

Nothing here is imported before it is used, because the tests of some packages have neither NumPy nor telstate.
The same arguments always give the same contents.
"""

from __future__ import annotations

import io
import os
import pickle
import struct
from array import array
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Floats = NDArray[numpy.float64]

CAPTURE_BLOCK = "1600000000"
#: The time of the first sample: 2020-09-13 12:26:40 UTC.
START = 1_600_000_000.0
TARGETS = [
    "J1939-6342 | PKS1934-63, radec bpcal, 19:39:25.03, -63:42:45.6",
    "J1744-5144, radec gaincal, 17:44:25.45, -51:44:43.8",
    "ESO 137-G006, radec target, 16:15:03.84, -60:54:26.1",
    "J1331+3030 | 3C286, radec polcal, 13:31:08.29, 30:30:33.0",
]
# Seconds from a slew to the next, and the part of them that a slew takes.
SCAN, SLEW = 60.0, 1 / 6

#: A key: its full name, its kind ("immutable", "mutable" or "indexed"), and the value, the samples as
#: pairs of time and value, or the values by sub-key.
Key = tuple[str, str, Any]


def observation(
    antennas: int = 4,
    channels: int = 32,
    seconds: float = 120,
    seed: int = 0,
    scan: float = SCAN,
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
    scan
        How many seconds each target is observed; the bandpass calibrator is observed in every eighth scan.
    """
    names = [f"m{number:03}" for number in range(antennas)]
    inputs = [f"{name}{pol}" for name in names for pol in "hv"]
    yield from _attributes(names, inputs, channels, seconds)
    yield from _sensors(names, inputs, channels, seconds, scan, seed)
    yield from _products(names, channels, seconds, scan, seed)


def fill_observation(
    ts: Any,
    antennas: int = 4,
    channels: int = 32,
    seconds: float = 120,
    seed: int = 0,
    scan: float = SCAN,
) -> None:
    """Add the keys of `observation` to a synchronous telescope state, on whatever backend."""
    for name, kind, content in observation(antennas, channels, seconds, seed, scan):
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
    names: list[str], inputs: list[str], channels: int, seconds: float, scan: float, seed: int
) -> Iterator[Key]:
    """The mutable keys but for calibration products."""
    import numpy

    rng = numpy.random.default_rng(seed)

    def elapsed(period: float) -> Floats:
        """Return the times of samples with a period, in seconds since the start."""
        return numpy.arange(max(1, int(seconds / period)), dtype=numpy.float64) * period

    def series(times: Floats, values: Any) -> list[tuple[float, Any]]:
        return list(zip((START + times).tolist(), values.tolist()))

    def once(value: Any) -> list[tuple[float, Any]]:
        return [(START, value)]

    def wander(count: int, width: float) -> Floats:
        """Return random numbers that change slowly, with a standard deviation of about `width`."""
        length = min(90, count)
        noise = rng.normal(0, width * length**0.5, count + length - 1)
        smooth: Floats = numpy.convolve(noise, numpy.full(length, 1 / length), "valid")
        return smooth

    begins = elapsed(scan)
    targets = [(START + begin, TARGETS[_target_of(i)]) for i, begin in enumerate(begins.tolist())]
    activities = [
        sample
        for begin in begins.tolist()
        for sample in ((START + begin, "slew"), (START + begin + scan * SLEW, "track"))
    ]
    labels = [(START + begin, "track") for begin in begins.tolist()]
    lines = elapsed(5)
    weather = elapsed(10)
    if seconds >= 3600:  # the weather station fails for a while
        weather = weather[(weather < 0.60 * seconds) | (weather >= 0.68 * seconds)]
    count = len(weather)
    warmth = numpy.cos(
        2 * numpy.pi * weather / 86400
    )  # it is warmest at the start, in the afternoon
    voltage = "i0_antenna_channelised_voltage"
    sensors: dict[str, list[tuple[float, Any]]] = {
        f"{CAPTURE_BLOCK}_obs_activity": activities,
        f"{CAPTURE_BLOCK}_obs_label": labels,
        f"{CAPTURE_BLOCK}_obs_script_log": [
            (START + at, f"2020-09-13 - observe.py - INFO - {at:.0f} s after the start")
            for at in lines.tolist()
        ],
        "anc_air_pressure": series(weather, 900 - 1.5 * warmth + wander(count, 0.1)),
        "anc_air_relative_humidity": series(weather, 50 - 25 * warmth + wander(count, 1)),
        "anc_air_temperature": series(weather, 14 + 9 * warmth + wander(count, 0.3)),
        "anc_mean_wind_speed": series(weather, abs(4 + 2 * warmth + wander(count, 1.2))),
        "anc_wind_direction": series(weather, (190 + wander(count, 25)) % 360),
        "cbf_target": targets,
        f"{voltage}_channel_mask": once(numpy.arange(channels) % 16 == 0),
        f"{voltage}_input_data_suspect": once(numpy.zeros(len(inputs), bool)),
        "i0_baseline_correlation_products_channel_data_suspect": once(numpy.zeros(channels, bool)),
        "sdp_capture_block_id": once(CAPTURE_BLOCK),
    }
    for name in inputs:
        sensors[f"{voltage}_{name}_delay"] = [
            (START + at, (int(rng.integers(10**12)), 1e-9, 1e-12, 0.1, 1e-4))
            for at in elapsed(45).tolist()
        ]
        sensors[f"{voltage}_{name}_eq"] = [
            (START + at, [200 + 0j]) for at in elapsed(seconds / 2).tolist()
        ]
    for name in names:
        sensors |= {
            f"{name}_activity": activities,
            f"{name}_ap_indexer_position": once("l"),
            f"{name}_ap_point_error_tiltmeter_enabled": once(False),
            f"{name}_data_suspect": once(False),
            f"{name}_dig_l_band_noise_diode": once(False),
            f"{name}_target": targets,
        }
        times, minutes = elapsed(2), elapsed(60)
        requested = _pointing(times, scan)
        for axis, angles in zip(("azim", "elev"), requested):
            actual = angles + rng.normal(0, 0.002, len(times))
            for sensor in ("ap_tilt_corr", "pos_adjust_pointm"):
                corrections = wander(len(minutes), 1)
                sensors[f"{name}_{sensor}_{axis}"] = series(minutes, corrections)
            sensors[f"{name}_pos_actual_scan_{axis}"] = series(times, actual)
            sensors[f"{name}_pos_request_scan_{axis}"] = series(times, angles)
    # The last antenna is silent for a while.
    for axis in ("azim", "elev"):
        key = f"{names[-1]}_pos_actual_scan_{axis}"
        gap = START + seconds * 0.5, START + seconds * 0.6
        sensors[key] = [sample for sample in sensors[key] if not gap[0] <= sample[0] < gap[1]]
    for name, samples in sensors.items():
        yield name, "mutable", samples


def _target_of(scan: int) -> int:
    """Return the place of the target of a scan: calibrators, then a gain calibrator and the target in turn."""
    if scan % 8 == 0:
        return 0
    return 3 if scan == 1 else 1 + scan % 2


def _pointing(elapsed: Floats, scan: float) -> tuple[Floats, Floats]:
    """Return azimuth and elevation in degrees at times since the start; the antenna slews at first in each scan."""
    import numpy

    scans, within = numpy.divmod(elapsed, scan)
    slewed = (1 - numpy.cos(numpy.pi * numpy.minimum(within / (scan * SLEW), 1))) / 2
    places = numpy.array([_target_of(number) for number in range(int(scans[-1]) + 1)])
    before = places[numpy.maximum(scans.astype(int) - 1, 0)]
    after = places[scans.astype(int)]
    tracks = numpy.array([_track(target, elapsed) for target in TARGETS])
    here = numpy.arange(len(elapsed))
    old, new = tracks[before, :, here].T, tracks[after, :, here].T
    azimuth, elevation = old + (new - old) * slewed
    return azimuth, elevation


def _track(target: str, elapsed: Floats) -> tuple[Floats, Floats]:
    """Return azimuth and elevation in degrees of a target over the Karoo, at times since the start."""
    import numpy

    latitude, longitude = numpy.radians(-30.713), 21.444
    hours, degrees = ([float(part) for part in text.split(":")] for text in target.split(",")[-2:])
    right_ascension = 15 * (hours[0] + hours[1] / 60 + hours[2] / 3600)
    size = abs(degrees[0]) + degrees[1] / 60 + degrees[2] / 3600
    declination = numpy.radians(numpy.copysign(size, degrees[0]))
    days = (START + elapsed) / 86400 - 10_957.5  # since 2000-01-01 12:00
    sidereal = 280.46062 + 360.98564737 * days + longitude
    angle = numpy.radians(sidereal - right_ascension)
    north = numpy.sin(declination) * numpy.cos(latitude)
    north = north - numpy.cos(declination) * numpy.sin(latitude) * numpy.cos(angle)
    east = -numpy.cos(declination) * numpy.sin(angle)
    up = numpy.sin(declination) * numpy.sin(latitude)
    up = up + numpy.cos(declination) * numpy.cos(latitude) * numpy.cos(angle)
    # Between -90 and 270 degrees, where no target of ours wraps.
    azimuth = (numpy.degrees(numpy.arctan2(east, north)) + 90) % 360 - 90
    return azimuth, numpy.degrees(numpy.arcsin(up))


def _products(
    names: list[str], channels: int, seconds: float, scan: float, seed: int
) -> Iterator[Key]:
    """What the calibration pipeline and the imagers write."""
    import numpy

    rng = numpy.random.default_rng(seed + 1)
    cal = f"{CAPTURE_BLOCK}_cal"
    one = (2, len(names))
    hour = 2 * numpy.pi / 3600
    # What differs from input to input: size, delay (in periods over the band), ripple and drift.
    size, delay = rng.uniform(0.8, 1.2, one), rng.normal(0, 0.8, one)
    ripple, rate = rng.uniform(0, 2 * numpy.pi, one), rng.uniform(0.1, 0.4, one) * hour
    delay[:, 0] = rate[:, 0] = ripple[:, 0] = 0  # the reference antenna

    def noise(shape: tuple[int, ...], width: float) -> Any:
        return rng.normal(0, width, shape) + 1j * rng.normal(0, width, shape)

    def gains(at: float) -> Any:
        phase = numpy.sin(rate * at + ripple) - numpy.sin(ripple)
        values = size * numpy.exp(1j * phase) + noise(one, 0.01)
        return values.astype(numpy.complex64)

    def delays(at: float) -> Any:
        drift = numpy.sin(rate * at + ripple) - numpy.sin(ripple)
        values = 1e-9 * (delay + 0.3 * drift + rng.normal(0, 0.01, one) * (delay != 0))
        return values.astype(numpy.float32)

    def bandpass(at: float, part: int) -> Any:
        count = channels // 4
        band = (numpy.arange(part * count, (part + 1) * count) + 0.5) / channels
        band = band[:, numpy.newaxis, numpy.newaxis]
        edges = 1 / (1 + abs(2 * band - 1) ** 20)  # the filter
        waves = 1 + 0.08 * numpy.cos(2 * numpy.pi * 5 * band + ripple)
        turns = delay * (band - 0.5) * (1 + 0.2 * numpy.sin(rate * at))
        values = size * edges * waves * numpy.exp(2j * numpy.pi * turns)
        values = values + noise(values.shape, 0.02)
        satellites = (0.80 < band) & (band < 0.86)
        return numpy.where(satellites, numpy.nan, values).astype(numpy.complex64)

    def ratios(at: float = 0.0) -> Any:
        return rng.uniform(10, 50, one).astype(numpy.float32)

    def every(period: float, make: Callable[[float], Any]) -> list[tuple[float, Any]]:
        count = max(1, int(seconds / period))
        return [(START + i * period, make(i * period)) for i in range(count)]

    inputs = [f"{name}{pol}" for name in names for pol in "hv"]
    yield f"{cal}_antlist", "immutable", names
    yield f"{cal}_bls_ordering", "immutable", [[a, b] for a in inputs for b in inputs]
    yield f"{cal}_pol_ordering", "immutable", ["v", "h"]
    yield f"{cal}_product_B_parts", "immutable", 4
    yield f"{cal}_refant", "immutable", names[0]
    for part in range(4):
        yield f"{cal}_product_B{part}", "mutable", every(300, partial(bandpass, part=part))
        yield f"{cal}_product_SNR_B{part}", "mutable", every(300, ratios)
    yield f"{cal}_product_G", "mutable", every(scan, gains)
    yield f"{cal}_product_K", "mutable", every(scan, delays)
    yield f"{cal}_product_SNR_G", "mutable", every(scan, ratios)
    yield f"{cal}_product_SNR_K", "mutable", every(scan, ratios)
    for number in range(60):
        yield f"{cal}_shared_{number}", "immutable", ("CalSolution", "K", gains(0.0), START)
    spectral = f"{CAPTURE_BLOCK}_spectral_image"
    for name in ("major", "minor", "noise", "normalized_noise", "peak", "pixels", "w_slices"):
        values = {(TARGETS[0], channel): channel / 2 for channel in range(channels)}
        yield f"{spectral}_{name}", "indexed", values
    states = {(TARGETS[0], channel): "complete" for channel in range(channels)}
    yield f"{spectral}_status", "indexed", states
