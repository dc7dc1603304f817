"""What the project's files say beside their code: the comments of constants, in Python and in YAML."""

import ast
import dataclasses
import inspect
import io
import tokenize
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml


class Constant(NamedTuple):
    """A constant by its dotted name, its value as Python writes it, and the comment on its line."""

    name: str
    value: str
    comment: str


def comments(source: str) -> dict[int, str]:
    """Return the comments of a Python file by their line."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}


def of_config(config: Any) -> list[Constant]:
    """Return every constant of a Config, those of its nested Configs included."""
    constants = []
    beside = _fields(config.__class__)
    for field in dataclasses.fields(config):
        value, (comment, of_arguments) = getattr(config, field.name), beside[field.name]
        if dataclasses.is_dataclass(value):
            for nested in of_config(value):
                own = of_arguments.get(nested.name, nested.comment)
                constants.append(nested._replace(name=f"{field.name}.{nested.name}", comment=own))
        else:
            constants.append(Constant(field.name, repr(value), comment))
    return constants


@cache  # a class's lines are found by parsing its whole file, and every page asks
def _fields(kind: type) -> dict[str, tuple[str, dict[str, str]]]:
    """Return, by a dataclass's field, the comment on its line and those of its default's arguments."""
    source = inspect.getsource(kind)
    said = comments(source)
    body = ast.parse(source).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for node in body.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            arguments = node.value.keywords if isinstance(node.value, ast.Call) else []
            of_arguments = {argument.arg: said.get(argument.value.end_lineno or 0, "") for argument in arguments}
            alone = said.get(node.end_lineno or 0, "")
            found[node.target.id] = alone, {name: text for name, text in of_arguments.items() if name and text}
    return found


def of_model(model: type) -> list[Constant]:
    """Return the keys of a model of pydantic: their defaults, and the comment on the line or above it."""
    text = inspect.getsource(model)
    said, lines, found = comments(text), text.splitlines(), []
    body = ast.parse(text).body[0]
    assert isinstance(body, ast.ClassDef)
    for node in body.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            above: list[str] = []
            first = node.lineno - 1
            while lines[first - 1].lstrip().startswith("#"):
                above.insert(0, said[first])
                first -= 1
            default = ast.unparse(node.value) if node.value else ""
            comment = said.get(node.end_lineno or 0, "").rpartition("# ")[2] or " ".join(above)
            found.append(Constant(node.target.id, default, comment))
    return found


def of_module(path: Path) -> list[Constant]:
    """Return the constants of a module: its names in capitals."""
    source = path.read_text()
    said, constants = comments(source), []
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign):
            comment = said.get(node.end_lineno or 0, "")
            constants += [
                Constant(name, ast.unparse(node.value), comment) for name in _names(node.targets[0]) if name.isupper()
            ]
    return constants


def _names(target: ast.expr) -> list[str]:
    if isinstance(target, ast.Name):
        return [target.id]
    return [", ".join(name for part in target.elts for name in _names(part))] if isinstance(target, ast.Tuple) else []


def excerpt(path: Path, *keys: str) -> str:
    """Return the lines of a YAML file that hold the entry at `keys`, with the comments on and above them.

    Empty where there is no such entry.
    """
    lines = path.read_text().splitlines()
    node, shown = yaml.compose(path.read_text(), yaml.CSafeLoader), []
    for key in keys:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        found = next(((name, value) for name, value in pairs if name.value == key), None)
        if found is None:
            return ""
        name, node = found
        first, last = name.start_mark.line, node.end_mark.line
        above = first
        while above and lines[above - 1].lstrip().startswith("#"):
            above -= 1
        shown += lines[above : first + 1]
    body = lines[first + 1 : last + bool(node.end_mark.column)]
    margin = " " * (name.start_mark.column + 1)
    while body and not body[-1].startswith(margin):
        body.pop()
    return "\n".join([*shown, *body])
