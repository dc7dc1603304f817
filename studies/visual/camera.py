"""The command that learns the pendulum from frames (pendulum.py), and what it says where nothing can be drawn.

python -m studies.visual.camera --out results/pendulum
"""

import argparse
import os
from pathlib import Path
from types import ModuleType

from threefold.base.errors import InputError, one_line


def main() -> None:
    """Read the command line and learn."""
    parser = argparse.ArgumentParser(description="Learn InvertedPendulum-v5 from rendered frames: pendulum.py.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the table and of what it cost")
    arguments = parser.parse_args()
    with one_line():
        pendulum = imported()
        print(pendulum.run(pendulum.Size(), arguments.out))


def imported() -> ModuleType:
    """Return pendulum.py. Raises InputError for a MUJOCO_GL with which MuJoCo cannot be imported."""
    try:
        from studies.visual import pendulum
    except (AttributeError, ImportError, RuntimeError) as error:  # of OpenGL's loaders
        if not (chosen := os.environ.get("MUJOCO_GL")):
            raise
        raise InputError(
            f"MUJOCO_GL={chosen}: MuJoCo cannot be imported with it ({error}); set MUJOCO_GL=egl or "
            "MUJOCO_GL=osmesa and install what that needs (on Debian libegl1 and libgl1-mesa-dri, or libosmesa6)"
        ) from None
    return pendulum


if __name__ == "__main__":
    main()
