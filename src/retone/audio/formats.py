"""Containers and sample formats: what extensions mean, and the nearest available format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from retone.errors import AudioError

CONTAINERS = {
    ".wav": "WAV",
    ".flac": "FLAC",
    ".ogg": "OGG",
    ".oga": "OGG",
    ".opus": "OGG",
    ".mp3": "MP3",
    ".aif": "AIFF",
    ".aiff": "AIFF",
    ".aifc": "AIFF",
    ".caf": "CAF",
    ".w64": "W64",
    ".rf64": "RF64",
    ".m4a": "MP4",
    ".m4b": "MP4",
    ".mp4": "MP4",
    ".m4v": "MP4",
    ".mov": "MOV",
    ".mkv": "Matroska",
    ".mka": "Matroska",
    ".webm": "WebM",
}
USUAL_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000)
"""Sample rates in Hz at which recordings are made."""
LOWEST_LOSSY_EDGE_HZ, HIGHEST_LOSSY_EDGE_HZ = 14500.0, 20600.0
"""Where lossy codings cut the spectrum."""
VIDEO = {".mp4", ".m4v", ".mov", ".mkv", ".webm"}
"""Endings of files that hold a picture too."""
BY_FFMPEG = {"MP4", "MOV", "Matroska", "WebM"}
"""Containers that FFmpeg's libraries write."""
NAMED: dict[str, tuple[str, str | None]] = {
    "wav": ("WAV", None), "flac": ("FLAC", None), "aiff": ("AIFF", None), "caf": ("CAF", None),
    "w64": ("W64", None), "rf64": ("RF64", None), "mp3": ("MP3", None), "ogg": ("OGG", "VORBIS"),
    "vorbis": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS"), "m4a": ("MP4", "AAC"),
    "aac": ("MP4", "AAC"), "alac": ("MP4", "ALAC_24"), "mp4": ("MP4", None), "mov": ("MOV", None),
    "mkv": ("Matroska", None), "mka": ("Matroska", None), "webm": ("WebM", None),
}  # fmt: skip
"""Formats that can be asked for by name: container, and coding where the container has several."""
WAV_FAMILY = {"WAV", "WAVEX", "RF64"}
_FAMILIES = (WAV_FAMILY, {"MP4", "MOV"}, {"Matroska", "WebM"})

_BITS = {
    "PCM_S8": 8,
    "PCM_U8": 8,
    "PCM_16": 16,
    "PCM_24": 24,
    "PCM_32": 32,
    "ALAC_16": 16,
    "ALAC_20": 20,
    "ALAC_24": 24,
    "ALAC_32": 32,
    "FLOAT": 32,
    "DOUBLE": 64,
}
_NAMES = {
    "FLOAT": "32-bit float",
    "DOUBLE": "64-bit float",
    "ULAW": "u-law",
    "ALAW": "A-law",
    "VORBIS": "Vorbis",
    "OPUS": "Opus",
    "MPEG_LAYER_III": "MP3",
    "MPEG_LAYER_II": "MP2",
    "AC3": "AC-3",
    "EAC3": "E-AC-3",
}
_WRITABLE = {
    "WAV": ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"),
    "AIFF": ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"),
    "CAF": (
        *("PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"),
        *("ALAC_16", "ALAC_20", "ALAC_24", "ALAC_32"),
    ),
    "FLAC": ("PCM_S8", "PCM_16", "PCM_24"),
    "MP3": ("MPEG_LAYER_III",),
    "MP4": ("AAC", "ALAC_16", "ALAC_24"),
    "MOV": ("AAC", "ALAC_16", "ALAC_24", "PCM_16", "PCM_24", "PCM_32", "FLOAT"),
    "Matroska": ("OPUS", "PCM_16", "PCM_24", "PCM_32", "FLOAT"),
    "WebM": ("OPUS",),
}
_LOSSY_CHOICE = {"MP4": "AAC", "MOV": "AAC", "Matroska": "OPUS", "WebM": "OPUS"}
OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
_AAC_RATES = (*(8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000),)
_WRITABLE["WAVEX"] = _WRITABLE["RF64"] = _WRITABLE["W64"] = _WRITABLE["WAV"]
LOSSY = {
    *("VORBIS", "OPUS", "MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III"),
    *("AAC", "AC3", "EAC3", "WMA", "DTS", "DSD"),
}


_READ_ONLY = {
    ".3gp": "MP4", ".wma": "ASF", ".aac": "ADTS", ".wv": "WavPack", ".ape": "APE",
}  # fmt: skip
READABLE = frozenset(
    {*CONTAINERS, *_READ_ONLY}
    | {".ac3", ".au", ".avi", ".bwf", ".dff", ".dsf", ".mp2", ".mpg", ".snd", ".spx", ".tta"}
)
"""Endings by which a folder's recordings are found; a file that is named may have any."""


def integer_bits(subtype: str) -> int | None:
    """Bits of an integer sample format, None for float and lossy ones."""
    return None if subtype in ("FLOAT", "DOUBLE") else _BITS.get(subtype)


def bit_depth(subtype: str) -> int | None:
    """Bits of a sample, floats included; None for codings without a bit depth."""
    return _BITS.get(subtype)


def describe(subtype: str) -> str:
    """A sample format in words."""
    if subtype in _NAMES:
        return _NAMES[subtype]
    bits = _BITS.get(subtype)
    if bits:
        return f"{bits}-bit" + (" ALAC" if subtype.startswith("ALAC") else "")
    return subtype


def container_of(path: Path) -> str:
    """The container for a file name's extension.

    Raises:
        AudioError: no container with this extension can be written.
    """
    suffix = path.suffix.lower()
    if suffix not in CONTAINERS:
        what = f"'{suffix}'" if suffix else "no extension"
        raise AudioError(
            f"{path}: the output has {what}; expected one of {' '.join(CONTAINERS)}. "
            "Rename the output, such as with .wav."
        )
    return CONTAINERS[suffix]


def extension_warning(path: Path, container: str) -> str | None:
    """A warning if the file's extension does not match its content."""
    named = (_READ_ONLY | CONTAINERS).get(path.suffix.lower())
    if named in (None, container) or any({named, container} <= f for f in _FAMILIES):
        return None
    return f"{path.name} is a {container} file named {path.suffix}; it is read as {container}."


def extension_of(name: str) -> str:
    """The usual ending of a format of :data:`NAMED`."""
    return {"vorbis": ".ogg", "aac": ".m4a", "alac": ".m4a"}.get(name, f".{name}")


@dataclass(frozen=True)
class OutputFormat:
    """What the user wants of an output's format; None leaves it to the file's name and the input.

    Attributes:
        name: a format of :data:`NAMED`, such as ``"alac"``; instead of the file's extension.
        bits: ``"16"``, ``"24"``, ``"32"`` or ``"float"``.
        sample_rate: in Hz.
    """

    name: str | None = None
    bits: str | None = None
    sample_rate: int | None = None

    def __post_init__(self) -> None:
        if self.name is not None and not (isinstance(self.name, str) and self.name in NAMED):
            raise AudioError(
                f"No format is called {self.name!r}; expected one of {', '.join(NAMED)}."
            )
        if self.bits not in (None, "16", "24", "32", "float"):
            raise AudioError(f"bit depth {self.bits!r}: expected 16, 24, 32 or float.")
        rate = self.sample_rate
        if rate is not None and not (isinstance(rate, int) and 8000 <= rate <= 384000):
            raise AudioError(
                f"sample rate {rate!r} Hz: expected 8000 to 384000 Hz, a whole number."
            )

    def container(self, path: Path) -> str:
        """The container of an output."""
        return NAMED[self.name][0] if self.name else container_of(path)

    def subtype(self, container: str, wanted: str | None) -> str | None:
        """The sample format to ask for, instead of the input's.

        Raises:
            AudioError: the format has no such bit depth.
        """
        named = NAMED[self.name][1] if self.name else None
        if named == "ALAC_24":
            bits = self.bits or ("16" if _BITS.get(wanted or "", 24) <= 16 else "24")
            wanted, named = f"ALAC_{bits}", None
        if self.bits is not None:
            wanted = "FLOAT" if self.bits == "float" else f"PCM_{self.bits}"
            if container == "MP4" or (self.name == "alac"):
                wanted = f"ALAC_{self.bits}"
            options = _WRITABLE.get(container, ())
            if wanted not in options or (named or "") in LOSSY:
                depths = [o.split("_")[-1].lower() for o in options if o not in LOSSY]
                depths = [d for d in depths if d in ("16", "24", "32", "float")]
                raise AudioError(
                    f"{container} files cannot hold samples of {self.bits} bits; expected "
                    f"{', '.join(dict.fromkeys(depths)) or 'no bit depth: the coding is lossy'}."
                )
        return named or wanted


def choose_subtype(path: Path, container: str, wanted: str | None) -> tuple[str, str | None]:
    """The sample format to write, and a note if it differs from the requested one.

    Args:
        path: the output; ``.opus`` and ``.ogg`` share a container but not a coding.
        container: from :func:`container_of`.
        wanted: the input's or the user's sample format; None for the container's best default.

    Returns:
        The nearest sample format that the container holds, without loss of bits where possible.
    """
    if container == "OGG":
        if path.suffix.lower() == ".opus":
            nearest = "OPUS"
        else:
            nearest = "OPUS" if wanted == "OPUS" else "VORBIS"
    else:
        nearest = _nearest(container, wanted)
    if wanted is None or nearest == wanted:
        return nearest, None
    if wanted in LOSSY and nearest in ("PCM_16", "PCM_24"):
        why = f"{describe(wanted)} is a lossy coding without a bit depth"
    else:
        why = f"{container} files cannot hold {describe(wanted)} samples"
    if container == "MP4" and nearest == "AAC" and wanted not in LOSSY:
        return nearest, f"{path.name}: written as AAC, a lossy coding."
    return nearest, f"{path.name}: {why}; written as {describe(nearest)}."


def _nearest(container: str, wanted: str | None) -> str:
    options = _WRITABLE[container]
    if wanted in options:
        return wanted
    if container == "MP3":
        return "MPEG_LAYER_III"
    if container in _LOSSY_CHOICE:
        if wanted in ("ALAC_20", "ALAC_32") and "ALAC_24" in options:
            return "ALAC_24"
        if wanted is None or wanted in LOSSY or "PCM_16" not in options:
            return _LOSSY_CHOICE[container]
    if wanted is None or wanted in LOSSY:
        return "PCM_24"
    bits = _BITS.get(wanted, 16)  # u-law, A-law and ADPCM hold no more than 16 bits
    integers = {_BITS[name]: name for name in options if name.startswith("PCM_")}
    enough = [b for b in sorted(integers) if b >= bits]
    return integers[enough[0] if enough else max(integers)]


def check_limits(path: Path, container: str, subtype: str, sample_rate: int, channels: int) -> None:
    """Refuse what a container cannot hold.

    Raises:
        AudioError: too many channels, or a rate that the coding does not support.
    """
    most = {"FLAC": 8, "MP3": 2}.get(container, 64)
    if container in BY_FFMPEG:
        most = 8
    if not 1 <= channels <= most:
        raise AudioError(
            f"{path}: {container} files hold 1 to {most} channels, this is {channels}. "
            "Name the output .wav."
        )
    rates: tuple[int, ...] = ()
    if container == "MP3":
        rates = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
    elif subtype == "OPUS":
        rates = OPUS_RATES
    elif subtype == "AAC":
        rates = _AAC_RATES
    if rates and sample_rate not in rates:
        raise AudioError(
            f"{path}: {describe(subtype)} cannot hold {sample_rate} Hz, only "
            f"{', '.join(map(str, rates))} Hz. Choose one of these rates, or "
            "name the output .flac or .wav."
        )
