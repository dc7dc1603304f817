"""Writing results so that nothing half-written is ever found."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def check_writable(folder: Path) -> None:
    """Raise `OSError` now if no file can be made in `folder`, rather than after hours of training."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; it becomes `folder` if the body succeeds, else `folder` stays as it was.

    An `OSError` from the body that names no file, as that of a full disk, leaves naming `folder`.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield fresh
        fresh.chmod(0o755)  # mkdtemp makes folders only their owner can read
        if folder.exists():
            old = fresh.with_name(f"{fresh.name}-old")
            folder.rename(old)
            fresh.rename(folder)
            shutil.rmtree(old)
        else:
            fresh.rename(folder)
    except OSError as error:
        error.filename = error.filename or str(folder)
        raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
