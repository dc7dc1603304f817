"""PointMazeLeft-v0: PointMazeRight-v0 with its barrier on the left, so that a point passes on the right."""

from envs.point_maze_right import DT, FIELDS, FRAME_SKIP, HORIZON, observation, reset, reward, terminal

__all__ = ["DT", "FIELDS", "FRAME_SKIP", "HORIZON", "ID", "XML", "observation", "reset", "reward", "terminal"]

ID = "PointMazeLeft-v0"
XML = "point_maze_left.xml"
