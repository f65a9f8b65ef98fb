"""The pages of the site that are made from the code and from files at the top: a hook of MkDocs.

index.md, changelog.md, contributing.md   README, CHANGELOG and CONTRIBUTING, with links of the site
examples.md                               the scripts in examples/
reference/cli.md                          the Click commands: text, options, defaults, variables
reference/api.md                          the public names in the registry, by their docstrings
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

import faceprep
from faceprep.cli.build import command_for, help_text
from faceprep.cli.examples import EXAMPLES
from faceprep.core import registry

ROOT = Path(__file__).parents[1]
_MOVED = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}
_LINK = re.compile(r"\]\(([^)#\s]+)(#[^)]*)?\)")
_NAME = re.compile(r"(?<![\w`./-])--[a-z][\w-]*")
_GENERATED_TABLE = "<!-- generated"
_LONGEST_LINE = 80


def pages() -> dict[str, Callable[[], str]]:
    """Return the makers of the generated pages by their place in the site."""
    moved = {target: lambda source=source: _moved(source) for source, target in _MOVED.items()}
    made = {"examples.md": examples, "reference/cli.md": cli, "reference/api.md": api}
    return moved | made


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages to the site."""
    from mkdocs.structure.files import File

    for place, make in pages().items():
        files.append(File.generated(config, place, content=make()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links of a page that leave docs/ lead to their page of the site, or to nowhere."""
    return _LINK.sub(lambda match: _site_link(match, page.file.src_uri), markdown)


def _site_link(match: re.Match[str], place: str) -> str:
    link, anchor = match[1], match[2] or ""
    if not link.startswith("../" * (place.count("/") + 1)):
        return match[0]
    depth = place.count("/")
    name = link.removeprefix("../" * (depth + 1))
    return f"]({'../' * depth}{_in_site(name)}{anchor})"


def _in_site(name: str) -> str:
    """Return the page of the site for a path in the repository."""
    if name.startswith("examples"):
        return "examples.md"
    if name.startswith("benchmarks"):
        return "benchmarks.md"
    return _MOVED.get(name, name.removeprefix("docs/"))


# Pages from files


def _moved(source: str) -> str:
    text = (ROOT / source).read_text()
    return _LINK.sub(_from_the_top, text)


def _from_the_top(match: re.Match[str]) -> str:
    if match[1].startswith(("http:", "https:")):
        return match[0]
    return f"]({_in_site(match[1])}{match[2] or ''})"


def examples() -> str:
    """Return the page of the examples: what each shows, and its code."""
    lines = ["# Examples for trainers", "", "The tests run each of these scripts.", ""]
    for path in sorted((ROOT / "examples").glob("*.py")):
        code = path.read_text()
        text = ast.get_docstring(ast.parse(code)) or ""
        lines += [f"## {_title(path)}", "", text, "", f"`examples/{path.name}`:", ""]
        lines += ["```python", code.strip(), "```", ""]
    return "\n".join(lines)


def _title(path: Path) -> str:
    return path.stem.partition("_")[2].replace("_", " ")


# The command line


def cli() -> str:
    """Return the reference of the command line."""
    lines = ["# Command line", ""]
    for heading, names in registry.COMMAND_GROUPS.items():
        lines += [f"## {heading}", ""]
        for name in names:
            lines += _command(name)
    return "\n".join(lines)


def _command(name: str) -> Iterator[str]:
    command, job = command_for(name), registry.load(registry.COMMANDS, name)
    text, details = help_text(job)
    with click.Context(command, info_name=f"faceprep {name}") as context:
        usage = " ".join(command.collect_usage_pieces(context))
        yield from (f"### {name}", "", "```", f"faceprep {name} {usage}", "```", "")
        yield from (_prose(text), "", _prose(details), "")
        yield from ("Examples:", "", "```", *EXAMPLES[name], "```", "")
        yield from ("| option | meaning |", "|---|---|")
        for option in command.params:
            record = option.get_help_record(context)
            if record and record[1]:  # the usage line has the arguments
                yield f"| {_code(record[0])} | {_cell(record[1])} |"
        yield ""


def _prose(text: str) -> str:
    """Return a docstring as Markdown: options as code, and nothing else as markup."""
    return _outside_code(text, lambda piece: _NAME.sub(r"`\g<0>`", _escaped(piece)))


def _escaped(text: str) -> str:
    return re.sub(r"([*_<|\[\]])", r"\\\1", text)


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"


def _cell(text: str) -> str:
    return _prose(" ".join(text.split()))


# Python


_GROUPS = {
    "Run a command": ("run_job", "Request", "Summary", "Outcome", "SerialRunner", "ProcessRunner")
    + ("RayRunner", "Job", "FaceprepError"),
    "Read what a command wrote": ("read_faces", "FaceRow", "read_frames", "FrameRow", "read_plan")
    + ("Plan", "Decision", "load_embeddings", "Embeddings", "Model", "load_pairs", "PairSet"),
    "Images and accuracy": ("decode", "judge_pairs", "Judgement"),
    "Models of your own": ("Detector", "Faces", "Embedder", "Scorer"),
}
"""Public names that are not commands, each under one heading."""
_API_START = """# Python

Every name is imported from `faceprep`. A command is a frozen dataclass whose fields are its
options: `--min-score` is `min_score`. `run_job` runs each command that writes a set as the command
line does, and raises a `FaceprepError` where the command line prints one line:

```python
from faceprep import ExtractPhotos, ProcessRunner, Request, read_faces, run_job

if __name__ == "__main__":  # each process imports this file
    job, request = ExtractPhotos(select="largest"), Request("photos", "faces")
    summary = run_job(job, request, ProcessRunner(4))
    print(summary.ok, summary.failed)
    for face in read_faces("faces/faces.parquet"):
        print(face.output, face.score)
```

`Inspect`, `Verify`, `Report`, `ConvertModel`, `Models` and `Doctor` write no set. Their method
`look` takes the arguments of the command and returns the result, as in
`Inspect().look("train.rec")`. `print` shows it as the command does, and `as_json()` returns the
object of `--json`. `run_job(*Finish().resume("faces"))` joins the parts of a run, and
`Review().serve("merged/plan.jsonl", print)` serves the page. Options that name a file take a
`pathlib.Path`.

## Commands

| class | command | what it does |
|---|---|---|"""


def api() -> str:
    """Return the reference of the public names."""
    lines = [_API_START]
    for command, entry in sorted(registry.COMMANDS.items()):
        name = entry.target.partition(":")[2]
        lines.append(f"| `{name}` | [{command}](cli.md#{command}) | {entry.help} |")
    for heading, names in _GROUPS.items():
        lines += ["", f"## {heading}", ""]
        for name in names:
            lines += _public(name, getattr(faceprep, name))
    return "\n".join(lines)


def _public(name: str, thing: Any) -> Iterator[str]:
    yield from (f"### {name}", "", "```python", f"{name}{_signature(thing)}", "```", "")
    yield from (_docstring(thing), "")
    if not inspect.isclass(thing):
        return
    for member, value in vars(thing).items():
        if member.startswith("_") or not getattr(value, "__doc__", None):
            continue
        if isinstance(value, property):
            shown = f"{member}: {_unquoted(str(inspect.signature(value.fget).return_annotation))}"
        elif inspect.isroutine(value):
            shown = f"{member}{_signature(getattr(thing, member))}"
        else:
            continue
        yield from (f"#### {name}.{member}", "", "```python", shown, "```", "")
        yield from (_docstring(value), "")


def _signature(thing: Any) -> str:
    """Return a signature as a person would write it, one parameter a line where it is long."""
    if getattr(thing, "_is_protocol", False):
        return ""
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):
        return ""
    parameters = [_unquoted(str(each)) for each in signature.parameters.values()]
    returned = ""
    if not inspect.isclass(thing) and signature.return_annotation is not signature.empty:
        returned = f" -> {_unquoted(str(signature.return_annotation))}"
    line = f"({', '.join(parameters)}){returned}"
    if len(line) < _LONGEST_LINE:
        return line
    return "\n".join(["(", *(f"    {each}," for each in parameters), f"){returned}"])


def _unquoted(text: str) -> str:
    """Return annotations without the quotes that `inspect` adds, and named as users know them."""
    text = re.sub(r"ForwardRef\('([^']*)'\)", r"\1", text)
    text = re.sub(r"^(\w+: )'([^']*)'", r"\1\2", text)
    return text.replace("<factory>", "…").replace("_Path", "str | os.PathLike[str]")


def _docstring(thing: Any) -> str:
    """Return a docstring as Markdown, with its examples as code."""
    text = inspect.getdoc(thing) or ""
    parts = []
    for part in text.split("\n\n"):
        if part.lstrip().startswith(">>>"):
            part = f"```pycon\n{part}\n```"
        else:
            part = _prose_with_code(part)
        parts.append(part)
    return "\n\n".join(parts)


def _prose_with_code(text: str) -> str:
    """Escape a paragraph outside of its `code`."""
    return _outside_code(text, _escaped)


def _outside_code(text: str, change: Callable[[str], str]) -> str:
    """Return `text` with everything outside of its `code` changed."""
    pieces = re.split(r"(`+[^`]+`+)", text)
    return "".join(piece if piece.startswith("`") else change(piece) for piece in pieces)
