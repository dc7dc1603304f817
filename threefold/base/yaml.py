"""Reading the YAML files that users write; what is wrong with one is a line that names file, place and cure."""

from pathlib import Path
from typing import Any

import yaml

from threefold.base import names
from threefold.base.errors import InputError, cure


def read(path: Path) -> dict[str, Any]:
    """Return a file's keys; raises `InputError` if it is missing, unreadable, no YAML, or says something twice."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: missing; name a params.yaml that exists with --params") from None
    except OSError as error:
        if (remedy := cure(error)) is None:
            raise
        raise InputError(f"{path}: {error.strerror}; {remedy}") from None
    try:
        loader = yaml.SafeLoader(data)
        node = loader.get_single_node()
        _check_keys(path, node, "", set())
        content = loader.construct_document(node) if node else None
    except yaml.MarkedYAMLError as error:
        raise InputError(f"{path}: {_explain(error)}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not valid YAML ({' '.join(str(error).split())}); correct it") from None
    if not isinstance(content, dict):
        found = "nothing" if content is None else type(content).__name__
        raise InputError(f"{path}: expected keys and values; found {found}; write them")
    return content


def section(path: Path, key: str) -> dict[str, Any]:
    """Return what a file says under a key of the first level, itself keys and values; raises `InputError` as `read`."""
    content = read(path)
    if key not in content:
        raise InputError(f"{path}: {key}: missing; add it, with an entry for each task")
    if not isinstance(content[key], dict):
        raise InputError(f"{path}: {key}: {content[key]!r} are no keys and values; write an entry for each task")
    for task in content[key]:
        names.check(task, f"{path}: {key}")
    return content[key]


def _check_keys(path: Path, node: yaml.Node | None, above: str, seen: set[int]) -> None:
    """Refuse a key that stands twice in its mapping, of which YAML would keep the last, and one that is no text."""
    if id(node) in seen:  # an alias
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for place, value in enumerate(node.value):
            _check_keys(path, value, f"{above}{place}.", seen)
    if not isinstance(node, yaml.MappingNode):
        return
    lines: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if key.tag == "tag:yaml.org,2002:merge":
            continue
        if key.tag != "tag:yaml.org,2002:str":
            text = key.value if isinstance(key, yaml.ScalarNode) else "a list or a mapping"
            raise InputError(f"{path}: line {line}: key {above}{text} is no text for YAML; put it in quotes")
        if key.value in lines:
            raise InputError(f"{path}: {above}{key.value}: stands in lines {lines[key.value]} and {line}; remove one")
        lines[key.value] = line
        _check_keys(path, value, f"{above}{key.value}.", seen)


def _explain(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    tab = "\\t" in str(error.problem)
    return f"{place}not valid YAML ({error.problem}); {'indent with spaces, not tabs' if tab else 'correct it'}"
