"""DisabledAnt-v0: CustomAnt-v0 with two legs that are half as long and have motors of 1 N m instead of 30."""

from envs.custom_ant import DT, FIELDS, FRAME_SKIP, HORIZON, PRESET, observation, reset, reward, terminal

__all__ = ["DT", "FIELDS", "FRAME_SKIP", "HORIZON", "ID", "PRESET", "XML", "observation", "reset", "reward", "terminal"]

ID = "DisabledAnt-v0"
XML = "disabled_ant.xml"
