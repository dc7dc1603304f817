"""The command of pendulum.py, for machines where MUJOCO_GL asks for what is not there.

python -m studies.visual.camera --out results/pendulum
"""

import os

from threefold.base.errors import InputError, one_line


def main() -> None:
    """Run it; a MUJOCO_GL with which MuJoCo cannot be imported is one line."""
    with one_line():
        try:
            from studies.visual import pendulum
        except (AttributeError, ImportError, RuntimeError) as error:  # of OpenGL's loaders
            if not (chosen := os.environ.get("MUJOCO_GL")):
                raise
            raise InputError(
                f"MUJOCO_GL={chosen}: MuJoCo cannot be imported with it ({error}); set MUJOCO_GL=egl or "
                "MUJOCO_GL=osmesa and install what that needs (on Debian libegl1 and libgl1-mesa-dri, or libosmesa6)"
            ) from None
    pendulum.main()


if __name__ == "__main__":
    main()
