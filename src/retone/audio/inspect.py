"""Measure a recording: levels, bandwidth, noise, clipping and other defects, in one pass."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from retone.audio.files import SILENCE_DBFS, open_reader, require_analysable
from retone.audio.formats import (
    HIGHEST_LOSSY_EDGE_HZ,
    LOSSY,
    LOWEST_LOSSY_EDGE_HZ,
    USUAL_RATES,
    integer_bits,
)
from retone.audio.meters.bandwidth import BandwidthMeter
from retone.audio.meters.defects import ActivityMeter, BitsMeter, ClipMeter, percent
from retone.audio.meters.loudness import LevelMeter
from retone.audio.meters.room import CorrelationMeter, DecayMeter, HumMeter
from retone.audio.reader import AudioInfo
from retone.progress import READING, Progress, silent

_BLOCK_FRAMES = 65536
_HUM_DBFS = -70.0
_WIDE_HZ = 15500.0  # edges above this, as lossy coding leaves them, are inaudible


@dataclass(frozen=True)
class Inspection:
    """Result of :func:`inspect`.

    Levels are minus infinity for silence; crest factor, loudness range and bandwidth are None.

    Units: LUFS, LU, dBTP, dBFS, dB, Hz and seconds as the names say; shares are 0 to 1.
    ``band_limited``: the content ends at ``bandwidth_hz`` in a steep edge. ``used_bits`` is
    below ``bit_depth`` if the lowest bits are always zero. ``noise_floor_dbfs`` is the RMS level
    that the quietest 5 % of 50 ms frames stay under: for music without pauses, its quietest
    moments. ``bit_rate`` is in bit/s, for lossy codings. ``origin`` says where the bandwidth shows
    that the samples were made of fewer. ``hum_hz`` and ``hum_dbfs``: hum of the mains.
    ``decay_s``: seconds in which sounds that end fall by 60 dB, the room's reverberation or faster.
    ``correlation``: of two channels, 1 equal to -1 opposite. ``pictures``, ``chapters`` and
    ``chunks``: what the file carries besides its samples and ``tags``.
    """

    path: str
    format: str
    subtype: str
    sample_rate: int
    channels: int
    frames: int
    duration_s: float
    bit_depth: int | None
    used_bits: int | None
    integrated_lufs: float
    momentary_max_lufs: float
    short_term_max_lufs: float
    loudness_range_lu: float | None
    true_peak_dbtp: float
    sample_peak_dbfs: float
    rms_dbfs: float
    crest_db: float | None
    dc_offset: float
    bandwidth_hz: float | None
    band_limited: bool
    noise_floor_dbfs: float | None
    silence_share: float
    clipped_samples: int
    clipped_share: float
    dual_mono: bool
    silent_channels: tuple[int, ...]
    layout: tuple[str, ...] | None
    bit_rate: int | None
    origin: str | None
    hum_hz: float | None
    hum_dbfs: float | None
    decay_s: float | None
    correlation: float | None
    pictures: int
    chapters: int
    chunks: tuple[str, ...]
    tags: dict[str, str]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Field names and values for JSON; infinities become None."""
        values = asdict(self)
        for name, value in values.items():
            if isinstance(value, float) and not math.isfinite(value):
                values[name] = None
        return values

    def require_analysable(self) -> None:
        """Refuse a silent or very short recording, as :func:`retone.audio.require_analysable`."""
        require_analysable(10.0 ** (self.sample_peak_dbfs / 20.0), self.duration_s, self.path)


def inspect(path: str | Path, progress: Progress = silent) -> Inspection:
    """Measure a recording in one pass, in constant memory.

    Args:
        path: the recording.
        progress: called with the seconds read.

    Returns:
        Measurements and one-line warnings; see :class:`Inspection`.

    Raises:
        AudioError: the file cannot be read.
    """
    with open_reader(path) as reader:
        info = reader.info
        rate, channels = info.sample_rate, info.channels
        bits = integer_bits(info.subtype)
        level = LevelMeter(rate, channels, info.layout)
        bandwidth = BandwidthMeter(rate, channels)
        clip = ClipMeter(channels, bits)
        used = BitsMeter(bits)
        activity = ActivityMeter(rate, channels)
        hum, decay, correlation = HumMeter(rate), DecayMeter(rate), CorrelationMeter(channels)
        for block in reader.blocks(_BLOCK_FRAMES):
            for meter in (level, bandwidth, clip, used, activity, hum, decay, correlation):
                meter.update(block)  # type: ignore[attr-defined]
            progress(READING, reader.position / rate, info.duration_s)
        warnings = list(reader.warnings)
    activity.finish()
    found = level.result()
    edge_hz, edge = bandwidth.result()
    clipped = clip.count()
    figures: dict[str, Any] = {
        "used_bits": used.result(),
        "bandwidth_hz": edge_hz,
        "band_limited": edge,
        "noise_floor_dbfs": activity.noise_floor_dbfs(),
        "silence_share": activity.silence_share(),
        "clipped_samples": clipped,
        "clipped_share": clipped / (info.frames * channels),
        "dual_mono": activity.dual_mono(),
        "silent_channels": tuple(activity.silent_channels()),
        "layout": info.layout,
        "bit_rate": _bit_rate(info),
        "origin": _origin(edge_hz, edge, rate, info.subtype),
        "decay_s": decay.result(),
        "correlation": correlation.result(),
        "pictures": len(info.metadata.pictures),
        "chapters": len(info.metadata.chapters),
        "chunks": tuple(dict.fromkeys(r.name.strip() for r in info.metadata.raw)),
    }
    lines = hum.result()
    figures["hum_hz"], figures["hum_dbfs"] = lines or (None, None)
    levels = {k: v for k, v in asdict(found).items() if k != "gated"}
    if not math.isfinite(found.integrated_lufs):
        levels["loudness_range_lu"] = None
    if not math.isfinite(found.sample_peak_dbfs):
        levels["crest_db"] = figures["bandwidth_hz"] = None
    if not found.gated:
        warnings.append("shorter than 0.4 s: the loudness is not gated.")
    warnings += _warnings({**levels, **figures}, rate, info.bit_depth)
    return Inspection(
        path=str(info.path),
        format=info.format,
        subtype=info.subtype,
        sample_rate=rate,
        channels=channels,
        frames=info.frames,
        duration_s=info.duration_s,
        bit_depth=info.bit_depth,
        tags=info.tags,
        warnings=tuple(warnings),
        **levels,
        **figures,
    )


def _bit_rate(info: AudioInfo) -> int | None:
    """Bits a second of a lossy coding, from its header or the file's size."""
    if info.subtype not in LOSSY:
        return None
    if info.bit_rate:
        return info.bit_rate
    carried = sum(len(p.data) for p in info.metadata.pictures)
    return round(8 * max(info.path.stat().st_size - carried, 0) / info.duration_s)


def _origin(edge_hz: float, edge: bool, rate: int, subtype: str) -> str | None:
    """What a steep edge of the spectrum shows of a recording's past."""
    if not edge or edge_hz > 0.46 * rate:
        return None
    lossy_edge = LOWEST_LOSSY_EDGE_HZ <= edge_hz <= HIGHEST_LOSSY_EDGE_HZ
    for below in USUAL_RATES:
        half = edge_hz / below
        if below < 0.95 * rate and 0.42 <= half <= 0.505 and not (lossy_edge and half < 0.49):
            return f"upsampled from about {below / 1000:g} kHz"
    if lossy_edge and subtype not in LOSSY:
        return f"cut at {edge_hz / 1000:.1f} kHz as by MP3 or another lossy coding"
    return None


def _warnings(f: dict[str, Any], rate: int, bit_depth: int | None) -> list[str]:
    """One line for each problem that a user should know of before using the recording."""
    if f["sample_peak_dbfs"] < SILENCE_DBFS:
        return [f"silent: no sample above {SILENCE_DBFS:g} dBFS."]
    lines = []
    if f["clipped_samples"] >= 10:
        share = percent(f["clipped_share"])
        lines.append(
            f"clipped: {f['clipped_samples']} samples ({share}). retone does not repair clipping."
        )
    if f["sample_peak_dbfs"] > 0.0:
        lines.append(
            f"peaks at {f['sample_peak_dbfs']:+.1f} dBFS, above full scale; "
            "only float files can hold that."
        )
    elif f["true_peak_dbtp"] > 0.5:
        lines.append(
            f"true peak {f['true_peak_dbtp']:+.1f} dBTP: players may clip between the samples."
        )
    if f["band_limited"] and f["bandwidth_hz"] < min(0.425 * rate, _WIDE_HZ):
        lines.append(
            f"band-limited: the content stops at about {f['bandwidth_hz'] / 1000:.1f} kHz; "
            "an equaliser cannot bring back what is above."
        )
    if f["origin"] and not (lines and lines[-1].startswith("band-limited")):
        lines.append(f"{f['origin']}.")
    if f["hum_hz"] and f["hum_dbfs"] > _HUM_DBFS:
        lines.append(
            f"hum of the mains: {f['hum_hz']:g} Hz and its multiples at {f['hum_dbfs']:.0f} dBFS."
        )
    if f["correlation"] is not None and f["correlation"] < -0.5:
        lines.append(
            f"the channels are opposite in phase (correlation {f['correlation']:.2f}): in mono "
            "most of the sound vanishes. Invert one channel."
        )
    if f["silent_channels"]:
        which = ", ".join(map(str, f["silent_channels"]))
        lines.append(f"silent channel: number {which}.")
    if f["dual_mono"]:
        lines.append("both channels are the same: mono stored as stereo.")
    if abs(f["dc_offset"]) > 0.01:
        lines.append(f"DC offset of {100 * f['dc_offset']:+.1f} % of full scale.")
    if f["silence_share"] > 0.5:
        lines.append(f"{percent(f['silence_share'])} of the recording is silent (below -60 dBFS).")
    if f["used_bits"] and bit_depth and f["used_bits"] < bit_depth:
        lines.append(f"only {f['used_bits']} of its {bit_depth} bits are used.")
    return lines
