"""`threefold estimate`: what a profile would cost."""

from threefold.commands import COMPUTE, PARAMS, Params

GROUP = COMPUTE


def command(params: Params = PARAMS) -> None:
    """Estimate how long a profile would take on this machine.

    Prints environment steps and hours, at rates that are measured for a moment now. A method that uses no environment
    step, as BC, is counted by the time that such parts took earlier; if there are none, the last line says so.
    """
    from threefold.cells.estimate import cost

    print(cost(params))
