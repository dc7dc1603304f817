"""What a study's folder lacks."""

from pathlib import Path

from studies import registry


def lacking(name: str, *parts: str) -> str:
    """Return what a study lacks of some of its modules, of all if none is named, with the cure; or nothing.

    A folder is imported without an `__init__.py` too, but is no package, whose code counts in the study's fingerprint.
    """
    if not (Path(registry.__file__).parent / name / "__init__.py").is_file():
        return f"studies/{name}/__init__.py: missing; write it, a line that says what the study measures"
    return registry.missing(name, *parts)
