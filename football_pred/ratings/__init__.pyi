from .elo_and_pi import Elo as Elo
from .elo_and_pi import PiRatings as PiRatings
from .team_strengths import OnlineTeamStrengths as OnlineTeamStrengths
from .team_strengths import TeamStrengths as TeamStrengths
