"""The options of the commands that embed crops: the model, its preprocessing, and the crops."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np

from faceprep.core.arrays import Floats, Pixels
from faceprep.core.cpu import my_cores
from faceprep.core.embeddings import Embedder, Model
from faceprep.core.errors import OptionError
from faceprep.core.options import Values, check_ranges, option
from faceprep.core.urls import url_of
from faceprep.models.detectors.insightface import download_pack
from faceprep.models.embedders.embedder import (
    EmbedderSpec,
    describe_preprocessing,
    find_kind,
    open_embedder,
)
from faceprep.models.files.preparation import COLORS
from faceprep.models.spec import EMBEDDER_SETTINGS, ModelSpec, parse_numbers, parse_size, parse_spec
from faceprep.steps.device_options import (
    UsesDevice,
    device_option,
    download_option,
    require_gpu_option,
)
from faceprep.steps.fitting import Fitter, open_fitter
from faceprep.steps.model_names import EMBEDDERS, TEMPLATES
from faceprep.vision.templates import load_template, map_template

log = logging.getLogger("faceprep")
DEFAULT_CROPS = "arcface-112"
_BATCH = 64
T = TypeVar("T")


EMBEDDER_HEADING = "Embedder options"
DEFAULT_EMBEDDER = "dlib-resnet"
EMBEDDER_HELP = (
    "Embed with dlib-resnet, insightface:PACK, or a model file or folder, with settings as in "
    "net.tflite:mean=127.5,std=128,size=112."
)


@dataclass(frozen=True)
class EmbedSettings(UsesDevice):
    """The options that do not name an embedder: they hold for each one of a command."""

    heading: ClassVar[str] = EMBEDDER_HEADING

    device: str = device_option("the embedder")
    require_gpu: bool = require_gpu_option()
    download: bool = download_option()
    mean: str | None = option(
        None, "Subtract this from each pixel for a model file: 127.5, or R,G,B.", values=Values("X")
    )
    std: str | None = option(
        None,
        "Divide pixels by this after --mean is subtracted, for a model file.",
        values=Values("X"),
    )
    size: str | None = option(
        None,
        "Set the input size of a model file that leaves it open: 112 or 112x96.",
        values=Values("SIZE"),
    )
    color: str | None = option(
        None, "Set the channel order of a model file.", choices=COLORS, values=Values(default="rgb")
    )
    flip: bool = option(False, "Average with the vector of the mirror image.")
    crops: str | None = option(
        None,
        "State the template that the crops were made with.",
        values=replace(TEMPLATES, default="crops= of --embedder, else arcface-112"),
    )

    def refuse_unused(self, path: Path, used: Collection[str] = ()) -> None:
        """Refuse options of the embedder that have no effect on the embeddings in `path`.

        Those in `used` have one, for other images. Raises OptionError.
        """
        for name in (*EMBED_OPTIONS, "relative_to"):
            preset = getattr(type(self), name, None)
            if name not in used and getattr(self, name, preset) != preset:
                typed = name.replace("_", "-")
                if preset is True:
                    typed = f"no-{typed}"
                raise OptionError(
                    f"--{typed} has no effect on the embeddings in {url_of(path)}",
                    remedy="Leave it out, or name the set of images to embed them again.",
                )


@dataclass(frozen=True)
class _OneEmbedder:
    """The option that names an embedder."""

    heading: ClassVar[str] = EMBEDDER_HEADING

    embedder: str = option(DEFAULT_EMBEDDER, EMBEDDER_HELP, values=EMBEDDERS)


@dataclass(frozen=True)
class EmbedOptions(EmbedSettings, _OneEmbedder):
    """The options of the commands that embed crops with one embedder."""

    no_embedder: ClassVar[str] = ""
    """The value of --embedder that says that nothing is embedded, where a command has one."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.spec().name != self.no_embedder:
            find_kind(self.spec().name)
        for template in filter(None, (self.source_template, self._given().input_options.crops)):
            load_template(template)

    @property
    def source_template(self) -> str:
        """Return the name of the template that the crops were made with."""
        return self.crops or self._given().input_options.crops or DEFAULT_CROPS

    @property
    def is_flipped(self) -> bool:
        """Return whether vectors are averaged with those of mirror images."""
        flip = self._given().flip
        return self.flip if flip is None else flip

    def _given(self) -> ModelSpec:
        """Return the model spec, with the options that are its long form. Raises OptionError."""
        given = parse_spec(self.embedder, EMBEDDER_SETTINGS)
        long_form = {
            "mean": _parse(parse_numbers, "--mean", self.mean),
            "std": _parse(parse_numbers, "--std", self.std),
            "size": _parse(parse_size, "--size", self.size),
            "color": self.color,
        }
        added: dict[str, Any] = {name: value for name, value in long_form.items() if value}
        for name in added:
            if getattr(given.input_options, name):
                raise OptionError(
                    f"--{name}", expected="one value", found=f"{name}= in --embedder as well"
                )
        return replace(given, input_options=given.input_options._replace(**added))

    def spec(self) -> EmbedderSpec:
        """Return the chosen embedder, on this process's share of the cores. Raises OptionError."""
        given = self._given()
        return EmbedderSpec(
            given.model,
            device=self.device,
            require_gpu=self.require_gpu,
            threads=my_cores(),
            input_options=given.input_options,
        )

    def open(self) -> Embedder:
        """Open the embedder; a process opens it once. Raises FaceprepError."""
        return open_embedder(self.spec())

    def announce(self) -> None:
        """Open the embedder in the driver, so that its name, device and faults are reported
        once. With --download, a pack that is missing is downloaded before.
        """
        if self.download:
            download_pack(self._given().model)
        embedder = self.open()
        map_template(load_template(self.source_template), load_template(embedder.template))
        log.info("%s runs on %s (%s)", self.embedder, embedder.provider, embedder.model.fingerprint)
        if preprocessing := describe_preprocessing(embedder):
            log.info("%s takes %s", self.embedder, preprocessing)

    def warm_up(self) -> None:
        """Open the embedder in a worker while the driver still plans."""
        self.open()

    def model(self, of: str = "") -> Model:
        """Return the embedder's model.

        Its fingerprint names the template `of` the crops, by default `source_template`, and the
        use of mirror images.
        """
        model = self.open().model
        flip = "/flip" if self.is_flipped else ""
        fingerprint = f"{model.fingerprint}/of-{of or self.source_template}{flip}"
        return replace(model, fingerprint=fingerprint)

    def embed(self, images: Sequence[Pixels]) -> Floats:
        """Embed crops of one template and of any size to vectors (n, d)."""
        fitter, vectors = self.fitter(), np.empty((len(images), self.open().dim), np.float32)
        for start in range(0, len(images), _BATCH):
            batch = [fitter.fit(image) for image in images[start : start + _BATCH]]
            vectors[start : start + len(batch)] = self.embed_fitted(np.stack(batch))
        return vectors

    def embed_fitted(self, crops: Pixels) -> Floats:
        """Embed crops (n, height, width, 3) of the embedder's own template to vectors (n, d)."""
        embedder = self.open()
        vectors = embedder.embed(crops)
        if self.is_flipped:
            vectors = (
                vectors + embedder.embed(np.ascontiguousarray(crops[:, :, ::-1]))
            ) / np.float32(2)
        return vectors

    def fitter(self) -> Fitter:
        """Return the fitter that converts crops to the embedder's own template."""
        return open_fitter(self.source_template, self.open().template)


EMBED_OPTIONS = tuple(each.name for each in fields(EmbedOptions))
"""The names of the options of an embedder."""


def _parse(parse: Callable[[str, str], T], option: str, text: str | None) -> T | None:
    return None if text is None else parse(option, text)
