"""What a result is made from: its fingerprint, and where two such differ."""

import hashlib
import json
from typing import Any

DIGITS = 20  # hexadecimal, of the sha256


def fingerprint(inputs: dict[str, Any]) -> str:
    """Return the fingerprint of what a result is made from."""
    text = json.dumps(inputs, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def plain(inputs: dict[str, Any]) -> dict[str, Any]:
    """Return it as another process reads it: lists for tuples."""
    return json.loads(json.dumps(inputs))


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Return the names of what is not the same, `code` and `data` file by file, sorted."""
    flat = [{**{k: v for k, v in x.items() if k not in GROUPS}, **_members(x)} for x in (ours, theirs)]
    return sorted(name for name in set(flat[0]) | set(flat[1]) if flat[0].get(name) != flat[1].get(name))


GROUPS = ("code", "data")


def _members(inputs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for group in GROUPS for name, value in inputs.get(group, {}).items()}
