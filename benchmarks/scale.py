"""Hours and cores of large jobs: arithmetic with measured rates, for docs/scale.md."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.results import Results

_SETS = {"an InsightFace set": 5.8e6, "Glint360K": 17e6, "WebFace42M": 42e6}
_IDENTITIES = (360_000, 2_000_000)
_DIM = 512
_CLUSTER = 64
_HOURS_OF_VIDEO, _FRAMES_A_SECOND = 100_000, 25
_MANY_CORES = 1000

TO_TAR = "convert > .rec to 4 .tar > faceprep convert, two workers > a second"
TO_REC = "convert > 4 .tar to .rec > faceprep convert, two workers > a second"
EMBED = "embed > embed > faceprep embed, whole command > a second"
PAIRS = "similarity > all pairs > largest > GFLOP/s"
PHOTOS = "extract-photos > extract-photos"
FRAMES = "extract-video > 640×360 > extract-video, in steady state > a CPU second"
FOLLOWED = "follow > 640x360, one person, one face a frame, two videos > auto > times as fast, CPU"
CROP = "extract-photos > output > a crop > kB"
MEMORY = "merge-memory > merge-identities > the whole command"


def photos(results: Results) -> str:
    """Return seconds by number of workers and by runner."""
    names = ("--workers 1", "--workers 2", "--runner ray --workers 2")
    lines = [f"| `{name}` | {{{PHOTOS} > {name} > seconds}} |" for name in names]
    text = f"`extract-photos` with retinaface, {{{PHOTOS} > note}}:\n\n"
    text += "| option | seconds |\n|---|---:|\n"
    return results.fill(text + "\n".join(lines)) + "\n"


def rates(results: Results) -> str:
    """Return the rates that all arithmetic uses."""
    rows = (
        ("`convert`, `.rec` to four `.tar`", f"{{{TO_TAR}}} images a second"),
        ("`convert`, four `.tar` to `.rec`", f"{{{TO_REC}}} images a second"),
        ("`extract-photos`, 1 megapixel", f"{{{PHOTOS} > --workers 2 > a second}} photos a second"),
        ("`extract-video`, 640 × 360, every frame", f"{{{FRAMES}}} frames a second of one core"),
        ("`embed` with dlib-resnet", f"{{{EMBED}}} crops a second"),
        ("the comparison of all pairs, 512 numbers", f"{{{PAIRS}}} GFLOP a second"),
    )
    head = f"| work | rate on {results.cores('embed')} cores |\n|---|---|\n"
    table = "".join(f"| {what} | {results.fill(rate)} |\n" for what, rate in rows)
    return head + table + results.caution(rate[1:].split(" > ")[0] for _, rate in rows)


def large_sets(results: Results) -> str:
    """Return how long the large public sets take."""
    cores = results.cores("embed")
    heads = f"| set | images | `.rec` to `.tar`, {cores} cores | `embed`, {cores} cores "
    lines = [f"{heads}| `embed`, {_CLUSTER} cores |", "|---|---:|---:|---:|---:|"]
    for name, n in _SETS.items():
        packed, embedded = n / results.number(TO_TAR), n / results.number(EMBED)
        times = (packed, embedded, embedded * cores / _CLUSTER)
        cells = " | ".join(map(in_words, times))
        lines.append(f"| {name} | {n / 1e6:g} million | {cells} |")
    return "\n".join(lines) + "\n"


def merging(results: Results) -> str:
    """Return how long the comparison of all identities takes, and its memory."""
    times = [in_words(n * n * _DIM / (results.number(PAIRS) * 1e9)) for n in _IDENTITIES]
    parts = [f"{n:,} identities take {time}" for n, time in zip(_IDENTITIES, times, strict=True)]
    memory = (
        f"The memory of {{{MEMORY} > identities}} identities was {{{MEMORY} > GB}} GB, mapped "
        "files left out."
    )
    return (
        "* **Merging** compares every identity with every other. By arithmetic, "
        f"{' and '.join(parts)} on {results.cores('similarity')} cores.\n"
        f"  {results.fill(memory)}\n"
    )


def videos(results: Results) -> str:
    """Return core hours for 100,000 hours of video, and the disk of its crops."""
    seconds = _HOURS_OF_VIDEO * 3600
    every = seconds * _FRAMES_A_SECOND / results.number(FRAMES)
    followed = results.number(FOLLOWED)
    rows = {
        "every frame": every,
        "every frame, `--detect-every auto`, one person": every / followed,
        "one frame a second, decoding left out": every / _FRAMES_A_SECOND,
    }
    lines = [
        f"By arithmetic, {_FRAMES_A_SECOND} frames a second are "
        f"{seconds * _FRAMES_A_SECOND / 1e9:g} billion frames. At "
        + results.fill(f"{{{FRAMES}}} frames a second of each core's time,\n")
        + f"and {followed:.1f} times as many with `--detect-every auto`:\n",
        f"| frames | core hours | on {_MANY_CORES:,} cores |",
        "|---|---:|---:|",
    ]
    for name, spent in rows.items():
        lines.append(f"| {name} | {two_digits(spent / 3600)} | {in_words(spent / _MANY_CORES)} |")
    disk = seconds * results.number(CROP) * 1e3 / 1e12
    lines += [
        "",
        results.fill(f"A crop of 112 × 112 as PNG took {{{CROP}}} kB on average in the benchmark, ")
        + f"so {seconds / 1e6:g} million crops, one a second, take\n"
        + f"about {two_digits(disk)} TB. `--format jpg` and `--frames` take less.",
    ]
    return "\n".join(lines) + "\n"


def in_words(seconds: float) -> str:
    """Return a time with two digits, such as "4.2 minutes" or "24 hours"."""
    units = {"hours": 3600, "minutes": 60, "seconds": 1}
    name = next((name for name, size in units.items() if seconds >= size), "seconds")
    return f"{two_digits(seconds / units[name])} {name}"


def two_digits(value: float) -> str:
    return f"{float(f'{value:.2g}'):,g}"


BLOCKS: dict[str, Callable[[Results], str]] = {
    "photos": photos,
    "rates": rates,
    "large-sets": large_sets,
    "merging": merging,
    "videos": videos,
}
